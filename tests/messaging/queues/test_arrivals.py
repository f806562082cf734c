"""In what order messages are handed on."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from swarmsim.messaging.queues.arrivals import FAIR_SHARE, Arrivals


def arrival(sender, number, length=1, floods=False):
    return sender, 0, number, b"x" * length, floods


def flood(*senders, n=2000):
    return [arrival(sender, number, floods=True) for number in range(n) for sender in senders]


def lined_up(*arrived):
    arrivals = Arrivals()
    for one in arrived:
        arrivals.add(one)
    return arrivals


def taken(arrivals):
    while arrivals.line:
        yield arrivals.take()


def test_messages_are_taken_in_the_order_in_which_they_came():
    came = [arrival(number // 100, number) for number in range(300)]
    assert list(taken(lined_up(*came))) == came


def test_who_floods_stands_before_the_next_one_with_its_share_only():
    arrivals = lined_up(arrival(2, 0), *flood(1), arrival(2, 1))
    order = [sender for sender, *_ in taken(arrivals)]
    assert [place for place, sender in enumerate(order) if sender == 2] == [0, 1 + FAIR_SHARE]
    assert len(order) == 2002


def test_what_came_before_it_was_known_as_a_flood_counts_as_one_too():
    before = [arrival(1, number) for number in range(1000)]
    arrivals = lined_up(*before, arrival(2, 0), arrival(1, 1000, floods=True), arrival(3, 0))
    assert [sender for sender, *_ in taken(arrivals)][: FAIR_SHARE + 3] == [1] * FAIR_SHARE + [2, 3, 1]


def test_who_floods_does_so_until_nothing_of_it_waits_beside_the_line():
    arrivals = lined_up(*flood(1))
    for _ in range(2000 - FAIR_SHARE - 1):
        arrivals.take()
    for one in (arrival(2, 0), arrival(1, 2000), arrival(2, 1)):
        arrivals.add(one)
    assert [sender for sender, *_ in taken(arrivals)] == [*[1] * FAIR_SHARE, 2, 2, 1, 1]
    arrivals = lined_up(*flood(1, n=20))
    for _ in range(20 - FAIR_SHARE):
        arrivals.take()
    for one in (arrival(1, 20), arrival(2, 0)):
        arrivals.add(one)
    assert [sender for sender, *_ in taken(arrivals)] == [*[1] * FAIR_SHARE, 1, 2]


def test_each_of_two_who_flood_has_its_share():
    order = [sender for sender, *_ in taken(lined_up(*flood(1, 2), arrival(3, 0)))]
    assert order.index(3) == 2 * FAIR_SHARE
    assert Counter(order[:1000]) == {1: 500, 2: 499, 3: 1}


def test_its_size_is_that_of_all_bodies_in_it():
    arrivals = lined_up(*(arrival(1, number, length=number % 3) for number in range(300)))
    assert arrivals.size == 300
    arrivals.take()
    arrivals.take()
    assert arrivals.size == 299
    assert len(list(taken(arrivals))) == 298
    assert arrivals.size == 0


def test_the_last_of_each_sender_is_told_wherever_it_waits():
    arrivals = lined_up(arrival(2, 0), *flood(1), arrival(2, 1))
    assert set(arrivals.last_of_each()) == {arrival(1, 1999, floods=True), arrival(2, 1)}


EVENTS = st.lists(st.tuples(st.integers(0, 3), st.booleans()) | st.none())


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=20).map(lambda lists: [event for events in lists for event in events]))
def test_nothing_is_lost_each_senders_order_is_kept_and_who_floods_has_its_share_at_most(events):
    """An event is a sender whose message comes, and whether it floods, or None where one is taken."""
    arrivals, numbers, out = Arrivals(), Counter(), []
    for event in events:
        if event is not None:
            sender, floods = event
            arrivals.add(arrival(sender, numbers[sender], floods=floods))
            numbers[sender] += 1
            assert not floods or [its for its, *_ in arrivals.line].count(sender) <= FAIR_SHARE
        elif arrivals.line:
            out.append(arrivals.take())
        assert arrivals.size == numbers.total() - len(out)
    out += taken(arrivals)
    for sender, number in numbers.items():
        assert [place for its, _, place, *_ in out if its == sender] == list(range(number))
    assert not arrivals._waiting
