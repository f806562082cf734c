"""Conversations that are over: nobody goes back to one for the sake of an answer that comes late."""

from collections.abc import Iterable

MOST_REMEMBERED = 64


class ClosedRuns:
    """The conversations, by their ROOT_ID, that were left last."""

    def __init__(self, state: Iterable[tuple[object, bool]] = ()) -> None:
        self._is_final: dict[object, bool] = dict(state)

    def state(self) -> list[list[object]]:
        """Return what makes it again."""
        return [[conversation, is_final] for conversation, is_final in self._is_final.items()]

    def __contains__(self, conversation: object) -> bool:
        return conversation in self._is_final

    def leave(self, conversation: object, *, is_final: bool) -> None:
        """Go back to a conversation no more: ever, or until it is reopened."""
        if conversation is None:
            return  # those without a ROOT_ID cannot be told apart
        self._is_final[conversation] = self._is_final.pop(conversation, False) or is_final
        while len(self._is_final) > MOST_REMEMBERED:
            del self._is_final[next(iter(self._is_final))]

    def reopen(self, conversation: object) -> None:
        """Let a conversation go on that was overtaken by another one."""
        if self._is_final.get(conversation) is False:
            del self._is_final[conversation]
