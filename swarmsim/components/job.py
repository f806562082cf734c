"""A job: the episodes that one request of control asked for, and how far they are played."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swarmsim.components.protocol.control import JobRequest
from swarmsim.envs.episodes import Episodes
from swarmsim.messaging.message import Message, root_id


def is_attempt_at(root: object, conversation: object) -> bool:
    """Return whether a conversation is an attempt at the job that `root` began."""
    return conversation == root or (isinstance(conversation, str) and conversation.startswith(f"{root}."))


@dataclass
class Job:
    """The episodes that one request asked for."""

    message: Message
    episodes: Episodes
    step: int = 0
    seconds_before: float = 0.0  # how long it was played until it was paused
    attempt: int = 0  # how often the process that plays it was replaced
    first_episode: int = 0  # its number among all training episodes
    transition: dict[str, Any] | None = None  # fields that a paused job has still to send to the models
    n_reported: int = 0
    reported_at: float = field(default_factory=time.monotonic)
    resumed_at: float | None = field(default_factory=time.monotonic)  # or begun; None while it is paused

    def __post_init__(self) -> None:
        self.renew(self.message)

    def renew(self, message: Message) -> None:
        """Continue with a repeated request, which may set another pause."""
        request = JobRequest.read(message)
        assert request is not None
        self.message, self.request = message, request

    @property
    def is_due_to_pause(self) -> bool:
        """Whether it has come to the pause that its request sets; a job that is done has no pause."""
        pause_at = self.request.pause_at
        return pause_at is not None and self.episodes.n_steps >= pause_at and not self.episodes.done

    @property
    def root_id(self) -> object:
        return root_id(self.message)

    @property
    def conversation(self) -> object:
        """The ROOT_ID of its steps: another one for each attempt, so that late answers to earlier ones are ignored."""
        return f"{self.root_id}.{self.attempt}" if self.attempt else self.root_id

    @property
    def seconds(self) -> float:
        """How long it has been played, without pauses."""
        return self.seconds_before + (0.0 if self.resumed_at is None else time.monotonic() - self.resumed_at)

    def state(self) -> dict[str, Any]:
        return {
            "asked": self.message,
            "episodes": self.episodes.state(),
            "step": self.step,
            "seconds": self.seconds,
            "attempt": self.attempt,
            "first_episode": self.first_episode,
            "untold": self.transition,
        }

    def pause(self, transition: dict[str, Any] | None) -> None:
        self.seconds_before, self.resumed_at, self.transition = self.seconds, None, transition

    def resume(self) -> dict[str, Any]:
        """Continue, and return the fields of the transition that the models have not been sent yet."""
        transition, self.transition = self.transition or {}, None
        self.resumed_at = time.monotonic()
        return transition


def restarted(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `state` of a job whose process has ended as its replacement plays it: running episodes begin anew."""
    episodes = state["episodes"]
    running = [None if each is None else [each[0], []] for each in episodes["running"]]
    anew = {each[0] for each in running if each is not None}
    of_ended = {
        key: [type(value)() if number in anew else value for number, value in enumerate(episodes[key])]
        for key in ("returns", "lengths")
    }
    return {
        **state,
        "attempt": state["attempt"] + 1,
        "step": 0,
        "untold": None,
        "episodes": {**episodes, **of_ended, "running": running, "observations": None},
    }
