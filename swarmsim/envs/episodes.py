"""Episodes played in several environments at once."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from swarmsim.envs.border import Checked, Environment
from swarmsim.errors import BadValue

LONG_EPISODE = 10_000  # steps after which an episode may have no end


def _log(action: str, details: str) -> None:
    logging.getLogger("swarmsim").warning("%s: %s", action, details)


@dataclass
class Border:
    """How episodes name their environment, and what they do at a value that cannot be used.

    Attributes:
        env: its id.
        mode: what they are played for.
        on_bad_value: drop ends an episode, as truncated, before the step with a number that is not finite; everything
            else that cannot be used raises BadValue.
        warn: called with what happened, and details.
        warns_of_length: whether to warn of the next episode of LONG_EPISODE steps.
        first_episode: the number of the first of them.
    """

    env: str = "of these episodes"
    mode: Literal["training", "evaluation"] = "training"
    on_bad_value: Literal["fail", "drop"] = "fail"
    warn: Callable[[str, str], None] = _log
    warns_of_length: bool = True
    first_episode: int = 0

    def place(self, number: int, step: int) -> str:
        """Return where a step is, in words; step 0 is the reset."""
        where = f"step {step}" if step else "its first observation"
        return f"environment {self.env!r}, {self.mode} episode {self.first_episode + number + 1}, {where}"

    def handle(self, error: BaseException, number: int, step: int) -> None:
        """Return if the episode is dropped for what a step raised; else raise that, with its place."""
        place = self.place(number, step)
        if not isinstance(error, BadValue):
            if isinstance(error, SystemExit):
                error = RuntimeError(f"it called sys.exit({error.code!r})")
            error.add_note(f"({place})")
            raise error
        if not error.can_be_dropped:
            raise BadValue(f"{place}: {error}") from None
        if self.on_bad_value == "fail":
            remedy = "on_bad_value: drop would end the episode before it"
            raise BadValue(f"{place}: {error}; {remedy}", can_be_dropped=True) from None
        self.warn("dropped the rest of an episode", f"{place}: {error}")

    def warn_of_length(self, number: int) -> None:
        """Warn, once, that an episode may have no end."""
        self.warns_of_length = False
        self.warn(
            f"plays a long {self.mode} episode",
            f"{self.place(number, LONG_EPISODE)}; max_episode_steps: N would end it",
        )


@dataclass(slots=True)  # not frozen: one is made in every step
class StepResult:
    """The outcome of one step in N environments; rows of idle environments are zero.

    Attributes:
        rewards: (N,).
        terminated, truncated: (N,) booleans; an episode that is both counts as terminated only.
        final_observations: (N, n_inputs), the last observation of each episode that ended; None if none ended.
        dropped: (N,) booleans, the step counts as not having happened: its episode was truncated before it; None if
            none was.
    """

    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: NDArray[np.float32] | None
    dropped: NDArray[np.bool_] | None = None


class Episodes:
    """Plays one episode per seed, up to N at a time, each to its end.

    Episodes are numbered in the order in which they begin. An environment whose episode ended begins the next one, and
    stays idle if none is left. All episodes count, so that returns are not biased towards short ones.

    Args:
        envs: N environments of one shape.
        seeds: the seed of each episode, by number.
    """

    def __init__(self, envs: Sequence[Environment], seeds: Sequence[int], border: Border | None = None) -> None:
        self._envs = [Checked(env) for env in envs]
        self._border = border or Border()
        self._seeds = list(seeds)
        self._waiting = list(range(len(seeds)))
        self._numbers = [-1] * len(envs)
        self._actions: list[list[Any]] = [[] for _ in envs]
        self._action_type = np.int64 if isinstance(envs[0].action_space, spaces.Discrete) else np.float32
        self.returns = [0.0] * len(seeds)
        self.lengths = [0] * len(seeds)
        self.ended: list[int] = []
        self.observations = np.zeros((len(envs), *(envs[0].observation_space.shape or ())), np.float32)
        self.active = np.zeros(len(envs), np.bool_)
        for slot in range(len(envs)):
            self._begin_next(slot)

    def state(self) -> dict[str, Any]:
        """Return the state: of a running episode its actions, which reproduce it from its seed."""
        return {
            "seeds": list(self._seeds),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "ended": list(self.ended),
            "waiting": list(self._waiting),
            "observations": self.observations.copy(),
            "running": [
                [number, list(actions)] if is_active else None
                for number, actions, is_active in zip(self._numbers, self._actions, self.active.tolist(), strict=True)
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Restore `state`: running episodes begin again, and their actions are replayed.

        Returns:
            Whether the replay reached the same observations; it does if its seed determines the environment.
        """
        self._seeds, self._waiting = list(state["seeds"]), list(state["waiting"])
        self.returns, self.lengths, self.ended = list(state["returns"]), list(state["lengths"]), list(state["ended"])
        is_same = True
        for slot, running in enumerate(state["running"]):
            self.active[slot] = False
            if running is not None:
                is_same &= self._replay(slot, *running)
        seen = state["observations"]  # None if running episodes are to begin anew
        return is_same and (seen is None or np.array_equal(self.observations[self.active], seen[self.active]))

    def _replay(self, slot: int, number: int, actions: Sequence[Any]) -> bool:
        """Play an episode's actions again; if that is not possible, it begins anew, or the next one does."""
        if not self._begin(slot, number):
            self._begin_next(slot)
            return False
        try:
            for action in actions:
                self.observations[slot], *_ = self._envs[slot].step(self._action_type(action))
        except BadValue:
            self.returns[number], self.lengths[number] = 0.0, 0
            if not self._begin(slot, number):
                self._begin_next(slot)
            return False
        self._actions[slot] = list(actions)
        return True

    @property
    def done(self) -> bool:
        """Whether all episodes have ended."""
        return len(self.ended) == len(self._seeds)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The number of each environment's current or last episode, (N,)."""
        return np.array(self._numbers)

    @property
    def n_steps(self) -> int:
        """Environment steps so far in all episodes."""
        return sum(self.lengths)

    def _begin_next(self, slot: int) -> None:
        self.active[slot] = False
        while self._waiting and not self._begin(slot, self._waiting.pop(0)):
            pass

    def _begin(self, slot: int, number: int) -> bool:
        """Begin an episode; return whether it has begun, or is dropped."""
        self._numbers[slot] = number
        self._actions[slot] = []
        try:
            self.observations[slot] = self._envs[slot].reset(self._seeds[number])
        except (Exception, SystemExit) as error:
            self._border.handle(error, number, 0)
            self.ended.append(number)
            return False
        self.active[slot] = True
        return True

    def step(self, actions: NDArray[Any]) -> StepResult:
        """Step the active environments with their rows of `actions`: (N,) integers or (N, D) floats.

        Updates `observations` (N, n_inputs) and `active` (N,).

        Raises:
            BadValue: an environment returned what cannot be used, and its episode is not dropped for it.
        """
        n_envs = len(self._envs)
        rewards = np.zeros(n_envs, np.float32)
        terminated, truncated = np.zeros(n_envs, np.bool_), np.zeros(n_envs, np.bool_)
        final_observations = dropped = None
        self.observations = self.observations.copy()
        for slot, is_active in enumerate(self.active.tolist()):
            if not is_active:
                continue
            number = self._numbers[slot]
            action = actions[slot].tolist()
            try:
                observation, reward, is_terminated, is_truncated = self._envs[slot].step(self._action_type(action))
            except (Exception, SystemExit) as error:
                self._border.handle(error, number, self.lengths[number] + 1)
                dropped = np.zeros(n_envs, np.bool_) if dropped is None else dropped
                dropped[slot] = is_truncated = True
                is_terminated = False
            else:
                self._count(slot, action, reward)
                self.observations[slot] = observation
                rewards[slot] = reward
            if is_terminated or is_truncated:
                terminated[slot], truncated[slot] = is_terminated, is_truncated and not is_terminated
                if final_observations is None:
                    final_observations = np.zeros_like(self.observations)
                final_observations[slot] = self.observations[slot]
                self.ended.append(number)
                self._begin_next(slot)
        return StepResult(rewards, terminated, truncated, final_observations, dropped)

    def _count(self, slot: int, action: Any, reward: float) -> None:
        number = self._numbers[slot]
        self._actions[slot].append(action)
        self.returns[number] += reward
        self.lengths[number] += 1
        if self.lengths[number] == LONG_EPISODE and self._border.warns_of_length:
            self._border.warn_of_length(number)
