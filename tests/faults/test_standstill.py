"""A swarm that stands still as a whole, as after Ctrl+Z, continues as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from swarmsim.components.control import Control
from swarmsim.components.protocol.command import Pong
from swarmsim.errors import WaitTimeout
from swarmsim.messaging import process_context
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE
from swarmsim.messaging.process_context import PROCESS, RunningTime, running_time
from tests.components.test_main_job import running
from tests.conftest import ROOT, environ, long_after

SETTINGS = "rounds: 3\npopulation: 4\nworkers: 2\nepisodes: 5\nppo: {n_batches: 2, batch_size: 32}\n"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process_context, "time", clock)
    return clock


def test_time_in_which_a_process_was_stopped_counts_as_a_moment(clock):
    read = RunningTime()
    began = read()
    clock.now += 0.04
    assert read() - began == pytest.approx(0.04)
    clock.now += 3600
    assert read() - began <= 0.04 + RunningTime.LONGEST_STEP + 1e-9


def test_a_wait_with_a_bound_reads_the_clock_often_and_ends_all_the_same():
    assert process_context.BOUNDED_SLEEP_SECONDS <= RunningTime.LONGEST_STEP / 2
    with pytest.raises(WaitTimeout, match="waited 0.2 s for nothing"):
        PROCESS.wait(0.2, "nothing")


def stop_for(seconds: float) -> None:
    """Stop this process, as Ctrl+Z does, and have it continue later."""
    helper = f"import os, signal, time; time.sleep({seconds}); os.kill({os.getpid()}, signal.SIGCONT)"
    process = subprocess.Popen([sys.executable, "-c", helper])
    os.kill(os.getpid(), signal.SIGSTOP)
    process.wait()


@pytest.mark.parametrize("restart", long_after(1, ["never", "on-failure"]))
def test_a_launcher_that_was_stopped_takes_no_component_for_silent(restart):
    with running(workers=2, timeout=1, restart=restart) as job:
        failures = []
        job.control.supervision.on_healed = lambda *failed: failures.append(failed)
        request = job.control._message("control", NR_OF_EPISODE=0)  # which nobody answers
        job.control._request = request
        began = running_time()
        receive, stops = job.client.receive, iter([0.4, 0.7])  # before the heartbeat is asked for, and after

        def receive_or_stop(timeout):
            nonlocal due
            if due is not None and running_time() - began > due:
                due = next(stops, None)
                stop_for(1.2)
            return receive(timeout)

        due = next(stops)
        job.client.receive = receive_or_stop
        with pytest.raises(WaitTimeout, match="waited 1 s for a word from nobody .*the setting timeout"):
            job.control._answer("nobody")
        assert due is None
        assert failures == []


@pytest.mark.long
@pytest.mark.parametrize("link", ["queues", "sockets"])
def test_a_run_that_was_stopped_gives_the_same_results(tmp_path, link):
    (tmp_path / "s.yaml").write_text(f"{SETTINGS}timeout: 0.5\nstart_timeout: 8\nlink: {link}\n")
    scores = []
    for stops in (False, True):
        out = tmp_path / str(stops)
        program = [sys.executable, ROOT / "run.py", "--config", tmp_path / "s.yaml", "--no-progress", "--out", out]
        process = subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=environ(), text=True
        )
        if stops:
            for line in process.stdout:  # as its swarm starts, and after each round
                if " act as one " in line or line.startswith("round"):
                    os.killpg(process.pid, signal.SIGSTOP)
                    time.sleep(0.8)
                    os.killpg(process.pid, signal.SIGCONT)
                assert "Silent" not in line
        assert process.wait(60) == 0
        process.stdout.close()
        lines = (out / "metrics.jsonl").read_text().splitlines()
        scores.append([json.loads(line)["train_returns"] for line in lines])
    assert scores[0] == scores[1]


def test_a_component_that_goes_on_and_then_falls_silent_is_waited_for_until_the_timeout(queues_address):
    with Client("control", *queues_address) as client, Client("model0", *queues_address) as model:
        control = Control(client, "control", "observation", 0.2)
        model.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "TO_ROOM": "control", **Pong().fields()})
        with pytest.raises(WaitTimeout, match="the setting timeout bounds this"):
            control.play(1, deterministic=False)
