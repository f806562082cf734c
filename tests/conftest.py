"""What tests share: a swarm of this process at an address of its own, and a look at what is left behind."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import swarmsim
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.links import serve_any, serving_on
from tests.browser import browser  # noqa: F401 - a fixture of all tests

ROOT = Path(__file__).parent.parent
LITTLE = {"n_batches": 2, "batch_size": 32, "learning_rate": 1e-4}  # so that it takes no time, and episodes stay short
TIMED = pytest.mark.xdist_group("timed")  # tests that bound a time, which are not run at once
assert Path("/proc/thread-self/children").exists(), "the tests need a Linux that lists a process's children"
LASTING = b"resource_tracker", b"chrom"  # multiprocessing's own tracker of `spawn`, the browser


def pytest_configure() -> None:
    """Draw examples for as long as it takes, on a slow machine too."""
    from hypothesis import HealthCheck, settings

    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def addresses_of_their_own(tmp_path_factory) -> Iterator[None]:
    """Tests neither meet nor disturb the swarms that run on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("addresses")))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(autouse=True)
def pictures_only_where_they_are_looked_at(request, monkeypatch) -> None:
    """Runs of this process draw their pictures only for tests with the mark `pictures`: a small run takes less time."""
    if "pictures" not in request.keywords:
        monkeypatch.setattr("swarmsim.experiment.experiment._write_pictures", lambda *_: None)


@pytest.fixture(params=["inprocess", "queues", "sockets"])
def address(request) -> Iterator[Address]:
    """An address that this process serves, once on each link."""
    with serving_on(request.param):
        yield from _served("127.0.0.1" if request.param == "sockets" else "tests")


@pytest.fixture
def queues_address() -> Iterator[Address]:
    with serving_on("queues"):
        yield from _served("tests")


@pytest.fixture
def tcp_address() -> Iterator[Address]:
    yield from _served("127.0.0.1")


def _served(server: str) -> Iterator[Address]:
    served = serve_any(server)
    served.serve_in_background()
    yield served.address
    served.close()


@pytest.fixture
def every_step_is_told(monkeypatch) -> None:
    """Control hears of a run's progress at each of its steps."""
    from swarmsim.components import environment

    monkeypatch.setattr(environment, "PROGRESS_SECONDS", -1.0)


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def a_run(tmp_path_factory, addresses_of_their_own) -> swarmsim.History:
    """A small run, to be looked at; its directory is to be left as it is."""
    out = str(tmp_path_factory.mktemp("a_run") / "run")
    return swarmsim.run(rounds=2, population=3, episodes=4, seed=1, link="inprocess", out=out, progress=False)


@pytest.fixture
def copied_run(a_run, tmp_path) -> Path:
    """The directory of such a run, to do anything with."""
    return Path(shutil.copytree(a_run.directory, tmp_path / "run"))


def long_after(n: int, values: Sequence[Any]) -> list[Any]:
    """Return the values of a parameter, or tuples of several, where all but the first `n` have the mark `long`."""
    tuples = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*each, marks=pytest.mark.long if i >= n else ()) for i, each in enumerate(tuples)]


def environ(**more: str) -> dict[str, str]:
    """Return the environment of a program: with this worker's own addresses, which are set only once tests run."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def cells(line: str) -> list[str]:
    """Return the cells of one line of a benchmark's table."""
    return [cell.strip() for cell in line.split("|")[1:-1]]


def child_processes() -> list[int]:
    """Return the living children of this process, and theirs, but for those that last as long as all tests."""
    found = [os.getpid()]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(pid) for pid in (thread / "children").read_text().split() if is_ours(int(pid))]
    return found[1:]


def is_ours(pid: int) -> bool:
    """Return whether a process lives, and neither is nor serves what lasts as long as all tests."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z" and not any(name in command for name in LASTING)


def served_directories() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir(), f"swarmsim-{os.getuid()}").glob("*")}


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Every test leaves no process and no address of its own."""
    processes, directories = set(child_processes()), served_directories()
    yield
    assert set(child_processes()) <= processes
    assert served_directories() <= directories
