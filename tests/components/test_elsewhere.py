"""The tests of the main job pass as well where its processes are spawned, and where they talk by TCP."""

import os
import subprocess
import sys

import pytest

from tests.components import test_main_job
from tests.conftest import ROOT
from tests.launcher import test_supervisor

# Of the faults one will do: tests/chaos/test_chaos.py strikes every component on sockets, in every way.
SOME = "test_main_job or (whoever_dies and SIGKILL) or told_at_once"


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("variable", "value", "tests", "chosen"),
    [
        (test_main_job.START_METHOD, "spawn", [test_main_job], ""),
        (test_main_job.LINK, "sockets", [test_main_job, test_supervisor], SOME),
    ],
    ids=["spawn", "sockets"],
)
def test_the_main_job_works_elsewhere_too(variable, value, tests, chosen):
    files = [module.__file__ for module in tests]
    flags = ["-q", "-p", "no:cacheprovider", "-n", "0", "-m", "", "-k", chosen]
    program = [sys.executable, "-m", "pytest", *flags, *files]
    environment = {**os.environ, variable: value}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "failed" not in done.stdout
