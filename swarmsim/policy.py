"""A trained swarm outside of a run: a torch module with the `predict` of Stable-Baselines3's models."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, Generic, TypeVar
from zipfile import ZipFile

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from swarmsim.components.main_job import architecture_of
from swarmsim.config import Config, resumed_config
from swarmsim.envs import actions
from swarmsim.envs.encoding import decode_space, encode_space
from swarmsim.envs.flat import is_flattenable, vectors, without_text
from swarmsim.envs.make import EnvSource, shape_of
from swarmsim.errors import BadValue, SettingsError, unknown
from swarmsim.files import write_atomically
from swarmsim.learning.aggregate import Rule
from swarmsim.learning.decision import decide
from swarmsim.learning.led_returns import LedReturns
from swarmsim.learning.networks import ACTORS, Activations, Architecture, Floats, Layer, Networks, forward
from swarmsim.learning.normalize import Normalizer
from swarmsim.learning.rating import select_sac_actions
from swarmsim.learning.sac_networks import SACArchitecture
from swarmsim.learning.seeding import generator
from swarmsim.plugins import load_rule
from swarmsim.projects import current_project, in_project
from swarmsim.results.checkpoint import weights_in
from swarmsim.results.snapshot import FILE, Snapshot, snapshot

FORMAT = 2  # files of format 1 have the shape of a Box instead of an observation space

Value = TypeVar("Value")

_FORMAT = "swarmsim policy"
_SINGLE_MODEL_RULE = "sum"  # makes a single model's action distribution the swarm's


class _Rebuilt(Generic[Value]):
    """A value that copies share and that pickles make anew, such as a function within a function."""

    def __init__(self, make: Callable[..., Value], *arguments: Any, value: Value | None = None) -> None:
        self.value = make(*arguments) if value is None else value
        self._made_by = make, *arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_by

    def __deepcopy__(self, _memo: object) -> "_Rebuilt[Value]":
        return self


class SwarmPolicy(torch.nn.Module):
    """P models that act as one, or a single model; it can be copied and pickled.

    Args:
        weights: each model's weights (G,), by name.
        action_space: the environment's action space.
        observation_space: the environment's observation space; by default a Box of n_inputs numbers.
        aggregation: the rule that makes one action of the models' action distributions.
        vote_weights: of each model, for the rule `weighted`; by default all are 1.
        normalizer: the run's observation normaliser, if it had one.
        seed: of the actions that `predict` draws.

    Attributes:
        names: the models' names.
        observation_space: what `predict` takes observations of; without the text that no model receives.
        weights: (P, G), the only parameter: each model's actor, then its critics, layer by layer.

    Raises:
        SettingsError: weights or observations do not fit the architecture, or the rule is unknown.
    """

    def __init__(
        self,
        weights: Mapping[str, Floats],
        architecture: Architecture,
        action_space: actions.Space,
        *,
        observation_space: actions.Space | None = None,
        aggregation: str = _SINGLE_MODEL_RULE,
        vote_weights: Sequence[float] | None = None,
        normalizer: Normalizer | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, genome in weights.items():
            if genome.shape != (architecture.n_weights,):
                raise SettingsError(f"{name} has {genome.size} weights, but its layers need {architecture.n_weights}")
        self.names = list(weights)
        self.architecture = architecture
        self.action_space = _plain(action_space)
        self.observation_space = _checked_space(observation_space, architecture.n_inputs)
        self.aggregation = aggregation
        self.vote_weights = None if vote_weights is None else list(vote_weights)
        self.weights = torch.nn.Parameter(torch.from_numpy(np.stack(list(weights.values())).astype(np.float32)))
        project = current_project()
        folder = None if project is None or ":" not in aggregation else str(project.folder)
        self._rule = _Rebuilt(_rule_in, aggregation, folder, value=load_rule(aggregation))
        self._normalizer = normalizer
        self._to_env_action = _Rebuilt(_translation, self.action_space)
        self.set_seed(seed)

    def set_seed(self, seed: int) -> None:
        """Seed the actions that `predict` draws from now on."""
        self._rng = generator(seed, "policy")

    def forward(self, observations: Tensor) -> Tensor:
        """Return the models' outputs (P, B, n_outputs): logits, or means and log standard deviations.

        Args:
            observations: (B, n_inputs), as `as_seen` returns them.
        """
        return self._apply_layers(self.architecture.actor, observations)

    def values(self, observations: Tensor) -> Tensor:
        """Return the critics' values (P, B) of `observations` (B, n_inputs), as `as_seen` returns them."""
        if not isinstance(self.architecture, SACArchitecture):
            return self._apply_layers(self.architecture.critic, observations)[..., 0]
        outputs = self.forward(observations)  # critics of actions value the model's own mean action
        means = torch.tanh(outputs[..., : self.architecture.n_actions])
        inputs = torch.cat((observations.expand(*means.shape[:-1], -1), means), dim=-1)
        values = [self._apply_layers(critic, inputs)[..., 0] for critic in self.architecture.critics]
        return torch.stack(values).mean(dim=0)

    def _apply_layers(self, layers: tuple[Layer, ...], signal: Tensor) -> Tensor:
        activation = {"tanh": torch.tanh, "relu": torch.relu}[self.architecture.activation]
        for layer in layers:
            matrices = self.weights[:, layer.start : layer.end].reshape(-1, layer.n_inputs + 1, layer.n_outputs)
            signal = signal @ matrices[:, :-1] + matrices[:, -1:]
            if layer is not layers[-1]:
                signal = activation(signal)
        return signal

    def as_seen(self, observations: Any) -> Floats:
        """Return the models' inputs (B, n_inputs) for what `predict` takes; raises SettingsError as it does."""
        return self._inputs(observations)[0]

    def _inputs(self, observations: Any) -> tuple[Floats, bool]:
        """Return the models' inputs, and whether they are those of a single observation."""
        try:
            rows, is_single = vectors(self.observation_space, observations)
        except BadValue as error:
            raise SettingsError(str(error)) from None
        inputs = rows.astype(np.float32)
        return inputs if self._normalizer is None else self._normalizer.normalized(inputs), is_single

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Return the swarm's action for an observation, or its actions for a batch, and `state` unchanged.

        Args:
            observation: an element of the environment's observation space; or a batch, as Stable-Baselines3 has it: an
                array with one more axis in front, and a dict or tuple of such arrays for a Dict or Tuple space. Vectors
                are also taken, as `gymnasium.wrappers.FlattenObservation` returns them for spaces other than Discrete.
            state: not used, since the policy is not recurrent.
            episode_start: not used.
            deterministic: whether to take the most probable action instead of drawing one.

        Returns:
            Actions that the environment's `step` accepts, and `state`.

        Raises:
            SettingsError: observations are not of the observation space, or not finite.
        """
        inputs, is_single = self._inputs(observation)
        selected = self._select_actions(inputs, None if deterministic else self._rng)
        env_actions = [self._to_env_action.value(action) for action in selected]
        return (env_actions[0] if is_single else np.stack(env_actions)), state

    def _select_actions(self, inputs: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return the swarm's actions, bit-identical to those in a run; without `rng`, the best ones."""
        genomes = self.weights.detach().to("cpu", torch.float32).contiguous().numpy()
        if isinstance(self.architecture, SACArchitecture):
            return select_sac_actions(self.architecture, genomes, inputs, self._rule.value, rng)
        outputs = self._outputs(genomes, inputs).astype(np.float64)
        vote_weights = None if self.vote_weights is None else np.asarray(self.vote_weights)
        return decide(outputs, self.architecture.distribution, self._rule.value, rng, weights=vote_weights).actions

    def _outputs(self, genomes: Floats, observations: Floats) -> Floats:
        """Return the outputs of `forward`, bit-identical to those in a run."""
        activations = Activations.empty(self.architecture, len(genomes), len(observations))
        activations.outputs[0][:] = observations
        forward(ACTORS, Networks(self.architecture, genomes), activations)
        return activations.logits

    def member(self, which: str | int) -> "SwarmPolicy":
        """Return the policy of a single model, given its name or number.

        Raises:
            SettingsError: there is no such model.
        """
        row = self.names.index(which) if which in self.names else None if isinstance(which, str) else index(which)
        if row is None or not 0 <= row < len(self.names):
            raise SettingsError(unknown("member", which, self.names))
        return SwarmPolicy(
            {self.names[row]: self._genomes()[row]},
            self.architecture,
            self.action_space,
            observation_space=self.observation_space,
            normalizer=self._normalizer,
        )

    def _genomes(self) -> Floats:
        return self.weights.detach().to("cpu", torch.float32).numpy().copy()

    def save(self, path: str | Path) -> None:
        """Write the policy to one file for `load_policy`; a user's aggregation rule is stored by its name only.

        Raises:
            SettingsError: the file cannot be written.
        """
        architecture = self.architecture
        content = io.BytesIO()
        normalizer = None if self._normalizer is None else self._normalizer.state()
        fields = {
            _FORMAT: FORMAT,
            "names": self.names,
            "weights": torch.from_numpy(self._genomes()),
            "n_inputs": architecture.n_inputs,
            "n_actions": architecture.n_actions,
            "hidden": list(architecture.hidden),
            "continuous": architecture.continuous,
            "n_critics": architecture.n_critics if isinstance(architecture, SACArchitecture) else None,
            "action_space": encode_space(self.action_space),
            "observation_space": encode_space(self.observation_space),
            "aggregation": self.aggregation,
            "vote_weights": self.vote_weights,
            "normalizer": normalizer and {key: np.asarray(value).tolist() for key, value in normalizer.items()},
        }
        torch.save(fields, content)
        write_atomically(Path(path), content.getvalue())


def _rule_in(name: str, folder: str | None) -> Rule:
    """Return an aggregation rule, the user's from a folder; a function without a name could be any other's."""
    if "<" in name:
        raise SettingsError(f"aggregation {name!r} cannot be pickled: it must be a function at the top of a module")
    with in_project(folder, [name] if ":" in name else []):
        return load_rule(name)


def _translation(action_space: actions.Space) -> actions.ToEnvAction:
    return actions.to_model_space(action_space)[1]


def _plain(space: actions.Space) -> actions.Space:
    """Return a space without classes of the user's own, which other processes may not know."""
    return decode_space(encode_space(space))


def _checked_space(space: actions.Space | None, n_inputs: int) -> actions.Space:
    """Return the part of an observation space that models receive; its vectors if it has kinds of the user's own."""
    if space is None:
        return spaces.Box(-np.inf, np.inf, (n_inputs,))
    received, _ = without_text(space)
    if not is_flattenable(received) or spaces.flatdim(received) != n_inputs:
        raise SettingsError(f"the models take {n_inputs} numbers, which is no observation of {space}")
    try:
        return _plain(received)
    except TypeError:
        return spaces.flatten_space(received)


def load_policy(
    path: str | Path, *, best: bool = False, seed: int = 0, modules: str | Path | None = None
) -> SwarmPolicy:
    """Return the policy of a file that `save` wrote, or of a run; code in a file is never executed.

    Args:
        path: a file, a checkpoint of a run, or a run directory (its newest sound checkpoint).
        best: whether to take the run directory's checkpoint of the best evaluation instead.
        seed: of the actions that `predict` draws.
        modules: the folder of the user's aggregation rule; by default the run's, for a file the current folder.

    Raises:
        SettingsError: `path` is missing, damaged or no policy, or the user's rule is not found.
    """
    path = Path(path)
    if best or path.is_dir() or path.suffix == FILE:
        found = snapshot(
            path, lambda damaged: warnings.warn(f"{damaged}; the one before it is used", stacklevel=4), best=best
        )
        return policy_of(found, seed=seed, modules=modules)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    return _read(content, path, seed, modules)


def policy_of(loaded: Snapshot, *, seed: int = 0, modules: str | Path | None = None) -> SwarmPolicy:
    """Return the policy of one checkpoint; arguments and errors are those of `load_policy`."""
    config = resumed_config(loaded.run, {})
    folder = config.modules if modules is None else str(modules)
    with in_project(folder, config.references):
        return _policy_of(loaded, replace(config, modules=folder), seed)


def _policy_of(loaded: Snapshot, config: Config, seed: int) -> SwarmPolicy:
    source = EnvSource.of(config)
    env = source.make()
    env.close()
    architecture = architecture_of(config, shape_of(source))
    components = loaded.state["components"]
    environment = components.get("environment") or {}  # a checkpoint may lack its state
    weights = weights_in(loaded.state, loaded.checkpoint)
    return SwarmPolicy(
        weights,
        architecture,
        env.action_space,
        observation_space=env.observation_space,
        aggregation=config.aggregation,
        vote_weights=_vote_weights(config.aggregation, components.get("aggregation") or {}, list(weights)),
        normalizer=_normalizer(architecture, environment.get("normalizer")),
        seed=seed,
    )


def _vote_weights(rule: str, aggregation: Mapping[str, Any], names: Sequence[str]) -> list[float] | None:
    """Return the weights that the votes of models `names` had in evaluations, given the aggregation's state."""
    if not load_rule(rule).is_weighted:
        return None
    led = LedReturns()
    led.restore(aggregation.get("led", {}))
    return led.worth(names).weights().tolist()


def _normalizer(architecture: Architecture, state: Mapping[str, Any] | None) -> Normalizer | None:
    if state is None:
        return None
    normalizer = Normalizer(architecture.n_inputs)
    normalizer.restore(state)
    return normalizer


def _read(content: bytes, path: Path, seed: int, modules: str | Path | None) -> SwarmPolicy:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # any problem of the file becomes one error below
            is_sound = ZipFile(io.BytesIO(content)).testzip() is None  # torch itself verifies no checksum
            fields = torch.load(io.BytesIO(content), weights_only=True) if is_sound else {}
        number = fields[_FORMAT]
    except Exception:  # torch documents no exception types
        raise SettingsError(f"{path} is damaged, or no policy that swarmsim wrote") from None
    if number not in (1, FORMAT):
        raise SettingsError(f"{path} has format {number}: this version of swarmsim reads the formats 1 to {FORMAT}")
    rule = str(fields.get("aggregation"))
    with in_project(None if modules is None else str(modules), [rule] if ":" in rule else []):
        try:
            load_rule(rule)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}; load_policy(…, modules=FOLDER) says where it is") from None
        return _checked(fields, path, seed)


def _checked(fields: Mapping[str, Any], path: Path, seed: int) -> SwarmPolicy:
    try:
        return _decode(fields, seed)
    except Exception as error:  # any missing or mistyped field
        raise SettingsError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _decode(fields: Mapping[str, Any], seed: int) -> SwarmPolicy:
    """Return the policy whose fields `save` wrote."""
    shape = fields["n_inputs"], fields["n_actions"], tuple(fields["hidden"])
    if fields.get("n_critics"):
        architecture: Architecture = SACArchitecture(*shape, n_critics=fields["n_critics"])
    else:
        architecture = Architecture(*shape, continuous=fields["continuous"])
    return SwarmPolicy(
        dict(zip(fields["names"], fields["weights"].numpy(), strict=True)),
        architecture,
        decode_space(fields["action_space"]),
        observation_space=_decode_observations(fields),
        aggregation=fields["aggregation"],
        vote_weights=fields.get("vote_weights"),
        normalizer=_normalizer(architecture, fields["normalizer"]),
        seed=seed,
    )


def _decode_observations(fields: Mapping[str, Any]) -> actions.Space:
    if fields[_FORMAT] == 1:
        return spaces.Box(-np.inf, np.inf, tuple(fields["observation_shape"]))
    return decode_space(fields["observation_space"])
