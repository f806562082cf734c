"""Ten thousand malformed messages and frames, written straight into the queues of a swarm at work, change nothing."""

import multiprocessing
import os

import numpy as np

from swarmsim import Client
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.queues.directory import directory_of
from tests.chaos.malformed import EVOLUTION, RUN, drawn
from tests.components.test_main_job import running

NUMBER, EPISODES = 10_000, 250
INTRUDER = (7 << 16) | 1  # the number of a client that never was


def played(job) -> tuple[list[float], object, dict[str, np.ndarray], list[float]]:
    """Have the swarm work for a round, and return all that came of it."""
    request = {"TYPE": "DATA/CUSTOM", "TO_ROOM": "control"}
    train = {**request, "ROOT_ID": RUN, "NR_OF_EPISODE": EPISODES, "DETERMINISTIC": False, "PROGRESS": True}
    returns = job.control.play(EPISODES, deterministic=False, again=train).returns
    evolution = job.control.evolve(again={**request, "ROOT_ID": EVOLUTION, "EVOLUTION": True})
    return returns, evolution, job.control.weights(), job.control.play(3, deterministic=True).returns


def intrude(address, malformed, n_written) -> None:
    """Write all of it into the queues of those who are in the room that it is for, or of anybody."""
    PROCESS.begin_child(lambda: None)
    with Client("intruder", *address, announce={"COMPONENTS": []}) as client:
        table = client.rooms()
        everybody = sorted(key for key, member in table.members.items() if member.name != "intruder")
        queues = {key: os.open(directory_of(address) / "inbox" / key, os.O_WRONLY) for key in everybody}
        for number, (to, fragments) in enumerate(malformed):
            addressed = [key for key in everybody if to in table.members[key].rooms or to == table.members[key].name]
            for key in addressed or [everybody[number % len(everybody)]]:
                for data in fragments:
                    os.write(queues[key], data)
            n_written.value = number + 1


def test_ten_thousand_malformed_messages_and_frames_change_nothing(caplog):
    settings = {"population": 4, "workers": 2, "timeout": 30, "preset": "reference"}  # which learns fast, if badly
    with running(**settings) as job:
        undisturbed = played(job)
    malformed = drawn(NUMBER, INTRUDER)
    assert len({b"".join(fragments) for _, fragments in malformed}) > NUMBER // 2
    fork = multiprocessing.get_context("fork")
    with running(**settings) as job:
        failures = []
        job.control.supervision.on_healed = lambda *told: failures.append(told)
        n_written = fork.Value("l")
        intruder = fork.Process(target=intrude, args=(job.address, malformed, n_written))
        intruder.start()
        disturbed = played(job)
        assert n_written.value == NUMBER  # all of it came while the swarm was at work
        intruder.join(10)
    assert failures == []
    assert undisturbed[0] == disturbed[0]
    assert undisturbed[1] == disturbed[1]
    assert all(np.array_equal(weights, disturbed[2][name]) for name, weights in undisturbed[2].items())
    assert undisturbed[3] == disturbed[3]
    assert "control left out what it got" in caplog.text
    assert "control skipped what is no message in its queue" in caplog.text
    assert len(caplog.records) < 100
