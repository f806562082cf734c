"""A run: the episodes that control asked for, and where they stand."""

import time
from dataclasses import dataclass, field
from typing import Any

from swarmsim.envs.episodes import Episodes
from swarmsim.messaging.message import Message, root_id


def is_attempt_at(root: object, conversation: object) -> bool:
    """Tell whether a conversation is of the run that `root` began: of one of its attempts."""
    return conversation == root or (isinstance(conversation, str) and conversation.startswith(f"{root}."))


@dataclass
class Run:
    """The episodes that one message of control asked for.

    Attributes:
        first_episode: the number, among all of training, of its first one.
        attempt: how often the process that played it has been replaced.
        waits: for control to ask for it once more, as it does after a pause or for a process that was replaced.
        untold: what came of the last step, where the models are still to be told; None where nothing is, or it is lost.
    """

    asked: Message
    episodes: Episodes
    step: int = 0
    seconds_before: float = 0.0
    attempt: int = 0
    first_episode: int = 0
    waits: bool = False
    untold: dict[str, object] | None = None
    told: int = 0
    told_at: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)

    @property
    def root_id(self) -> object:
        return root_id(self.asked)

    @property
    def conversation(self) -> object:
        """The ROOT_ID of its steps: another for each attempt, so that answers to an earlier one are none to this."""
        return f"{self.root_id}.{self.attempt}" if self.attempt else self.root_id

    @property
    def deterministic(self) -> bool:
        return bool(self.asked.get("DETERMINISTIC", False))

    @property
    def seconds(self) -> float:
        return self.seconds_before + (0.0 if self.waits else time.monotonic() - self.began)

    def state(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "episodes": self.episodes.state(),
            "step": self.step,
            "seconds": self.seconds,
            "attempt": self.attempt,
            "first_episode": self.first_episode,
            "untold": self.untold,
        }

    def wait(self, untold: dict[str, object] | None) -> None:
        self.seconds_before = self.seconds
        self.waits, self.untold = True, untold

    def go_on(self) -> dict[str, object]:
        """Return what is to be told now."""
        told, self.waits, self.untold = self.untold or {}, False, None
        self.began = time.monotonic()
        return told
