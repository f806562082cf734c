"""Messages by kind of component and room: how many, and in which order to show them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmsim.names import kind_of
from swarmsim.results.record import Messages

DIRECTLY = "directly"  # stands for a room where messages go to one component alone
FIRST = "observation", "logits", "proposal", "rating", "action", "control", "evolution"
LAST = DIRECTLY, "_command", "_logging"

Counts = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Flows:
    """Numbers of messages, summed over the processes of each kind.

    Attributes:
        sent: by kind of sender and room.
        received: by room and kind of receiver.
        processes: names of the processes of each kind.
    """

    sent: Counts
    received: Counts
    processes: Mapping[str, set[str]]

    @property
    def rooms(self) -> list[str]:
        """The rooms: those of a step in its order, then others by number of messages, then the swarm's own."""
        total = totals(self.received)
        others = sorted(total.keys() - {*FIRST, *LAST}, key=lambda room: (-total[room], room))
        return [room for room in (*FIRST, *others, *LAST) if room in total]

    @property
    def senders(self) -> list[str]:
        """The kinds of senders, ordered by the rooms that they use most, so that few ribbons cross."""
        return _order_by_rooms(self.rooms, self.sent)

    @property
    def receivers(self) -> list[str]:
        """The kinds of receivers, in the same order."""
        return _order_by_rooms(self.rooms, swap(self.received))


def flows_of(messages: Messages) -> Flows:
    """Return the numbers of messages between single processes as numbers between their kinds."""
    sent: Counter[tuple[str, str]] = Counter()
    received: Counter[tuple[str, str]] = Counter()
    processes: dict[str, set[str]] = {}
    for room, senders in messages.items():
        for sender, receivers in senders.items():
            for receiver, number in receivers.items():
                if number == 0:
                    continue
                sent[kind_of(sender), room or DIRECTLY] += number
                received[room or DIRECTLY, kind_of(receiver)] += number
                for process in (sender, receiver):
                    processes.setdefault(kind_of(process), set()).add(process)
    return Flows(sent, received, processes)


def swap(counts: Counts) -> Counts:
    """Return the same counts with the two parts of each key swapped."""
    return {(second, first): number for (first, second), number in counts.items()}


def totals(counts: Counts) -> dict[str, int]:
    """Return the sums by the first part of each key."""
    sums: Counter[str] = Counter()
    for (first, _), number in counts.items():
        sums[first] += number
    return sums


def _order_by_rooms(rooms: Sequence[str], counts: Counts) -> list[str]:
    """Return the kinds by the mean index of their messages' rooms."""
    index_sums: Counter[str] = Counter()
    for (kind, room), number in counts.items():
        index_sums[kind] += number * rooms.index(room)
    total = totals(counts)
    return sorted(total, key=lambda kind: (index_sums[kind] / total[kind], kind))
