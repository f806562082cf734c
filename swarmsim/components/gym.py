"""Gymnasium environments as the main job needs them: made by id, and checked."""

from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray

from swarmsim.components.own import own
from swarmsim.errors import SettingsError, unknown


@dataclass(frozen=True)
class Shape:
    """What the models must know of an environment."""

    n_inputs: int
    n_actions: int


def make_env(env_id: str) -> gymnasium.Env[NDArray[np.float32], np.int64]:
    """Return the environment of a Gymnasium id or a `module:Class`, its observations flattened to a vector.

    Raises:
        SettingsError: there is none of that id, it cannot be made here, or its spaces are not supported.
    """
    try:
        env = gymnasium.make(_own_class(env_id) or env_id)
    except gymnasium.error.UnregisteredEnv:
        raise SettingsError(unknown("environment", env_id, gymnasium.registry, show=0)) from None
    except ModuleNotFoundError as error:
        raise SettingsError(f"environment {env_id!r}: {error}") from None
    except (gymnasium.error.Error, ImportError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise SettingsError(f"environment {env_id!r} cannot be made: {first_line}") from None
    if not isinstance(env.observation_space, spaces.Box) or not isinstance(env.action_space, spaces.Discrete):
        told = f"{env.observation_space} as observations and {env.action_space} as actions"
        env.close()
        raise SettingsError(f"environment {env_id!r} has {told}; a Box and a Discrete space are needed")
    return env if len(env.observation_space.shape) == 1 else FlattenObservation(env)


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
    observations, actions = env.observation_space, env.action_space
    env.close()
    assert isinstance(actions, spaces.Discrete)
    return Shape(int(np.prod(observations.shape or (1,))), int(actions.n))
