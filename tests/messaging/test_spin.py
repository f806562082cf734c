"""Busy-waiting goes on where cores are free, and rests where others need them."""

import pytest

from swarmsim.messaging import process_context
from swarmsim.messaging.process_context import Spin
from tests.faults.test_standstill import Clock


class Machine(Clock):
    """A core that takes `seconds_of_a_yield` to come back, and its clock; nothing ever arrives."""

    def __init__(self):
        super().__init__()
        self.seconds_of_a_yield, self.n_yields = 1e-5, 0

    def sched_yield(self):
        self.n_yields += 1
        self.now += self.seconds_of_a_yield

    def poll(self, milliseconds):
        assert milliseconds == 0
        return []

    def yields_of(self, spin):
        self.n_yields = 0
        assert spin(self, 0.002) == []
        return self.n_yields


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    for module in ("time", "os"):
        monkeypatch.setattr(process_context, module, machine)
    return machine


def test_where_cores_are_free_every_wait_spins_to_its_end(machine):
    spin = Spin()
    for _ in range(3):
        assert machine.yields_of(spin) == pytest.approx(200, abs=1)


def test_after_two_long_yields_in_short_time_waits_do_not_spin_for_a_while(machine):
    spin = Spin()
    machine.seconds_of_a_yield = 0.004
    assert [machine.yields_of(spin) for _ in range(4)] == [1, 1, 0, 0]
    machine.now += 0.21
    assert [machine.yields_of(spin) for _ in range(4)] == [1, 1, 0, 0]


def test_one_long_yield_now_and_then_keeps_no_wait_from_spinning(machine):
    spin = Spin()
    for _ in range(3):
        machine.seconds_of_a_yield = 0.004
        assert machine.yields_of(spin) == 1
        machine.seconds_of_a_yield = 1e-5
        assert machine.yields_of(spin) == pytest.approx(200, abs=1)
        machine.now += 0.1


def test_what_comes_ends_the_spin(machine):
    events = [[], [], [(3, 1)]]
    machine.poll = lambda milliseconds: events.pop(0)
    assert Spin()(machine, 0.002) == [(3, 1)]
    assert machine.n_yields == 3
