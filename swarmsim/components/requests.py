"""Requests: queued one after the other; one that is repeated with its ROOT_ID gets the same answer."""

from collections import deque
from collections.abc import Callable, Iterable

from swarmsim.messaging.message import Message, root_id


class RequestQueue:
    """The requests of one kind that a component has still to serve, and its answer to the last one.

    Control repeats a request if a component was replaced meanwhile; one that has answered it does not serve it twice.
    """

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self.last: object = None  # the ROOT_ID of the request that was answered last
        self.last_answer: Message = {}

    def waiting(self) -> list[Message]:
        return list(self._waiting)

    def restore(self, waiting: Iterable[Message], last: object, last_answer: Message) -> None:
        self._waiting, self.last, self.last_answer = deque(waiting), last, last_answer

    def add(self, request: Message) -> None:
        self._waiting.append(request)

    def put_back(self, request: Message) -> None:
        """Have a request served next, before all others."""
        self._waiting.appendleft(request)

    def next(self) -> Message | None:
        """Take the next request out, and return it, or None."""
        return self._waiting.popleft() if self._waiting else None

    def remember(self, root: object, answer: Message) -> None:
        self.last, self.last_answer = root, answer

    def was_answered(self, request: Message) -> bool:
        """Return whether `last_answer` is that to this request; one without a ROOT_ID is always new."""
        root = root_id(request)
        return root is not None and root == self.last

    def answer(self, request: Message, answer: Callable[[], Message]) -> Message:
        """Return the answer to a request: the one it got before if it is repeated, else `answer()`."""
        if not self.was_answered(request):
            self.remember(root_id(request), answer())
        return self.last_answer
