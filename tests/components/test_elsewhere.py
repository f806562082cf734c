"""The tests of the main job pass as well where its processes are spawned."""

import os
import subprocess
import sys

import pytest

from tests.components import test_main_job
from tests.conftest import ROOT


@pytest.mark.timeout(400)
def test_the_main_job_works_in_spawned_processes():
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test_main_job.__file__]
    environment = {**os.environ, test_main_job.START_METHOD: "spawn"}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "failed" not in done.stdout
