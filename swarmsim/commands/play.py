"""`swarmsim play`: a trained swarm plays, to be watched."""

import argparse
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmsim.commands.export import tell_damage
from swarmsim.config import Config, resumed_config
from swarmsim.errors import SettingsError
from swarmsim.flags import Parser, whole_number
from swarmsim.results.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    import gymnasium

    from swarmsim.commands.gif import Gif
    from swarmsim.policy import SwarmPolicy

DONE = 0
SCREENS = "DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"  # any of them tells of a place for windows
WINDOW, PICTURES = "human", "rgb_array"
FRAMES_PER_SECOND = 30.0  # where an environment tells none

Look = Callable[[], object]


def make_parser() -> Parser:
    """Return the parser of `swarmsim play`."""
    parser = Parser(
        prog="swarmsim play",
        description="Watch a trained swarm play the episodes of its last evaluation, in a window or as a GIF.",
        epilog="Example: swarmsim play runs/CartPole-v1-20261124-120000 --gif cartpole.gif",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="DIR", help="a run directory, or one checkpoint in it")
    parser.add_argument("--episodes", default="1", metavar="N", help="how many (default: 1)")
    parser.add_argument("--member", metavar="NAME", help="one model alone, such as model3 (default: the swarm)")
    parser.add_argument("--stochastic", action="store_true", help="draw actions as in training, not the best ones")
    parser.add_argument("--gif", metavar="FILE", help="write an animated GIF, in the place of opening a window")
    parser.add_argument("--seed", metavar="N", help="of other episodes, and of the draws (default: the run's)")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Have the swarm play, print what it got, and return the exit status.

    Raises:
        SettingsError: a flag or the run cannot be used, or nothing can be shown here.
    """
    given = make_parser().parsed(arguments)
    n_episodes = whole_number(given.episodes, "--episodes", minimum=1)
    seed = None if given.seed is None else whole_number(given.seed, "--seed", minimum=0)
    if given.gif is None and not any(os.environ.get(name) for name in SCREENS):
        raise SettingsError("there is no screen to play on; --gif FILE makes a picture in the place of a window")
    from swarmsim.commands.gif import Gif

    gif = None if given.gif is None else Gif(Path(given.gif))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what an environment is warned of does not concern who watches it
        _play(given, n_episodes, seed, gif)
    return DONE


def _play(given: argparse.Namespace, n_episodes: int, seed: int | None, gif: "Gif | None") -> None:
    found = snapshot(given.run, tell_damage)
    config = resumed_config(found.run, {})
    seed = config.seed if seed is None else seed
    from swarmsim.policy import policy_of

    policy = policy_of(found)
    policy = policy if given.member is None else policy.member(given.member)
    policy.set_seed(seed)
    with _shown(config.env, gif) as (env, look):
        played = []
        for episode_seed in evaluation_seeds(found, config, seed, n_episodes):
            played.append(play(policy, env, episode_seed, deterministic=not given.stochastic, look=look))
            print(f"episode {len(played)}  return {played[-1].score:g}  {played[-1].length:,} steps", flush=True)
        print(f"mean return {sum(episode.score for episode in played) / n_episodes:g}")
        if gif is not None:
            gif.write(env.metadata.get("render_fps") or FRAMES_PER_SECOND)
            print(f"picture in {gif.path}")


@dataclass(frozen=True)
class Played:
    """What an episode came to: its return, and its number of steps."""

    score: float
    length: int


def evaluation_seeds(found: Snapshot, config: Config, seed: int, n_episodes: int) -> Iterator[int]:
    """Return the seeds of the first episodes of a run's last evaluation, or of one under another `seed`."""
    from swarmsim.components.environment import episode_seed

    n_trained = len(found.history) * config.episodes
    return (episode_seed(seed, "evaluate", n_trained, number) for number in range(n_episodes))


def play(
    policy: "SwarmPolicy",
    env: "gymnasium.Env[Any, Any]",
    seed: int,
    *,
    deterministic: bool = True,
    look: Look = lambda: None,
) -> Played:
    """Play one episode of an environment whose observations are a Box, or flattened.

    Args:
        look: is called after each reset and step.
    """
    observation, _ = env.reset(seed=seed)
    look()
    score, length, ended = 0.0, 0, False
    while not ended:
        action, _ = policy.predict(observation, deterministic=deterministic)
        observation, reward, terminated, truncated, _ = env.step(action)
        look()
        score, length, ended = score + float(reward), length + 1, terminated or truncated
    return Played(score, length)


@contextmanager
def _shown(env_id: str, gif: "Gif | None") -> Iterator[tuple["gymnasium.Env[Any, Any]", Look]]:
    """Return an environment that draws itself, and what is to look at it.

    Raises (within too):
        SettingsError: it cannot be drawn here.
    """
    from gymnasium.error import DependencyNotInstalled

    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    if gif is not None:
        os.environ["SDL_VIDEODRIVER"] = "dummy"  # pygame looks for a screen even where it draws pictures alone
    try:
        with closing(_drawing(env_id, PICTURES if gif else WINDOW)) as env:
            yield env, (lambda: gif.add(env.render())) if gif else (lambda: None)
    except DependencyNotInstalled as error:
        told = str(error).strip().partition("\n")[0]
        raise SettingsError(f"{env_id} cannot be drawn: {told}; pip install -e .[play] brings pygame") from None
    except Exception as error:
        if not type(error).__module__.startswith("pygame"):
            raise
        raise SettingsError(f"no window can be opened: {error}; --gif FILE needs none") from None


def _drawing(env_id: str, mode: str) -> "gymnasium.Env[Any, Any]":
    """Return an environment that draws itself in `mode`, its observations as `SwarmPolicy.predict` takes them."""
    from gymnasium import spaces
    from gymnasium.wrappers import FlattenObservation

    from swarmsim.envs.make import raw_env

    with closing(raw_env(env_id)) as silent:
        modes = silent.metadata.get("render_modes", [])
    if PICTURES not in modes and mode not in modes:
        raise SettingsError(f"{env_id} draws no pictures: its render modes are {', '.join(map(str, modes)) or 'none'}")
    env = raw_env(env_id, render_mode=mode)
    return env if isinstance(env.observation_space, spaces.Box) else FlattenObservation(env)
