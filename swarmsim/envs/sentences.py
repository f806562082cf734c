"""What is wrong with a user's environment, in one sentence."""

import importlib.util
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gymnasium

from swarmsim.errors import SettingsError, SwarmError, unknown

# Packages whose environments Gymnasium knows once they are imported: the name on PyPI, the module, and their ids.
PACKAGES = (
    ("ale-py", "ale_py", r"ALE/|\w+NoFrameskip-v|\w+-ram-v"),
    ("minigrid", "minigrid", r"MiniGrid-|BabyAI-"),
    (
        "gymnasium-robotics",
        "gymnasium_robotics",
        r"Fetch|HandManipulate|HandReach|AntMaze|PointMaze|Adroit|FrankaKitchen",
    ),
    ("highway-env", "highway_env", r"highway|merge-v|roundabout-v|parking-v|intersection|racetrack"),
    ("miniworld", "miniworld", r"MiniWorld-"),
    ("mo-gymnasium", "mo_gymnasium", r"mo-"),
    ("shimmy", "shimmy", r"dm_control/|bsuite/"),
)
_OUTSIDE = Path(__file__).parents[1], Path(gymnasium.__file__).parent  # whose lines tell a user nothing


def unknown_env(env_id: str) -> str:
    """Return the sentence for an environment that Gymnasium does not know."""
    for package, module, ids in PACKAGES:
        if re.match(ids, env_id) and not any(re.match(ids, known) for known in gymnasium.registry):
            is_here = importlib.util.find_spec(module) is not None
            remedy = f"its package {package} is not imported" if is_here else f"pip install {package} brings it"
            return f"unknown environment {env_id!r}: {remedy}; name it '{module}:{env_id}'"
    sentence = unknown("environment", env_id, gymnasium.registry, show=0)
    namespace, slash, _ = env_id.rpartition("/")
    if slash and ":" not in env_id and all(spec.namespace != namespace for spec in gymnasium.registry.values()):
        sentence += f"; if a package registers it, name that too: PACKAGE:{env_id}"
    return sentence


@contextmanager
def one_sentence(env_id: str, what: str = "") -> Iterator[None]:
    """Raise a SettingsError that names the environment, instead of what a user's code raises.

    A ValueError of this package says what the environment "has" or "cannot", and its sentence continues there.
    """
    try:
        yield
    except (SwarmError, gymnasium.error.UnregisteredEnv, ModuleNotFoundError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also SystemExit, and the panics of simulators in other languages
        raise SettingsError(f"environment {env_id!r} {_cause(error, what)}") from None


def _cause(error: BaseException, what: str) -> str:
    """Return what was raised, and where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if not any(map(Path(frame.filename).is_relative_to, _OUTSIDE))]
    text = " ".join(str(error).partition(" was raised from the environment creator")[0].split())
    if isinstance(error, gymnasium.error.Error | ImportError):
        return what + str(error).strip().partition("\n")[0]
    if isinstance(error, ValueError) and not places:
        return text
    what = what or "failed: "
    text = f"it called sys.exit({error.code!r})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {text}"
    if isinstance(error, TypeError) and "required" in text and "argument" in text:
        text += "; env_kwargs of the settings passes arguments"
    return f"{what}{text} ({places[-1].filename}, line {places[-1].lineno})" if places else f"{what}{text}"
