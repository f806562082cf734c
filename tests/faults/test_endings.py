"""What is printed or drawn, and what its host did to this program, does not decide how a run ends."""

import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import swarmsim
from swarmsim.components.results import JobResult
from swarmsim.config import make_config
from swarmsim.console import show
from swarmsim.experiment import experiment as experiment_module
from swarmsim.experiment.run import experiment
from swarmsim.launcher.interrupts import deferred_interrupts, stopping_signals
from swarmsim.messaging.process_context import PROCESS
from swarmsim.results.history import History
from swarmsim.views.live import LiveReport
from swarmsim.views.report import Report
from swarmsim.views.terminal import TerminalReport
from tests.components.test_main_job import running
from tests.conftest import LITTLE, child_processes, environ, long_after
from tests.results.rounds import SETTINGS

SMALL = {"rounds": 1, "population": 2, "episodes": 1, "ppo": LITTLE}
PROGRAM = [sys.executable, "-m", "swarmsim", "--rounds", "2", "--population", "2", "--episodes", "2"]
BIG = 122807528840384100672342137672332424406


def reap_all(*_: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


# --- a host's signals


@pytest.mark.parametrize("handler", [signal.SIG_IGN, reap_all], ids=["ignored", "reaped"])
def test_a_run_ends_well_where_its_host_takes_the_statuses_of_all_processes(handler):
    before = signal.signal(signal.SIGCHLD, handler)
    PROCESS.fileno()  # which stays
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    try:
        assert len(swarmsim.run(**SMALL, out=None)) == 1
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert child_processes() == []


def test_a_component_that_dies_where_its_host_reaps_all_is_noticed(tmp_path):
    (tmp_path / "dies.py").write_text("import os\nos._exit(3)")
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with swarmsim.Swarm(None) as swarm:
            swarm.add("dies", tmp_path / "dies.py")
            with pytest.raises(swarmsim.ComponentFailed, match="its process ended with a status that is not known"):
                swarm.start()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_handler_that_is_not_pythons_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGINT else signal.SIG_DFL)
    assert signal.SIGINT not in stopping_signals()
    assert signal.SIGTERM in stopping_signals()


def test_hang_ups_ask_a_run_to_stop_and_a_second_one_does_not_hurry_it(request):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup has ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    with deferred_interrupts() as was_interrupted:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert was_interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_hang_ups_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred_interrupts() as was_interrupted:
            signal.raise_signal(signal.SIGHUP)
            assert not was_interrupted()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("hang_up", "status"), long_after(1, [(signal.SIG_DFL, 130), (signal.SIG_IGN, 0)]))
def test_a_closed_terminal_loses_nothing(tmp_path, hang_up, status):
    metrics, n_rounds = tmp_path / "r" / "metrics.jsonl", "3" if status == 0 else "1000"
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, hang_up)
        os.execve(sys.executable, [*PROGRAM, "--rounds", n_rounds, "--out", str(tmp_path / "r")], environ())
    threading.Thread(target=_drain, args=(terminal,), daemon=True).start()
    until(lambda: metrics.exists() and metrics.read_text().count("\n") >= 1)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    names = sorted(path.name for path in (tmp_path / "r" / "checkpoint").iterdir())
    assert len(metrics.read_text().splitlines()) == 3 if status == 0 else names[-1].endswith("-begun.npz")


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- streams


class Broken(io.StringIO):
    """A stream that cannot be written to."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


@pytest.mark.parametrize(
    "stream",
    [None, *(Broken(OSError(number, "")) for number in (errno.EIO, errno.EPIPE, errno.ENOSPC, errno.EAGAIN))],
    ids=["missing", "EIO", "EPIPE", "ENOSPC", "EAGAIN"],
)
def test_what_cannot_be_printed_is_left_unprinted(stream):
    show("round 1", stream)


def test_signs_that_a_terminal_does_not_have_are_replaced():
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, "ascii")
    show("η → \udcff", stream)
    assert written.getvalue() == b"? ? ?\n"


def test_a_program_without_any_stream_runs_and_writes_nothing_into_its_files(tmp_path):
    command = " ".join([*PROGRAM, "--out", str(tmp_path / "r")])
    done = subprocess.run(["sh", "-c", f"exec {command} <&- >&- 2>&-"], env=environ(), timeout=60, check=False)
    assert done.returncode == 0
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2]


@pytest.mark.long
def test_a_run_goes_on_when_the_reader_of_its_remarks_has_gone(tmp_path):
    process = subprocess.Popen(
        [*PROGRAM, "--verbose", "--out", tmp_path / "r"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ()
    )
    process.stderr.readline()
    process.stderr.close()
    assert b"results in" in process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0
    assert (tmp_path / "r" / "summary.json").exists()


def test_a_remark_has_a_line_of_its_own_where_both_streams_are_one(tmp_path, monkeypatch):
    with (tmp_path / "log").open("w") as out, os.fdopen(os.dup(out.fileno()), "w") as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        report = TerminalReport()
        report.phase_began(1, "train", 1)
        report.phase_ended(1, "train", JobResult([12.0], [12], 0.1))
        show("a component failed", sys.stderr)
        report.phase_ended(1, "evaluate", JobResult([13.0], [13], 0.1))
        report.close()
        monkeypatch.undo()
    assert (tmp_path / "log").read_text() == "round 1 train 12\na component failed\nround 1 eval 13\n"


# --- views


class Failing(Report):
    """A report that fails at one event."""

    def __init__(self, event: str) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError(f"no {event}")

        setattr(self, event, fail)


@pytest.mark.parametrize("event", ["began", "phase_ended", "wants_stop", "round_ended", "close"])
def test_a_view_that_fails_is_left_out_with_a_line(monkeypatch, capsys, event):
    monkeypatch.setattr("swarmsim.experiment.run._views", lambda _: [Failing(event)])
    run = experiment(make_config(SMALL | {"out": None, "link": "inprocess"}, "test"), Report())
    assert len(run.run()) == 1
    assert capsys.readouterr().err == f"swarmsim: the run continues without Failing: RuntimeError: no {event}\n"


def test_what_fails_after_training_is_a_line_and_the_results_are_there(monkeypatch, capsys, in_tmp_path):
    def fail(*_: object) -> None:
        raise ValueError("no such backend")

    monkeypatch.setattr(experiment_module, "_write_pictures", fail)
    history = swarmsim.run(**SMALL, link="inprocess", out="out", report=Failing("close"))
    assert len(history) == 1
    assert capsys.readouterr().err == (
        "swarmsim: after the run: RuntimeError: no close\nswarmsim: after the run: ValueError: no such backend\n"
    )
    assert json.loads(Path("out/summary.json").read_text())["env_steps"] == history.env_steps


# --- numbers


def test_seeds_of_any_size_are_shown_by_the_live_page_and_by_components():
    report = LiveReport(0)
    try:
        report.began(History(SETTINGS | {"seed": BIG}), 1)
        state = json.loads((report._folder / "state.json").read_bytes())
        assert state["settings"]["seed"] == str(BIG)
    finally:
        report.close()
    with running(workers=2, seed=BIG) as job:
        job.client.send({"TYPE": "COMMAND/SAVESETTINGS", "TO_ROOM": "action", "SETTINGS": ["seed"]})
        message = job.client.receive(10)
        while "SETTINGS" not in message:
            message = job.client.receive(10)
        assert message["SETTINGS"]["seed"] == str(BIG)
