"""The networks of soft actor-critic: each model has an actor, critics of (observation, action), and their targets."""

from dataclasses import dataclass, field

from swarmsim.learning.distributions import Gaussian
from swarmsim.learning.networks import ACTION_GAIN, VALUE_GAIN, Architecture, Layer, network_layers
from swarmsim.learning.squash import squashed_gaussian


@dataclass(frozen=True)
class SACArchitecture(Architecture):
    """The shape of every model, whose genome is: actor | critics | log temperature | target critics.

    Evolution, checkpoints and inheritance treat all of it as one row of weights. `layers` has the learned part alone:
    the targets follow it, so they do not mutate.
    """

    continuous: bool = True
    n_critics: int = 2
    critics: tuple[tuple[Layer, ...], ...] = field(init=False)
    targets: tuple[tuple[Layer, ...], ...] = field(init=False)
    log_temperature: Layer = field(init=False)
    activation = "relu"

    def __post_init__(self) -> None:
        actor = tuple(network_layers(self.n_inputs, self.hidden, self.distribution.n_outputs, ACTION_GAIN, start=0))
        critics = self._critics(actor[-1].end)
        log_temperature = Layer(0, 1, 0.0, critics[-1][-1].end)  # a bias alone
        parts = {"actor": actor, "critic": critics[0], "critics": critics, "log_temperature": log_temperature}
        for name, part in {**parts, "targets": self._critics(log_temperature.end)}.items():
            object.__setattr__(self, name, part)

    def _critics(self, start: int) -> tuple[tuple[Layer, ...], ...]:
        critics = []
        for _ in range(self.n_critics):
            critics.append(tuple(network_layers(self.n_inputs + self.n_actions, self.hidden, 1, VALUE_GAIN, start)))
            start = critics[-1][-1].end
        return tuple(critics)

    @property
    def distribution(self) -> Gaussian:
        """The actors' distribution before tanh."""
        return squashed_gaussian(self.n_actions)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that learn, in the order of their genes."""
        return *self.actor, *(layer for critic in self.critics for layer in critic), self.log_temperature

    @property
    def n_learned(self) -> int:
        """The number of genes that learn; they come first."""
        return self.log_temperature.end

    @property
    def n_weights(self) -> int:
        return self.targets[-1][-1].end
