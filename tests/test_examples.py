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


def test_the_examples_own_control_tells_the_same_story(rlgym):
    control = (rlgym / "06_control.py").read_text()
    (rlgym / "short.py").write_text(
        control.replace("range(5)", "range(2)").replace("TRAIN_EPISODES = 20", "TRAIN_EPISODES = 3")
    )
    outputs = [output_of("short.py", rlgym) for _ in range(2)]
    assert outputs[0].count("ROUND") == 2
    assert outputs[0] == outputs[1]
