"""`swarmsim play`: show how a trained swarm plays, in a window or as a GIF."""

import os
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmsim.commands.command import RUN, argument, command
from swarmsim.commands.export import BEST_ARGUMENT, MEMBER_ARGUMENT, RUN_ARGUMENT, warn_of_damage
from swarmsim.config import Config, resumed_config
from swarmsim.errors import BadValue, SettingsError
from swarmsim.flags import whole_number
from swarmsim.projects import in_project
from swarmsim.results.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    import gymnasium

    from swarmsim.commands.gif import Gif
    from swarmsim.envs.episodes import Border
    from swarmsim.policy import SwarmPolicy

SCREENS = "DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"  # a window can be opened if any of them is set
WINDOW, PICTURES = "human", "rgb_array"
FRAMES_PER_SECOND = 30.0  # of an environment that does not specify it

Render = Callable[[], object]


@command(
    "play",
    "Watch a trained swarm play the episodes of its last or its best evaluation.",
    RUN_ARGUMENT,
    BEST_ARGUMENT,
    argument("--episodes", default="1", metavar="N", help="number of episodes (default: 1)"),
    MEMBER_ARGUMENT,
    argument("--stochastic", action="store_true", help="sample actions, as training does; default: the best ones"),
    argument("--gif", metavar="FILE", help="write an animated GIF instead of opening a window"),
    argument("--seed", metavar="N", help="seed of other episodes and of sampling (default: the run's)"),
    example=f"swarmsim play {RUN} --gif cartpole.gif",
)
def play(given: Namespace) -> None:
    """Let the swarm play, and print its returns."""
    n_episodes = whole_number(given.episodes, "--episodes", minimum=1)
    seed = None if given.seed is None else whole_number(given.seed, "--seed", minimum=0)
    if given.gif is None and not any(os.environ.get(name) for name in SCREENS):
        raise SettingsError("there is no screen to play on; --gif FILE writes a picture instead of opening a window")
    from swarmsim.commands.gif import Gif

    gif = None if given.gif is None else Gif(Path(given.gif))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the environment do not concern the viewer
        _play(given, n_episodes, seed, gif)


def _play(given: Namespace, n_episodes: int, seed: int | None, gif: "Gif | None") -> None:
    found = snapshot(given.run, warn_of_damage, best=given.best)
    config = resumed_config(found.run, {})
    seed = config.seed if seed is None else seed
    with in_project(config.modules, config.references):
        _play_in_project(given, found, config, n_episodes, seed, gif)


def _play_in_project(
    given: Namespace, found: Snapshot, config: Config, n_episodes: int, seed: int, gif: "Gif | None"
) -> None:
    from swarmsim.policy import policy_of

    policy = policy_of(found)
    policy = policy if given.member is None else policy.member(given.member)
    policy.set_seed(seed)
    with _rendering(config, gif) as (env, render):
        policy.observation_space = env.observation_space  # flat already
        returns: list[float] = []
        player = Player(policy, env, _border(config), deterministic=not given.stochastic, render=render)
        for episode_seed in evaluation_seeds(found, config, seed, n_episodes):
            score, length = player.play(len(returns), episode_seed)
            returns.append(score)
            print(f"episode {len(returns)}  return {score:g}  {length:,} steps", flush=True)
        print(f"mean return {sum(returns) / n_episodes:g}")
        if gif is not None:
            gif.write(_frames_per_second(env))
            print(f"picture in {gif.path}")


def _border(config: Config) -> "Border":
    from swarmsim.envs.episodes import Border

    return Border(config.env, "evaluation", config.on_bad_value, warns_of_length=config.max_episode_steps is None)


def _frames_per_second(env: "gymnasium.Env[Any, Any]") -> float:
    given = env.metadata.get("render_fps")
    return given if isinstance(given, int | float) and given > 0 else FRAMES_PER_SECOND


def evaluation_seeds(found: Snapshot, config: Config, seed: int, n_episodes: int) -> Iterator[int]:
    """Return the seeds of the first episodes of the evaluation that a checkpoint was saved after.

    Args:
        found: the best checkpoint, or one after a run's last evaluation.
        seed: the run's, or that of other episodes.
    """
    from swarmsim.components.environment import episode_seed
    from swarmsim.views.report import TRAIN

    history, best = found.history, found.state.get("best")
    n_rounds = len(history) if best is None else best["round"]
    within = (best["env_steps"] - history.env_steps,) if best and best["phase"] == TRAIN else ()
    return (episode_seed(seed, "evaluate", n_rounds * config.episodes, number, *within) for number in range(n_episodes))


@dataclass(frozen=True)
class Player:
    """Plays episodes; `render` is called after each reset and step."""

    policy: "SwarmPolicy"
    env: "gymnasium.Env[Any, Any]"
    border: "Border"
    deterministic: bool
    render: Render

    def play(self, number: int, seed: int) -> tuple[float, int]:
        """Play one episode, and return its return and length.

        Raises:
            BadValue: the environment returned what cannot be used, and the episode is not dropped for it.
        """
        from swarmsim.envs.border import Checked
        from swarmsim.envs.episodes import LONG_EPISODE

        env = Checked(self.env)
        score, length, ended = 0.0, -1, False
        while not ended:
            try:
                if length < 0:
                    observation, reward, terminated, truncated = env.reset(seed), 0.0, False, False
                else:
                    action, _ = self.policy.predict(observation, deterministic=self.deterministic)
                    observation, reward, terminated, truncated = env.step(action)
            except BadValue as error:
                self.border.handle(error, number, length + 1)
                break
            self.render()
            score, length, ended = score + reward, length + 1, terminated or truncated
            if length == LONG_EPISODE and self.border.warns_of_length:
                self.border.warn_of_length(number)
        return score, max(length, 0)


@contextmanager
def _rendering(config: Config, gif: "Gif | None") -> Iterator[tuple["gymnasium.Env[Any, Any]", Render]]:
    """Yield an environment that renders, and what adds its frames to the GIF; raises SettingsError if none can."""
    from gymnasium.error import DependencyNotInstalled

    from swarmsim.envs.close import close_all
    from swarmsim.envs.sentences import one_sentence

    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    if gif is not None:
        os.environ["SDL_VIDEODRIVER"] = "dummy"  # pygame needs a screen even if it only draws pictures
    try:
        env = _make_env(config, PICTURES if gif else WINDOW)
        try:
            yield env, (lambda: gif.add(env.render())) if gif else (lambda: None)
        finally:
            close_all([env], config.env)
    except BadValue as error:
        raise SettingsError(str(error)) from None
    except DependencyNotInstalled as error:
        reason = str(error).strip().partition("\n")[0]
        raise SettingsError(f"{config.env} cannot be drawn: {reason}; pip install -e .[play] brings pygame") from None
    except (Exception, SystemExit) as error:
        if not type(error).__module__.startswith("pygame"):
            with one_sentence(config.env):
                raise
        raise SettingsError(f"no window can be opened: {error}; --gif FILE needs none") from None


def _make_env(config: Config, mode: str) -> "gymnasium.Env[Any, Any]":
    """Return an environment with this render mode, whose observations are flat."""
    from swarmsim.envs.close import close_all
    from swarmsim.envs.make import EnvSource, made, make_flat_env

    source = EnvSource.of(config)
    silent = made(source)
    modes = silent.metadata.get("render_modes") or []
    close_all([silent], config.env)
    if PICTURES not in modes and mode not in modes:
        raise SettingsError(
            f"{config.env} draws no pictures: its render modes are {', '.join(map(str, modes)) or 'none'}"
        )
    return make_flat_env(source, render_mode=mode)
