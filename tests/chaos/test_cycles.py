"""Swarms started and stopped again and again in one process leave nothing behind."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, cells, long_after


@pytest.mark.parametrize("link", long_after(1, ["inprocess", "queues", "sockets"]))
def test_cycles_leave_nothing_behind(tmp_path, link):
    program = [sys.executable, ROOT / "benchmarks" / "cycles.py", "--cycles", "25", "--link", link]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = cells(done.stdout.splitlines()[-1])
    assert last[:2] == ["25", "0"]
