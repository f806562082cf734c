"""Makes Gymnasium environments with vectors as observations, and choices or vectors as actions."""

import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit, TransformAction

from swarmsim.config import Config
from swarmsim.envs.actions import to_model_space
from swarmsim.envs.border import Environment, shown
from swarmsim.envs.close import close_all
from swarmsim.envs.flat import Flat, is_vector
from swarmsim.envs.sentences import one_sentence, unknown_env
from swarmsim.errors import SettingsError
from swarmsim.learning.distributions import Categorical, Distribution, Gaussian
from swarmsim.plugins import is_given, load_object
from swarmsim.projects import project_at, use

Env = gymnasium.Env[Any, Any]

logger = logging.getLogger("swarmsim")


@dataclass(frozen=True)
class EnvSource:
    """What an environment is made from; the settings of a run of the same names say more.

    Attributes:
        id: of Gymnasium, or a `module:name` of a class or of a function that makes an environment.
        wrappers: each the `module:name` of a class or function that gets the environment.
        modules: the folder of the user's modules.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    max_episode_steps: int | None = None
    modules: str | None = None

    @classmethod
    def of(cls, config: Config) -> "EnvSource":
        """Return the source of a run's environments."""
        return cls(config.env, config.env_kwargs, config.wrappers, config.max_episode_steps, config.modules)

    def make(self, **more_kwargs: Any) -> gymnasium.Env[Any, Any]:
        """Return the environment with its own spaces; raises SettingsError if it cannot be made here."""
        if self.modules is not None and any(":" in name for name in (self.id, *self.wrappers)):
            use(project_at(self.modules))
        wrappers = [load_object(reference, "wrapper") for reference in self.wrappers]
        limit = {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
        env = raw_env(self.id, **{**limit, **self.kwargs, **more_kwargs})
        for reference, wrapper in zip(self.wrappers, wrappers, strict=True):
            env = _wrapped(env, reference, wrapper)
        return env


def _wrapped(env: gymnasium.Env[Any, Any], reference: str, wrapper: Any) -> gymnasium.Env[Any, Any]:
    try:
        wrapped = wrapper(env)
    except Exception as error:
        env.close()
        text = " ".join(str(error).split())
        raise SettingsError(f"wrapper {reference!r} failed: {type(error).__name__}: {text}") from None
    if not isinstance(wrapped, gymnasium.Env):
        env.close()
        raise SettingsError(f"wrapper {reference!r} must return a gymnasium.Env, not {type(wrapped).__name__}")
    return wrapped


def env_source(env: str | EnvSource) -> EnvSource:
    """Return the source of an environment that is given by its id alone."""
    return EnvSource(env) if isinstance(env, str) else env


@dataclass(frozen=True)
class Shape:
    """What the models must know of an environment.

    Attributes:
        n_inputs: numbers in an observation.
        n_actions: number of choices; numbers in an action if it is `continuous`.
    """

    n_inputs: int
    n_actions: int
    continuous: bool = False

    @property
    def distribution(self) -> Distribution:
        """The action distribution of the models."""
        return Gaussian(self.n_actions) if self.continuous else Categorical(self.n_actions)


def make_env(source: str | EnvSource) -> Environment:
    """Return the environment of a source, or of an id alone, with flat observations.

    Its actions are Discrete, counted from 0, or vectors of numbers; -1 and 1 stand for the bounds, if it has bounds.

    Raises:
        SettingsError: there is no such environment, it cannot be made here, or its spaces are not supported.
    """
    source = env_source(source)
    return _converted(source, made(source), lambda env: _convert_actions(_flat(env)))


def make_flat_env(source: EnvSource, **arguments: Any) -> gymnasium.Env[Any, Any]:
    """Return the environment, made with more `arguments`, with flat observations and its own actions.

    Raises:
        SettingsError: as `make_env`.
    """
    return _converted(source, made(source, **arguments), _flat)


def made(source: EnvSource, **arguments: Any) -> gymnasium.Env[Any, Any]:
    """Return the environment with its own spaces, which keeps to `max_episode_steps` whatever its wrappers do.

    Raises:
        SettingsError: it cannot be made here.
    """
    with one_sentence(source.id, "cannot be made: "):
        env = source.make(**arguments)
        return env if source.max_episode_steps is None else TimeLimit(env, source.max_episode_steps)


def _converted(source: EnvSource, env: Env, convert: Callable[[Env], Env]) -> Env:
    """Return `convert(env)`; if its spaces are not supported, the environment is closed."""
    try:
        with one_sentence(source.id):
            return convert(env)
    except SettingsError:
        close_all([env], source.id)
        raise


def raw_env(env_id: str, /, **arguments: Any) -> Env:
    """Return the unchanged environment, made with `arguments`; raises SettingsError if that is impossible here."""
    try:
        with one_sentence(env_id, "cannot be made: "):
            # Gymnasium's own checker would blame in tracebacks what the border to an environment refuses in a sentence
            env = gymnasium.make(_plugin_spec(env_id) or env_id, disable_env_checker=True, **arguments)
        _check_spaces(env, env_id)
        return env
    except gymnasium.error.UnregisteredEnv:
        raise SettingsError(unknown_env(env_id)) from None
    except ModuleNotFoundError as error:
        raise SettingsError(f"environment {env_id!r}: {error}") from None


def _check_spaces(env: Env, env_id: str) -> None:
    """Raise SettingsError, and close the environment, unless both of its spaces are Gymnasium's."""
    try:
        with one_sentence(env_id):
            for name in ("observation_space", "action_space"):
                space = getattr(env, name, None)
                if not isinstance(space, spaces.Space):
                    raise SettingsError(f"environment {env_id!r} has no {name}, but {shown(space)}")
    except SettingsError:
        close_all([env], env_id)
        raise


def _flat(env: Env) -> Env:
    space = env.observation_space
    env = env if is_vector(space) else Flat(env)
    if env.observation_space.shape == (0,):
        raise ValueError(f"has the observation space {space}, which holds no number")
    return env


def _convert_actions(env: gymnasium.Env[Any, Any]) -> Environment:
    space = env.action_space
    model_space, to_env_action = to_model_space(space)
    is_same = isinstance(space, spaces.Discrete) and space == model_space
    return env if is_same else TransformAction(env, to_env_action, model_space)


def _plugin_spec(env_id: str) -> EnvSpec | None:
    """Return the spec of a `module:name`; None if `env_id` is no such reference, or is registered."""
    _, colon, name = env_id.partition(":")
    is_object = is_given(env_id) or "<" in name or name.replace(".", "").isidentifier()
    if not colon or name in gymnasium.registry or not is_object:
        return None
    maker = load_object(env_id, "environment")
    if not callable(maker) or (isinstance(maker, type) and not issubclass(maker, gymnasium.Env)):
        kind = f"the class {name}" if isinstance(maker, type) else type(maker).__name__
        raise SettingsError(f"environment {env_id!r} must be a gymnasium.Env class or a function, not {kind}")
    return EnvSpec(re.sub(r"[^\w.]+", "-", name), entry_point=_checked_maker(env_id, maker))


def _checked_maker(env_id: str, maker: Callable[..., object]) -> Callable[..., gymnasium.Env[Any, Any]]:
    """Return a class of environments, or a function that makes them and is held to it."""
    if isinstance(maker, type):
        return cast(Callable[..., gymnasium.Env[Any, Any]], maker)

    def make(**arguments: Any) -> gymnasium.Env[Any, Any]:
        env = maker(**arguments)
        if not isinstance(env, gymnasium.Env):
            raise SettingsError(f"environment {env_id!r} must return a gymnasium.Env, not {type(env).__name__}")
        return env

    return make


def properties_of(source: str | EnvSource) -> tuple[Shape, float | None]:
    """Return the shape of an environment, and the score at which it counts as solved, if Gymnasium knows one.

    It is made once and closed again: of some simulators, only one can run.

    Raises:
        SettingsError: as `make_env`, or it cannot be seeded.
    """
    source = env_source(source)
    env = make_env(source)
    try:
        with one_sentence(source.id):
            for layer in _layers(env):
                _check_reset(layer)
                if isinstance(layer, Flat) and layer.left_out:
                    parts = ", ".join(map(repr, layer.left_out))
                    logger.warning("environment %r: the text in %s is left out of its observations", source.id, parts)
            spec = env.unwrapped.spec
            return shape_of_spaces(env), None if spec is None else spec.reward_threshold
    finally:
        close_all([env], source.id)


def _layers(env: Env) -> Iterator[Env]:
    """Yield the wrappers of an environment, the outermost first, and itself."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
    yield env


def _check_reset(env: Env) -> None:
    try:
        inspect.signature(env.reset).bind(seed=0)
    except TypeError:
        owner = type(env).__name__
        raise ValueError(f"cannot be seeded: {owner} needs 'def reset(self, *, seed=None, options=None)'") from None


def shape_of(source: str | EnvSource) -> Shape:
    """Return the shape of an environment; raises as `properties_of`."""
    return properties_of(source)[0]


def shape_of_spaces(env: Environment) -> Shape:
    """Return the shape of an environment that `make_env` made."""
    n_inputs = int(np.prod(env.observation_space.shape or (1,)))
    if isinstance(env.action_space, spaces.Discrete):
        return Shape(n_inputs, int(env.action_space.n))
    return Shape(n_inputs, int(np.prod(env.action_space.shape or (1,))), continuous=True)
