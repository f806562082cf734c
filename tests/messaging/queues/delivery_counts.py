"""How many messages the clients of a swarm on this host's queues have sent: a measure for tests."""

from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.queues.directory import SharedRooms, directory_of
from swarmsim.messaging.queues.flow_control import COUNTED_ROOMS, read_deliveries


def delivery_counts(address: Address) -> dict[str, int]:
    """Return how many messages were written into queues of the swarm at `address`, by room; "" for direct messages."""
    directory = directory_of(address)
    shared = SharedRooms(directory)
    names = ("", *shared.read().rooms)[:COUNTED_ROOMS]
    shared.close()
    totals = [0] * COUNTED_ROOMS
    for counts in (directory / "counts").iterdir():
        for slot, number in enumerate(read_deliveries(counts)):
            totals[slot] += number
    return dict(zip(names, totals, strict=False))
