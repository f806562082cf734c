"""The examples, run as a user runs them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}

# The seed's own program, its two import lines changed.
SEED_PROGRAM = Path(__file__).parent / "seed_control.py"


@pytest.fixture
def rlgym(tmp_path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / "rlgym", tmp_path / "rlgym"))


def output_of(program: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, program], cwd=folder, env=ENVIRON, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_seeds_own_program_runs_in_the_examples_folder_to_its_end(rlgym):
    shutil.copy(SEED_PROGRAM, rlgym / "seed.py")
    lines = output_of("seed.py", rlgym).splitlines()
    assert [line for line in lines if line.startswith("ROUND")] == [f"ROUND {i}" for i in range(5)]
    assert lines.count("True") == 5
    scores = [float(line) for line in lines if line[0].isdigit()]
    assert len(scores) == 15
    assert all(8 <= score <= 500 for score in scores)


def test_the_examples_own_scripts_tell_the_same_story_twice_and_unchanged_in_one_process(rlgym):
    control = (rlgym / "06_control.py").read_text().replace("range(5)", "range(2)")
    control = control.replace("TRAIN_EPISODES = 20", "TRAIN_EPISODES = 3")
    (rlgym / "queues.py").write_text(control)
    (rlgym / "inprocess.py").write_text(control.replace("Swarm()", 'Swarm(link="inprocess")'))
    first, second, in_one_process = (output_of(name, rlgym) for name in ("queues.py", "queues.py", "inprocess.py"))
    assert first.count("ROUND") == 2
    assert first == second == in_one_process
