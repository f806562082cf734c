"""A trained swarm outside of a run: its policy as a torch module that acts as Stable-Baselines3's models do."""

import io
import warnings
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from swarmsim.components.main_job import architecture_of
from swarmsim.config import Config, resumed_config
from swarmsim.envs import actions
from swarmsim.envs.make import raw_env, shape_of
from swarmsim.errors import SettingsError, unknown
from swarmsim.files import write_atomically
from swarmsim.learning.decision import decide
from swarmsim.learning.networks import ACTORS, Activations, Architecture, Floats, Layer, Networks, forward
from swarmsim.learning.normalize import Normalizer
from swarmsim.learning.seeding import generator
from swarmsim.plugins import add_module_path, load_rule
from swarmsim.results.checkpoint import weights_in
from swarmsim.results.snapshot import FILE, Snapshot, snapshot

FORMAT = 1

_FORMAT = "swarmsim policy"
_ITS_OWN = "sum"  # of a single model's opinions, which makes them the decision


class SwarmPolicy(torch.nn.Module):
    """P models that act as one, or one of them alone.

    Args:
        weights: of each model, by its name, (G,).
        action_space: the environment's own.
        observation_shape: that of the environment's own space, where it is a Box; by default that of a vector.
        aggregation: the rule by which opinions become one action.
        normalizer: by which the run had its models see observations.
        seed: of the draws of `predict`.

    Attributes:
        names: of the models.
        weights: (P, G), the one parameter: each model's actor, then its critic, layer by layer.

    Raises:
        SettingsError: weights do not fit the architecture, or there is no such rule.
    """

    def __init__(
        self,
        weights: Mapping[str, Floats],
        architecture: Architecture,
        action_space: actions.Space,
        *,
        observation_shape: tuple[int, ...] | None = None,
        aggregation: str = _ITS_OWN,
        normalizer: Normalizer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, genome in weights.items():
            if genome.shape != (architecture.n_weights,):
                raise SettingsError(f"{name} has {genome.size} weights, where its layers have {architecture.n_weights}")
        self.names = list(weights)
        self.architecture = architecture
        self.action_space = action_space
        self.observation_shape = (architecture.n_inputs,) if observation_shape is None else observation_shape
        self.aggregation = aggregation
        self.weights = torch.nn.Parameter(torch.from_numpy(np.stack(list(weights.values())).astype(np.float32)))
        self._rule = load_rule(aggregation)
        self._normalizer = normalizer
        _, self._to_own = actions.simplified(action_space)
        self.set_seed(seed)

    def set_seed(self, seed: int) -> None:
        """Have what `predict` draws from now on depend on `seed` alone."""
        self._rng = generator(seed, "policy")

    def forward(self, observations: Tensor) -> Tensor:
        """Return the models' outputs (P, B, n_outputs), logits or what their distribution makes of them.

        Args:
            observations: (B, n_inputs), as the models see them.
        """
        return self._through(self.architecture.actor, observations)

    def values(self, observations: Tensor) -> Tensor:
        """Return the critics' values (P, B) of `observations` (B, n_inputs)."""
        return self._through(self.architecture.critic, observations)[..., 0]

    def _through(self, layers: tuple[Layer, ...], signal: Tensor) -> Tensor:
        for layer in layers:
            matrices = self.weights[:, layer.start : layer.end].reshape(-1, layer.n_inputs + 1, layer.n_outputs)
            signal = signal @ matrices[:, :-1] + matrices[:, -1:]
            if layer is not layers[-1]:
                signal = torch.tanh(signal)
        return signal

    def as_seen(self, observations: NDArray[Any]) -> Floats:
        """Return (B, n_inputs), what models see of one observation of the environment, or of a batch of B."""
        rows = np.asarray(observations, np.float32)
        n_inputs = self.architecture.n_inputs
        own, flat = self.observation_shape, (n_inputs,)
        if not {rows.shape, rows.shape[1:]} & {own, flat}:
            raise SettingsError(f"an observation has the shape {own}, or (n, …) in a batch of n, not {rows.shape}")
        rows = rows.reshape(-1, n_inputs)
        return rows if self._normalizer is None else self._normalizer.normalized(rows)

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Return the swarm's action for an observation, or its actions for a batch, and `state`, as it has none.

        Args:
            observation: of the environment's own Box space; else as `gymnasium.wrappers.FlattenObservation` gives it.
            episode_start: is not looked at.
            deterministic: whether to take the best action, in the place of drawing it.

        Returns:
            What the environment's own `step` takes.

        Raises:
            SettingsError: observations have another shape.
        """
        outputs = self._outputs(self.as_seen(observation)).astype(np.float64)
        rng = None if deterministic else self._rng
        decision = decide(outputs, self.architecture.distribution, self._rule, rng)
        taken = [self._to_own(action) for action in decision.actions]
        is_one = np.shape(observation) in (self.observation_shape, (self.architecture.n_inputs,))
        return (taken[0] if is_one else np.stack(taken)), state

    def _outputs(self, observations: Floats) -> Floats:
        """Return what `forward` does, to the last bit as within a run."""
        genomes = self.weights.detach().to("cpu", torch.float32).contiguous().numpy()
        activations = Activations.empty(self.architecture, len(genomes), len(observations))
        activations.outputs[0][:] = observations
        forward(ACTORS, Networks(self.architecture, genomes), activations)
        return activations.logits

    def member(self, which: str | int) -> "SwarmPolicy":
        """Return one model, by its name or its number, which decides alone.

        Raises:
            SettingsError: there is none of that name or number.
        """
        row = self.names.index(which) if which in self.names else None if isinstance(which, str) else index(which)
        if row is None or not 0 <= row < len(self.names):
            raise SettingsError(unknown("member", which, self.names))
        return SwarmPolicy(
            {self.names[row]: self._genomes()[row]},
            self.architecture,
            self.action_space,
            observation_shape=self.observation_shape,
            normalizer=self._normalizer,
        )

    def _genomes(self) -> Floats:
        return self.weights.detach().to("cpu", torch.float32).numpy().copy()

    def save(self, path: str | Path) -> None:
        """Put all of it into one file, of which `load_policy` makes it again; a rule of one's own goes by its name.

        Raises:
            SettingsError: it cannot be written.
        """
        architecture = self.architecture
        content = io.BytesIO()
        normalizer = None if self._normalizer is None else self._normalizer.state()
        whole = {
            _FORMAT: FORMAT,
            "names": self.names,
            "weights": torch.from_numpy(self._genomes()),
            "n_inputs": architecture.n_inputs,
            "n_actions": architecture.n_actions,
            "hidden": list(architecture.hidden),
            "continuous": architecture.continuous,
            "action_space": actions.told(self.action_space),
            "observation_shape": list(self.observation_shape),
            "aggregation": self.aggregation,
            "normalizer": normalizer and {key: np.asarray(value).tolist() for key, value in normalizer.items()},
        }
        torch.save(whole, content)
        write_atomically(Path(path), content.getvalue())


def load_policy(path: str | Path, *, seed: int = 0, modules: str | Path | None = None) -> SwarmPolicy:
    """Return the policy of a file that `save` wrote, or of a run; no code in the file is run.

    Args:
        path: a file, a run directory, whose newest sound checkpoint counts, or one checkpoint in it.
        seed: of the draws of `predict`.
        modules: the folder of a rule of one's own; by default that which the run had, or else the current one.

    Raises:
        SettingsError: there is nothing at `path`, it is damaged or no policy, or a rule of one's own is not found.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == FILE:
        found = snapshot(path, lambda damaged: warnings.warn(f"{damaged}; the one before it is used", stacklevel=4))
        return policy_of(found, seed=seed, modules=modules)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    return _read(content, path, seed, modules)


def policy_of(found: Snapshot, *, seed: int = 0, modules: str | Path | None = None) -> SwarmPolicy:
    """Return the policy that a run had at one of its checkpoints; arguments and errors are those of `load_policy`."""
    config = resumed_config(found.run, {})
    add_modules_of(config, modules)
    env = raw_env(config.env)
    env.close()
    architecture = architecture_of(config, shape_of(config.env))
    known = found.environment.get("normalizer")
    space = env.observation_space
    return SwarmPolicy(
        weights_in(found.state, found.checkpoint),
        architecture,
        env.action_space,
        observation_shape=space.shape if isinstance(space, spaces.Box) else None,
        aggregation=config.aggregation,
        normalizer=None if known is None else _normalizer(architecture, known),
        seed=seed,
    )


def add_modules_of(config: Config, modules: str | Path | None = None) -> None:
    """Have the modules found that a run's settings name, in `modules` or where the run had them."""
    add_module_path(config.modules if modules is None else str(modules), (config.env, config.aggregation))


def _normalizer(architecture: Architecture, state: Mapping[str, Any]) -> Normalizer:
    normalizer = Normalizer(architecture.n_inputs)
    normalizer.restore(state)
    return normalizer


def _read(content: bytes, path: Path, seed: int, modules: str | Path | None) -> SwarmPolicy:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign file's problems are told in one sentence
            is_sound = ZipFile(io.BytesIO(content)).testzip() is None  # torch itself looks at no checksum
            whole = torch.load(io.BytesIO(content), weights_only=True) if is_sound else {}
        number = whole[_FORMAT]
    except Exception:  # torch raises whatever it will
        raise SettingsError(f"{path} is damaged, or no policy that swarmsim wrote") from None
    if number != FORMAT:
        raise SettingsError(f"{path} is of format {number}: this version of swarmsim knows format {FORMAT} alone")
    rule = str(whole.get("aggregation"))
    add_module_path(None if modules is None else str(modules), [rule])
    try:
        load_rule(rule)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}; load_policy(…, modules=FOLDER) says where it is") from None
    try:
        return _made(whole, seed)
    except Exception as error:  # whatever is missing, or of another kind than it was written
        raise SettingsError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _made(whole: Mapping[str, Any], seed: int) -> SwarmPolicy:
    """Return the policy that was saved."""
    architecture = Architecture(
        whole["n_inputs"], whole["n_actions"], tuple(whole["hidden"]), continuous=whole["continuous"]
    )
    known = whole["normalizer"]
    return SwarmPolicy(
        dict(zip(whole["names"], whole["weights"].numpy(), strict=True)),
        architecture,
        actions.read(whole["action_space"]),
        observation_shape=tuple(whole["observation_shape"]),
        aggregation=whole["aggregation"],
        normalizer=None if known is None else _normalizer(architecture, known),
        seed=seed,
    )
