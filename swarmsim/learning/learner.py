"""What all learners share: transitions, the training state, clipping, Adam, statistics, and the interface `Learner`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from swarmsim.finite import are_finite
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

BETA1, BETA2 = 0.9, 0.999
CLIP_EPS = 1e-6
MODELS_PER_BLOCK = 128  # few enough for their arrays to stay in a core's cache, enough to make a numpy call worthwhile
DIVERGED = "its learning has diverged, to numbers that are not finite; a smaller learning_rate may help"
UNIT_REWARDS_VALUE = 10.0  # the value of one RMS reward in every step for ever, as the critics see it: easy to learn
MIN_DISCOUNTING = 1e-3  # stands in for 1 − γ where γ is nearer to 1
MAX_SCALE = float(np.finfo(np.float32).max)  # of rewards
STAT_NAMES = "policy_loss", "value_loss", "entropy", "gradient_norm"

MakeArray = Callable[[str, tuple[int, ...], DTypeLike], NDArray[Any]]

# Checkpoints of earlier versions use these names, and stay readable.
_CHECKPOINT_NAMES = {
    "reward_count_and_squares": "rewards",
    "largest_advantage_std": "spreads",
    "cumulative_advantage": "merits",
}


@dataclass(slots=True)  # not frozen: one is made in every step
class Transition:
    """One step of N environments: the action, the reward, and how the episode continued."""

    actions: NDArray[Any]  # (N,) integers, or (N, D) numbers
    rewards: Floats  # (N,)
    terminated: NDArray[np.bool_]  # (N,), the episode ended by the task's own rule
    truncated: NDArray[np.bool_]  # (N,), the episode was cut off, so the value of its last state still counts
    final_observations: Floats | None  # (N, n_inputs), used in the rows of ended episodes; None if none was truncated
    # (N,), False where an environment had no episode left to play; truncated there, the episode had ended a step before
    active: NDArray[np.bool_]
    log_probs: NDArray[np.floating[Any]] | None = None  # (N,), of the actions under the policy that drew them, if known
    swarm_log_probs: NDArray[np.floating[Any]] | None = None  # (N,), under the swarm's, where a leader drew; else None
    credits: NDArray[np.floating[Any]] | None = None  # (P, N), P times each model's contribution; None for a mixture's
    swarm_probabilities: NDArray[np.floating[Any]] | None = None  # (N, A), of all actions, if the rule needs them


@dataclass(frozen=True)
class TrainingState:
    """All that P models have learned, as arrays that are changed in place."""

    weights: Floats  # (P, G)
    first_moment: Floats  # (P, G)
    second_moment: Floats  # (P, G)
    n_updates: NDArray[np.int64]  # (1,), of Adam
    reward_count_and_squares: NDArray[np.float64]  # (2,), the number of rewards, and the sum of their squares
    largest_advantage_std: NDArray[np.float32]  # (P,), the largest standard deviation of a model's advantages so far
    cumulative_advantage: NDArray[np.float64]  # (P,), the sum of a model's normalised, importance-weighted advantages
    hyperparameters: NDArray[np.float64]  # (P, H), each model's own, in the order of `of_each_model`

    @classmethod
    def initial(cls, weights: Floats, settings: LearningSettings) -> "TrainingState":
        """Return the state of models with these `weights` before their first update, all with the same `settings`."""
        n_models, n_weights = weights.shape
        state = cls.zeros(n_models, n_weights, len(settings.of_each_model))
        state.hyperparameters[:] = [getattr(settings, name) for name in settings.of_each_model]
        return replace(state, weights=weights)

    @classmethod
    def zeros(
        cls, n_models: int, n_weights: int, n_hyperparameters: int, make: MakeArray = lambda _, *form: np.zeros(*form)
    ) -> "TrainingState":
        """Return the state of P models whose arrays `make` makes of a name, a shape and a dtype."""
        weights, each = (n_models, n_weights), (n_models,)
        return cls(
            weights=make("weights", weights, np.float32),
            first_moment=make("first_moment", weights, np.float32),
            second_moment=make("second_moment", weights, np.float32),
            n_updates=make("n_updates", (1,), np.int64),
            reward_count_and_squares=make("reward_count_and_squares", (2,), np.float64),
            largest_advantage_std=make("largest_advantage_std", each, np.float32),
            cumulative_advantage=make("cumulative_advantage", each, np.float64),
            hyperparameters=make("hyperparameters", (n_models, n_hyperparameters), np.float64),
        )

    def checkpoint_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by their names in a checkpoint; views, not copies."""
        return {_CHECKPOINT_NAMES.get(name, name): array for name, array in vars(self).items()}


@dataclass(frozen=True)
class Block:
    """Models that are updated at once: their networks, and a buffer for their gradient."""

    models: slice
    networks: Networks
    gradient: Floats
    gradient_networks: Networks


def blocks(architecture: Architecture, weights: Floats) -> Iterator[Block]:
    """Return the models with these `weights` (P, G) in blocks of at most MODELS_PER_BLOCK, which share one buffer."""
    buffer = np.empty_like(weights[:MODELS_PER_BLOCK])
    for start in range(0, len(weights), MODELS_PER_BLOCK):
        models = slice(start, min(start + MODELS_PER_BLOCK, len(weights)))
        gradient = buffer[: models.stop - models.start]
        yield Block(models, Networks(architecture, weights[models]), gradient, Networks(architecture, gradient))


def require_finite(numbers: NDArray[Any], what: str = "") -> None:
    """Raise a FloatingPointError unless all `numbers` are finite; without a name, they follow from finite ones."""
    if not are_finite(numbers):
        raise FloatingPointError(
            f"{what} to learn from are not finite; nothing was learned from them" if what else DIVERGED
        )


def clip(gradient: Floats, max_norm: float) -> None:
    """Scale each row of `gradient` (P, G) down to the norm `max_norm` if it is longer (Pascanu et al. 2013, alg. 1).

    Raises:
        FloatingPointError: the gradient is not finite, so an update with it would spoil the weights.
    """
    norms = np.sqrt(np.einsum("pg,pg->p", gradient, gradient))
    if not isfinite(np.add.reduce(norms)):
        norms = np.linalg.norm(gradient.astype(np.float64), axis=1)  # whose squares do not overflow
        require_finite(norms)
    gradient *= np.minimum(np.float32(1), np.float32(max_norm) / (norms + np.float32(CLIP_EPS)))[:, None]


@dataclass
class Adam:
    """Adam (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1), in place, with moments for each model.

    The moments are stored without their constant factors 1 − β, which are folded into the step size and ε instead:
    this saves two passes over all weights.
    """

    training_state: TrainingState
    learning_rates: NDArray[np.float64]  # (P,), read anew at each update
    eps: float

    def begin_update(self) -> None:
        """Count an update; call `step` once for each model after it."""
        self.training_state.n_updates[0] += 1
        n_updates = int(self.training_state.n_updates[0])
        root = sqrt((1 - BETA2) / (1 - BETA2**n_updates))
        step_sizes = self.learning_rates * (1 - BETA1) / (1 - BETA1**n_updates) / root
        self._step_sizes = step_sizes.astype(np.float32)[:, None]
        self._eps = np.float32(self.eps / root)

    def step(self, models: slice, gradient: Floats) -> None:
        """Move the weights of `models` against their `gradient`, which is overwritten."""
        first, second = self.training_state.first_moment[models], self.training_state.second_moment[models]
        first *= np.float32(BETA1)
        first += gradient
        second *= np.float32(BETA2)
        second += np.multiply(gradient, gradient, out=gradient)
        root = np.sqrt(second, out=gradient)
        root += self._eps
        move = np.divide(first, root, out=gradient)
        move *= self._step_sizes[models]
        self.training_state.weights[models] -= move


@dataclass(frozen=True)
class Losses:
    """The terms of P models' loss before their coefficients, each a mean over the batch, (P,), as in STAT_NAMES."""

    policy_loss: Floats
    value_loss: Floats
    entropy: Floats


class LearningStats:
    """Sums of losses, entropy and gradient norm, over models and updates, since they were last read."""

    def __init__(self) -> None:
        self._sums, self._number = np.zeros(len(STAT_NAMES)), 0

    def add(self, losses: Losses, gradient: Floats) -> None:
        """Add the losses of P models, and the norms of their `gradient` (P, G) before it is clipped."""
        norms = np.sqrt(np.einsum("pg,pg->p", gradient, gradient))
        self._sums += [array.sum(dtype=float) for array in (*vars(losses).values(), norms)]
        self._number += len(norms)

    def pop_sums(self) -> tuple[dict[str, float], int]:
        """Return the sums by name and the number of their terms, and start again from zero."""
        sums = dict(zip(STAT_NAMES, self._sums.tolist(), strict=True)), self._number
        self._sums, self._number = np.zeros(len(STAT_NAMES)), 0
        return sums


class Learner(ABC):
    """P models that act on the same observations and learn from the transitions that the swarm's actions lead to.

    Call `act` and `record` in turn. An update that is due waits until the models have acted once more, so that an
    answer never waits for learning; that action comes from the weights before the update.

    Args:
        generators: one for each model; they draw its initial weights, and later its minibatches.
        training_state: of these models, to be changed in place, for example in files; by default they begin, and their
            weights are drawn.
    """

    has_cumulative_advantage = False  # whether the training state counts it

    def __init__(
        self,
        architecture: Architecture,
        settings: LearningSettings,
        generators: Sequence[np.random.Generator],
        training_state: TrainingState | None = None,
    ) -> None:
        self.architecture = architecture
        self.settings = settings
        self.training_state = training_state or TrainingState.initial(
            initial_weights(architecture, generators), settings
        )
        self.weights = self.training_state.weights  # (P, G); change them in place only
        self.stats = LearningStats()
        self.on_minibatch: Callable[[], object] = lambda: None  # called after each minibatch of an update
        self.awaits_outcome = False  # whether the last `act` still waits for its `record`
        self._generators = list(generators)
        self._build_networks()
        self._make_room(n_envs=1)

    def _build_networks(self) -> None:
        """Make the networks of the weights, and what updates them."""
        self._networks = Networks(self.architecture, self.weights)
        self._blocks = list(blocks(self.architecture, self.weights))
        self._adam = Adam(self.training_state, self._of_each_model("learning_rate"), self.settings.adam_eps)
        self._evaluated = self._activations(n_rows=1)

    def _of_each_model(self, name: str) -> NDArray[np.float64]:
        """Return each model's own value of a hyperparameter, (P,), as a view."""
        return self.training_state.hyperparameters[:, self.settings.of_each_model.index(name)]

    def _count_rewards(self, rewards: Floats, number: int) -> None:
        """Count `rewards` as `number`; raises FloatingPointError if one of them is not finite."""
        squares = float(np.add.reduce(np.square(rewards, dtype=np.float64), axis=None))
        if not isfinite(squares):
            require_finite(rewards, "rewards")
        count_and_squares = self.training_state.reward_count_and_squares
        count_and_squares[0] += number
        count_and_squares[1] += squares

    def _reward_rms(self) -> float:
        """Return the root mean square of the rewards that were counted; 1 as long as all are 0."""
        number, squares = self.training_state.reward_count_and_squares.tolist()
        return (squares / number) ** 0.5 if squares else 1.0

    def _reward_scale(self, normalize_rewards: bool) -> float:
        """Return the factor of rewards that gives values a size which networks learn easily.

        Rewards of 1 RMS for ever are worth RMS / (1 − γ), which becomes UNIT_REWARDS_VALUE.
        """
        if not normalize_rewards:
            return 1.0
        scale = UNIT_REWARDS_VALUE * max(1 - self.settings.gamma, MIN_DISCOUNTING) / self._reward_rms()
        return min(scale, MAX_SCALE)

    def _activations(self, n_rows: int) -> Activations:
        return Activations.empty(self.architecture, len(self.weights), n_rows)

    def evaluate(self, observations: Floats) -> Activations:
        """Return logits and values for `observations` (N, n_inputs), valid until the next call; learn nothing."""
        if len(observations) != len(self._evaluated.inputs[0]):
            self._evaluated = self._activations(len(observations))
        self._evaluated.outputs[0][:] = observations
        for part in (ACTORS, CRITICS):
            forward(part, self._networks, self._evaluated)
        return self._evaluated

    def outputs(self, observations: Floats) -> Floats:
        """Return outputs (P, N, n_outputs) for `observations` (N, n_inputs), as `act` does, but learn nothing."""
        return self.evaluate(observations).logits

    def state(self) -> dict[str, Any]:
        """Return all that the models are, from which `restore` makes others continue as these would.

        Its arrays change with the models: they are views, since those of images are too large to be copied often.
        """
        return self.training_state.checkpoint_arrays()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state` of models of the same shape."""
        for name, array in self.training_state.checkpoint_arrays().items():
            if name in state:  # the first version had no hyperparameters of each model
                array[:] = state[name]

    @abstractmethod
    def _make_room(self, n_envs: int) -> None:
        """Begin an empty record of the steps of `n_envs` environments."""

    @property
    @abstractmethod
    def update_is_due(self) -> bool:
        """Whether enough steps are recorded, and followed by an `act`."""

    @abstractmethod
    def act(self, observations: Floats) -> Floats:
        """Return outputs (P, N, n_outputs) for `observations` (N, n_inputs), whose transition the next `record` gets.

        They are a view, valid until the models act or learn again. Another `act` without `record` replaces this one.
        """

    @abstractmethod
    def record(self, transition: Transition) -> None:
        """Record the transition that followed the last `act`."""

    @abstractmethod
    def learn(self) -> None:
        """Update the models if an update is due; otherwise the next `record` does it."""

    @abstractmethod
    def finish(self, observations: Floats) -> None:
        """Learn from the steps since the last update; `observations` (N, n_inputs) are the ones that follow them."""

    @abstractmethod
    def break_off(self) -> None:
        """End the current trajectories: what is recorded next does not follow from what is recorded so far."""
