"""What is kept outlives its process."""

import multiprocessing
import os
import signal

import numpy as np

from swarmsim.components.persistence import StateStore


def test_what_one_keeps_the_next_one_finds(tmp_path):
    store = StateStore(tmp_path / "aggregation")
    assert not store.has_saved_state
    assert store.read() is None
    for number in range(3):
        store.write({"N": number, "X": np.arange(number)})
    again = StateStore(tmp_path / "aggregation")
    assert again.has_saved_state
    state = again.read()
    assert state["N"] == 2
    assert np.array_equal(state["X"], [0, 1])
    assert not StateStore(tmp_path / "aggregation2").has_saved_state


def test_an_array_keeps_what_a_killed_process_wrote_into_it(tmp_path):
    form = "weights", (2, 3), np.float32

    def write():
        store = StateStore(tmp_path / "models")
        array = store.array(*form)
        assert not array.any()
        array[:] = np.arange(6).reshape(2, 3)
        store.write({})
        array[1] = 7
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=write)
    process.start()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL
    found = StateStore(tmp_path / "models").array(*form)
    assert np.array_equal(found, [[0, 1, 2], [7, 7, 7]])
    assert type(found) is np.ndarray


def test_an_array_that_was_not_completed_begins_anew_from_what_is_given(tmp_path):
    form = "weights", (2,), np.float32
    StateStore(tmp_path / "models").array(*form)[:] = 7
    store = StateStore(tmp_path / "models", {"given": True})
    assert store.given_state == {"given": True}
    assert not store.array(*form).any()
    store.write({})
    assert StateStore(tmp_path / "models", {"given": True}).given_state is None


def test_without_a_place_nothing_is_kept():
    store = StateStore(None)
    store.write({"N": 1})
    assert store.read() is None
    assert np.array_equal(store.array("weights", (3,), np.float64), np.zeros(3))
    assert not store.has_saved_state
