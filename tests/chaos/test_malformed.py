"""Ten thousand malformed messages and fragments in the queues of a working swarm change nothing."""

import multiprocessing
import os

import numpy as np
import pytest

from swarmsim import Client
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.queues.directory import directory_of
from tests.chaos.malformed import EVOLUTION, RUN, draw_malformed
from tests.components.test_main_job import running
from tests.conftest import TIMED, long_after

INTRUDER = (7 << 16) | 1  # the number of a client that does not exist


def play(job, n_episodes: int) -> tuple[list[float], object, dict[str, np.ndarray], list[float]]:
    """Run a round, and return all its results."""
    request = {"TYPE": "DATA/CUSTOM", "TO_ROOM": "control"}
    train = {**request, "ROOT_ID": RUN, "NR_OF_EPISODE": n_episodes, "DETERMINISTIC": False, "PROGRESS": True}
    returns = job.control.play(n_episodes, deterministic=False, request=train).returns
    evolution = job.control.evolve(request={**request, "ROOT_ID": EVOLUTION, "EVOLUTION": True})
    return returns, evolution, job.control.weights(), job.control.play(3, deterministic=True).returns


def intrude(address, malformed, n_written) -> None:
    """Write all malformed fragments into the queues of the members of their room, or of any member."""
    PROCESS.begin_child(lambda: None)
    with Client("intruder", *address, announce={"COMPONENTS": []}) as client:
        table = client.rooms()
        members = sorted(key for key, member in table.members.items() if member.name != "intruder")
        queues = {key: os.open(directory_of(address) / "inbox" / key, os.O_WRONLY) for key in members}
        for number, (to, fragments) in enumerate(malformed):
            addressed = [key for key in members if to in table.members[key].rooms or to == table.members[key].name]
            for key in addressed or [members[number % len(members)]]:
                for data in fragments:
                    os.write(queues[key], data)
            n_written.value = number + 1


@TIMED
@pytest.mark.parametrize(("number", "n_episodes"), long_after(1, [(100, 10), (10_000, 250)]))
def test_malformed_messages_and_fragments_change_nothing(caplog, number, n_episodes):
    settings = {"population": 4, "workers": 2, "timeout": 30, "preset": "reference"}  # it learns fast, though poorly
    with running(**settings) as job:
        undisturbed = play(job, n_episodes)
    malformed = draw_malformed(number, INTRUDER)
    assert len({b"".join(fragments) for _, fragments in malformed}) > number // 2
    fork = multiprocessing.get_context("fork")
    with running(**settings) as job:
        failures = []
        job.control.supervision.on_healed = lambda *told: failures.append(told)
        n_written = fork.Value("l")
        intruder = fork.Process(target=intrude, args=(job.address, malformed, n_written))
        intruder.start()
        disturbed = play(job, n_episodes)
        assert n_written.value == number  # all of it was written while the swarm worked
        intruder.join(10)
    assert failures == []
    assert undisturbed[0] == disturbed[0]
    assert undisturbed[1] == disturbed[1]
    assert all(np.array_equal(weights, disturbed[2][name]) for name, weights in undisturbed[2].items())
    assert undisturbed[3] == disturbed[3]
    assert "control ignored an invalid message" in caplog.text
    assert "control skipped invalid bytes in its queue" in caplog.text
    assert len(caplog.records) < 100
