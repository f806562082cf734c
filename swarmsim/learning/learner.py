"""What any way of learning of a population is, seen from the component that hosts it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from swarmsim.learning.adam import Adam, TrainingState
from swarmsim.learning.hyperparameters import LearningSettings
from swarmsim.learning.networks import (
    ACTORS,
    CRITICS,
    Activations,
    Architecture,
    Floats,
    Networks,
    forward,
    initial_weights,
)
from swarmsim.learning.rollout import Transition
from swarmsim.learning.stats import LearningStats


class Learner(ABC):
    """P models that act on the same observations, and learn from what came of the swarm's action.

    `act`, then `record` what came of it, in turn. Once `n_steps` are recorded, the models act once more, on the
    observation after them, and only then are they updated: so nobody waits for an update who waits for an
    action. That action is of the weights before the update; what is learnt from it later is of those after it.

    Args:
        generators: of each model, for its first weights, and all that is drawn for it later.
        keep: gets the models' memory as it is at first, and returns the one to use: another place, perhaps, in
            which it has been kept since an earlier time.

    Attributes:
        has_cumulative_advantage: whether that memory tells each model's merit.
        memory: all that they have learnt.
        weights: (P, G), of that memory; to be changed in place only.
        figures: losses and the like, of updates since they were told last.
        awaits_outcome: whether the last `act` still waits for its `record`.
    """

    has_cumulative_advantage = False

    def __init__(
        self,
        architecture: Architecture,
        settings: LearningSettings,
        generators: Sequence[np.random.Generator],
        keep: Callable[[TrainingState], TrainingState] = lambda memory: memory,
    ) -> None:
        self.architecture = architecture
        self.settings = settings
        self.training_state = keep(TrainingState.of(initial_weights(architecture, generators)))
        self.weights = self.training_state.weights
        self.figures = LearningStats()
        self.awaits_outcome = False
        self._networks = Networks(architecture, self.weights)
        self._adam = Adam(self.training_state, settings.learning_rate, settings.adam_eps)
        self._looked_at = Activations.empty(architecture, len(self.weights), n_rows=1)

    def evaluate(self, observations: Floats) -> Activations:
        """Return what the models say to `observations` (N, n_inputs), until asked again; nothing changes by it."""
        if len(observations) != len(self._looked_at.inputs[0]):
            self._looked_at = Activations.empty(self.architecture, len(self.weights), len(observations))
        self._looked_at.outputs[0][:] = observations
        for who in (ACTORS, CRITICS):
            forward(who, self._networks, self._looked_at)
        return self._looked_at

    def state(self) -> dict[str, Any]:
        """Return all that the models are, so that `restore` makes others of the same shape go on as these would."""
        return {name: array.copy() for name, array in self.training_state.checkpoint_arrays().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` told."""
        for name, array in self.training_state.checkpoint_arrays().items():
            array[:] = state[name]

    @property
    @abstractmethod
    def update_is_due(self) -> bool:
        """Whether enough steps are recorded, and followed by an `act`."""

    @abstractmethod
    def act(self, observations: Floats) -> Floats:
        """Return outputs (P, N, n_outputs) for `observations` (N, n_inputs) that the next `record` completes.

        They are a view, which holds until the models act or learn again. An action that was never taken taught nothing.
        """

    @abstractmethod
    def learn(self) -> None:
        """Update the models if that is due; `record` sees to it at the latest, but it need not wait so long."""

    @abstractmethod
    def record(self, transition: Transition) -> None:
        """Take in what came of the last `act`."""

    @abstractmethod
    def finish(self, observations: Floats) -> None:
        """Learn from the steps recorded since the last update; `observations` (N, n_inputs) are those after them."""

    @abstractmethod
    def break_off(self) -> None:
        """Have what is recorded so far not followed by what is recorded next: somebody else acted in between."""
