"""Gymnasium environments as the main job needs them: made by id, with observations and actions of one of two forms."""

from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import FlattenObservation, TransformAction
from numpy.typing import NDArray

from swarmsim.envs.actions import simplified
from swarmsim.errors import SettingsError, unknown
from swarmsim.learning.distributions import Categorical, Distribution, Gaussian
from swarmsim.plugins import own

Environment = gymnasium.Env[NDArray[np.float32], Any]


@dataclass(frozen=True)
class Shape:
    """What the models must know of an environment.

    Attributes:
        n_inputs: numbers in an observation.
        n_actions: to choose from; or, where they are `continuous`, numbers in an action.
    """

    n_inputs: int
    n_actions: int
    continuous: bool = False

    @property
    def distribution(self) -> Distribution:
        """What the models draw actions from."""
        return Gaussian(self.n_actions) if self.continuous else Categorical(self.n_actions)


def make_env(env_id: str) -> Environment:
    """Return the environment of a Gymnasium id or a `module:Class`, its observations flattened to a vector.

    Its actions are Discrete, counted from 0, or a vector of numbers from -1 to 1 which is stretched to the bounds that
    it has.

    Raises:
        SettingsError: there is none of that id, it cannot be made here, or its spaces are not supported.
    """
    env = raw_env(env_id)
    try:
        return _with_simple_actions(_with_vectors(env))
    except ValueError as error:
        env.close()
        raise SettingsError(f"environment {env_id!r} {error}") from None


def raw_env(env_id: str, **arguments: Any) -> gymnasium.Env[Any, Any]:
    """Return the environment as it is, made with `arguments` such as `render_mode`.

    Raises:
        SettingsError: there is none of that id, or it cannot be made here.
    """
    try:
        return gymnasium.make(_own_class(env_id) or env_id, **arguments)
    except gymnasium.error.UnregisteredEnv:
        raise SettingsError(unknown("environment", env_id, gymnasium.registry, show=0)) from None
    except ModuleNotFoundError as error:
        raise SettingsError(f"environment {env_id!r}: {error}") from None
    except (gymnasium.error.Error, ImportError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise SettingsError(f"environment {env_id!r} cannot be made: {first_line}") from None


def _with_vectors(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return the environment with its observations as vectors.

    Raises:
        ValueError: they have no fixed length.
    """
    space = env.observation_space
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return env
    if not space.is_np_flattenable:
        raise ValueError(f"has {space} as observations; a space is needed whose elements have all the same size")
    return FlattenObservation(env)


def _with_simple_actions(env: gymnasium.Env[Any, Any]) -> Environment:
    """Return the environment with Discrete actions from 0, or vectors; raises as `simplified`."""
    space = env.action_space
    simple, to_own = simplified(space)
    is_simple = isinstance(space, spaces.Discrete) and space == simple
    return env if is_simple else TransformAction(env, to_own, simple)


def _own_class(env_id: str) -> EnvSpec | None:
    """Return how to make an environment that is named as `module:Class`, and is not registered under that name."""
    _, colon, name = env_id.partition(":")
    if not colon or not name.isidentifier() or name in gymnasium.registry:
        return None
    found = own(env_id, "environment")
    if not (isinstance(found, type) and issubclass(found, gymnasium.Env)):
        raise SettingsError(f"environment {env_id!r} is a class of gymnasium.Env, not {type(found).__name__}")
    return EnvSpec(name, entry_point=cast(Any, found))


def shape_of(env_id: str) -> Shape:
    """Return the shape of an environment; raises as `make_env`."""
    env = make_env(env_id)
    env.close()
    return shape_of_spaces(env)


def reward_threshold(env_id: str) -> float | None:
    """Return the score from which the environment counts as solved, where Gymnasium knows one; raises as `raw_env`."""
    env = raw_env(env_id)
    env.close()
    return None if env.spec is None else env.spec.reward_threshold


def shape_of_spaces(env: Environment) -> Shape:
    """Return the shape of an environment that `make_env` made."""
    n_inputs = int(np.prod(env.observation_space.shape or (1,)))
    if isinstance(env.action_space, spaces.Discrete):
        return Shape(n_inputs, int(env.action_space.n))
    return Shape(n_inputs, int(np.prod(env.action_space.shape or (1,))), continuous=True)
