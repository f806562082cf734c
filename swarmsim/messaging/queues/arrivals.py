"""Messages that have come and are not yet handed on, in an order in which nobody crowds out the others."""

from collections import deque
from collections.abc import Iterator

from swarmsim.messaging.queues.fragments import Arrival

FAIR_SHARE = 1


class Arrivals:
    """A line of messages in the order in which they came, but for those of a flood.

    Of who floods, `FAIR_SHARE` messages stay in line; the others wait beside it, and one moves up for each that is
    taken. So the order of each sender's own messages is always kept, and that of several senders' as long as none of
    them floods.

    Attributes:
        line: those whose turn comes, empty only where nobody waits.
        size: how many bytes all have that have come and are not taken.
    """

    def __init__(self) -> None:
        self.line: deque[Arrival] = deque()
        self.size = 0
        self._waiting: dict[int, deque[Arrival]] = {}

    def add(self, arrival: Arrival) -> None:
        """Put a message into line, or behind those of its sender that wait beside it."""
        sender, _, _, body, floods = arrival
        self.size += len(body)
        if sender in self._waiting:
            self._waiting[sender].append(arrival)
        else:
            self.line.append(arrival)
            if floods and len(self.line) > FAIR_SHARE:
                self._set_aside(sender)

    def _set_aside(self, sender: int) -> None:
        """Leave a sender its share of the line."""
        line, waiting, places = deque[Arrival](), deque[Arrival](), FAIR_SHARE
        for arrival in self.line:
            if arrival[0] != sender:
                line.append(arrival)
            elif places:
                line.append(arrival)
                places -= 1
            else:
                waiting.append(arrival)
        if waiting:
            self.line, self._waiting[sender] = line, waiting

    def take(self) -> Arrival:
        """Take out and return the message whose turn it is."""
        arrival = self.line.popleft()
        self.size -= len(arrival[3])
        if arrival[0] in self._waiting:
            self._move_up(arrival[0])
        return arrival

    def _move_up(self, sender: int) -> None:
        waiting = self._waiting[sender]
        self.line.append(waiting.popleft())
        if not waiting:
            del self._waiting[sender]

    def last_of_each(self) -> Iterator[Arrival]:
        """Return the last message of each sender."""
        last = {arrival[0]: arrival for arrival in self.line}
        last.update((sender, waiting[-1]) for sender, waiting in self._waiting.items())
        yield from last.values()
