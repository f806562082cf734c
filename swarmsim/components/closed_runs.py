"""Conversations that are closed, so that late answers to them are ignored."""

from collections.abc import Iterable

from swarmsim.components.job import is_attempt_at

MOST_REMEMBERED = 64


class ClosedRuns:
    """The conversations that were left last, by their ROOT_ID: for ever, or after a step that others may follow."""

    def __init__(self, state: Iterable[tuple[object, int | None]] = ()) -> None:
        # checkpoints of earlier versions hold True for ever, and False otherwise, which counts as step 0
        self._last_steps: dict[object, int | None] = {root: None if step is True else step for root, step in state}

    def state(self) -> list[list[object]]:
        """Return its state, which the constructor takes."""
        return [[conversation, step] for conversation, step in self._last_steps.items()]

    def is_late(self, conversation: object, step: int | None) -> bool:
        """Return whether an answer comes too late; one to a later step continues a conversation that may go on."""
        if conversation not in self._last_steps:
            return False
        last = self._last_steps[conversation]
        return last is None or step is None or step <= last

    def leave(self, conversation: object, last_step: int | None = None) -> None:
        """Leave a conversation for ever; or after `last_step`, to continue it later."""
        if conversation is None:
            return  # those without a ROOT_ID cannot be told apart
        is_final = self._last_steps.pop(conversation, last_step) is None
        self._last_steps[conversation] = None if is_final else last_step
        while len(self._last_steps) > MOST_REMEMBERED:
            del self._last_steps[next(iter(self._last_steps))]

    def reopen(self, root: object) -> None:
        """Reopen all attempts at a job that were not left for ever, for components that count no steps."""
        for conversation, last in list(self._last_steps.items()):
            if last is not None and is_attempt_at(root, conversation):
                del self._last_steps[conversation]
