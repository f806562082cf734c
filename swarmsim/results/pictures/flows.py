"""Messages by kind of component and room: how many, and in which order they are best shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarmsim.names import kind_of
from swarmsim.results.history import Messages

DIRECTLY = "directly"  # what messages to one component alone are shown as
FIRST = "observation", "logits", "action", "control", "evolution"
LAST = DIRECTLY, "_command", "_logging"

Counts = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Flows:
    """How many messages went by kind of sender and room, by room and kind of receiver; the processes of each kind."""

    sent: Counts
    taken: Counts
    processes: Mapping[str, set[str]]

    @property
    def rooms(self) -> list[str]:
        """The rooms: those of a step in its order, others by their messages, those of the swarm itself."""
        total = totals(self.taken)
        others = sorted(total.keys() - {*FIRST, *LAST}, key=lambda room: (-total[room], room))
        return [room for room in (*FIRST, *others, *LAST) if room in total]

    @property
    def senders(self) -> list[str]:
        """The kinds that have sent, each as high up as the rooms that it uses most, so that few ribbons cross."""
        return _beside(self.rooms, self.sent)

    @property
    def receivers(self) -> list[str]:
        """The kinds that have taken messages, in the same way."""
        return _beside(self.rooms, turned(self.taken))


def flows_of(messages: Messages) -> Flows:
    """Return the messages of single processes as those of their kinds."""
    sent: Counter[tuple[str, str]] = Counter()
    taken: Counter[tuple[str, str]] = Counter()
    processes: dict[str, set[str]] = {}
    for room, senders in messages.items():
        for sender, receivers in senders.items():
            for receiver, number in receivers.items():
                if number == 0:
                    continue
                sent[kind_of(sender), room or DIRECTLY] += number
                taken[room or DIRECTLY, kind_of(receiver)] += number
                for process in (sender, receiver):
                    processes.setdefault(kind_of(process), set()).add(process)
    return Flows(sent, taken, processes)


def turned(numbers: Counts) -> Counts:
    """Return the same numbers by the other one first."""
    return {(second, first): number for (first, second), number in numbers.items()}


def totals(numbers: Counts) -> dict[str, int]:
    """Return the sums by the first of each pair."""
    found: Counter[str] = Counter()
    for (first, _), number in numbers.items():
        found[first] += number
    return found


def _beside(rooms: Sequence[str], numbers: Counts) -> list[str]:
    places: Counter[str] = Counter()
    for (kind, room), number in numbers.items():
        places[kind] += number * rooms.index(room)
    total = totals(numbers)
    return sorted(total, key=lambda kind: (places[kind] / total[kind], kind))
