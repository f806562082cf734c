"""What the pages tell is so: their code runs, by the rules that tests/page_runner.py tells."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.page_runner import Page, lines_of, shorter
from tests.pages import PAGES, blocks, name_of

SECONDS = 100


def run_page(page: Path) -> str:
    """Run a page in a process of its own; return what it tells on stderr, its failure first of all."""
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONBREAKPOINT": "0",  # breakpoint() goes on
    }
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.page_runner", page],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        _, told = program.communicate(timeout=SECONDS)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
    assert program.returncode == 0, told
    return told


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_all_code_of_a_page_runs(page):
    run_page(page)
