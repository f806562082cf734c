"""The order in which received messages are handled."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from swarmsim.messaging.queues.fragments import FAIR_SHARE, FairQueue


def arrival(sender, number, length=1, floods=False):
    return sender, 0, number, b"x" * length, floods


def flood(*senders, n=2000):
    return [arrival(sender, number, floods=True) for number in range(n) for sender in senders]


def queue_of(*arrived):
    queue = FairQueue()
    for one in arrived:
        queue.push(one)
    return queue


def pop_all(queue):
    while queue.line:
        yield queue.pop()


def test_messages_are_popped_in_order_of_arrival():
    arrived = [arrival(number // 100, number) for number in range(300)]
    assert list(pop_all(queue_of(*arrived))) == arrived


def test_a_flooding_sender_has_only_its_share_before_another_senders_message():
    queue = queue_of(arrival(2, 0), *flood(1), arrival(2, 1))
    order = [sender for sender, *_ in pop_all(queue)]
    assert [place for place, sender in enumerate(order) if sender == 2] == [0, 1 + FAIR_SHARE]
    assert len(order) == 2002


def test_earlier_messages_of_a_flooding_sender_are_limited_too():
    before = [arrival(1, number) for number in range(1000)]
    queue = queue_of(*before, arrival(2, 0), arrival(1, 1000, floods=True), arrival(3, 0))
    assert [sender for sender, *_ in pop_all(queue)][: FAIR_SHARE + 3] == [1] * FAIR_SHARE + [2, 3, 1]


def test_a_flood_ends_when_none_of_its_messages_waits():
    queue = queue_of(*flood(1))
    for _ in range(2000 - FAIR_SHARE - 1):
        queue.pop()
    for one in (arrival(2, 0), arrival(1, 2000), arrival(2, 1)):
        queue.push(one)
    assert [sender for sender, *_ in pop_all(queue)] == [*[1] * FAIR_SHARE, 2, 2, 1, 1]
    queue = queue_of(*flood(1, n=20))
    for _ in range(20 - FAIR_SHARE):
        queue.pop()
    for one in (arrival(1, 20), arrival(2, 0)):
        queue.push(one)
    assert [sender for sender, *_ in pop_all(queue)] == [*[1] * FAIR_SHARE, 1, 2]


def test_each_of_two_flooding_senders_has_its_share():
    order = [sender for sender, *_ in pop_all(queue_of(*flood(1, 2), arrival(3, 0)))]
    assert order.index(3) == 2 * FAIR_SHARE
    assert Counter(order[:1000]) == {1: 500, 2: 499, 3: 1}


def test_size_is_the_total_of_all_bodies():
    queue = queue_of(*(arrival(1, number, length=number % 3) for number in range(300)))
    assert queue.size == 300
    queue.pop()
    queue.pop()
    assert queue.size == 299
    assert len(list(pop_all(queue))) == 298
    assert queue.size == 0


def test_last_of_each_sender_includes_waiting_messages():
    queue = queue_of(arrival(2, 0), *flood(1), arrival(2, 1))
    assert set(queue.last_of_each_sender()) == {arrival(1, 1999, floods=True), arrival(2, 1)}


EVENTS = st.lists(st.tuples(st.integers(0, 3), st.booleans()) | st.none())


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=20).map(lambda lists: [event for events in lists for event in events]))
def test_no_message_is_lost_each_senders_order_is_kept_and_floods_are_limited(events):
    """An event is (sender of the next message, whether it floods), or None to pop a message."""
    queue, numbers, out = FairQueue(), Counter(), []
    for event in events:
        if event is not None:
            sender, floods = event
            queue.push(arrival(sender, numbers[sender], floods=floods))
            numbers[sender] += 1
            assert not floods or [other for other, *_ in queue.line].count(sender) <= FAIR_SHARE
        elif queue.line:
            out.append(queue.pop())
        assert queue.size == numbers.total() - len(out)
    out += pop_all(queue)
    for sender, number in numbers.items():
        assert [place for other, _, place, *_ in out if other == sender] == list(range(number))
    assert not queue._waiting
