"""Conversations that are closed, so that late answers to them are ignored."""

from collections.abc import Iterable

MOST_REMEMBERED = 64


class ClosedRuns:
    """The conversations that were closed last, by their ROOT_ID."""

    def __init__(self, state: Iterable[tuple[object, bool]] = ()) -> None:
        self._is_final: dict[object, bool] = dict(state)

    def state(self) -> list[list[object]]:
        """Return its state, which the constructor takes."""
        return [[conversation, is_final] for conversation, is_final in self._is_final.items()]

    def __contains__(self, conversation: object) -> bool:
        return conversation in self._is_final

    def leave(self, conversation: object, *, is_final: bool) -> None:
        """Close a conversation: for ever, or until it is reopened."""
        if conversation is None:
            return  # those without a ROOT_ID cannot be told apart
        self._is_final[conversation] = self._is_final.pop(conversation, False) or is_final
        while len(self._is_final) > MOST_REMEMBERED:
            del self._is_final[next(iter(self._is_final))]

    def reopen(self, conversation: object) -> None:
        """Reopen a conversation, unless it was closed for ever."""
        if self._is_final.get(conversation) is False:
            del self._is_final[conversation]
