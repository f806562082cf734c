"""Where a process cannot be made, one sentence says why, nothing is left, and the program ends by itself."""

import errno
import multiprocessing
import os
import resource
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import swarmsim
from swarmsim import ComponentFailed, SettingsError, Swarm
from swarmsim.launcher import process as process_module
from tests.conftest import child_processes, environ, long_after

SMALL = {"rounds": 1, "population": 2, "episodes": 1, "out": None}
LINKS = "queues", "sockets"
REFUSED = (1, errno.EAGAIN), (3, errno.ENOMEM)  # the number of the fork, and why


def score_of_run(seed: int) -> float:
    return swarmsim.run(**SMALL, seed=seed)[-1].train_score


def reason_of_run(seed: int) -> str:
    with pytest.raises(SettingsError) as caught:
        score_of_run(seed)
    return str(caught.value)


def test_in_a_worker_of_a_pool_it_is_said_what_to_use_instead():
    with multiprocessing.get_context("fork").Pool(1) as pool:
        (reason,) = pool.map(reason_of_run, [1])
        assert "daemonic process, such as a worker of multiprocessing.Pool" in reason
        assert "link inprocess" in reason
        assert "ProcessPoolExecutor" in reason


@pytest.mark.long
def test_a_worker_that_is_not_daemonic_can_run_a_swarm():
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert pool.submit(score_of_run, 1).result(60) == score_of_run(1)


@pytest.mark.parametrize(("link", "number", "error"), [(link, n, e) for link in LINKS for n, e in REFUSED])
def test_a_refused_fork_is_the_reason_and_leaves_nothing(monkeypatch, link, number, error):
    fork, n_forks = os.fork, iter(range(1, 100))

    def refuse() -> int:
        if next(n_forks) == number:
            raise OSError(error, os.strerror(error))
        return fork()

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(ComponentFailed, match=f"its process cannot be made: {os.strerror(error)}: .*use fewer workers"):
        swarmsim.run(**SMALL, link=link)
    assert child_processes() == []


@pytest.mark.parametrize("call", ["pidfd_open", "pipe"])
def test_a_process_that_cannot_be_watched_is_not_left_running(monkeypatch, call):
    def refuse(*_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        patch.setattr(os, "dup", refuse)
        before = child_processes()
        with pytest.raises(OSError, match="Too many open files"):
            process_module.WatchedProcess(lambda *_: None, "x", "fork")
        assert child_processes() == before


def test_too_few_descriptors_are_named_with_their_limit(tmp_path):
    few = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    program = [sys.executable, "-m", "swarmsim", "--rounds", "1", "--population", "20", "--workers", "20"]
    done = subprocess.run(
        [*program, "--out", tmp_path / "r"],
        capture_output=True, text=True, timeout=60, check=False, preexec_fn=few, env=environ(),
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "Too many open files" in line
    assert "a process may have 40 (ulimit -n)" in line


@pytest.mark.parametrize("link", long_after(1, LINKS))
def test_a_spawning_program_without_a_guard_is_told_to_have_one(tmp_path, link):
    program = tmp_path / "program.py"
    program.write_text(f"import swarmsim\nswarmsim.run(**{SMALL}, start_method='spawn', link={link!r})\n")
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=False, env=environ()
    )
    assert done.returncode == 1
    assert 'under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1  # of the program itself


def test_a_component_that_takes_too_long_to_start_names_the_setting(tmp_path):
    Path(tmp_path, "slow.py").write_text("import time\ntime.sleep(60)\n")
    with Swarm(None, start_timeout=0.2) as swarm:
        swarm.add("slow", tmp_path / "slow.py")
        with pytest.raises(ComponentFailed, match=r"waited 0.2 s .*; the setting start_timeout bounds this"):
            swarm.start()
        swarm.stop(patience=0.0)
