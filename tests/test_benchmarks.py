"""The benchmarks run; what they time is what they say. No test looks at a figure."""

import subprocess
import sys
from dataclasses import replace

import pytest

import swarmsim
from swarmsim.config import make_config
from tests.conftest import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def serial(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import serial

    return serial


@pytest.mark.parametrize(("population", "envs"), [(5, 1), (7, 3)])
def test_the_serial_learning_that_swarms_are_measured_against_is_the_same_learning(serial, population, envs):
    settings = {"population": population, "envs": envs, "episodes": 8, "seed": 3, "out": None}
    config = make_config(settings, "test")
    history = swarmsim.run(**settings, rounds=1, workers=2, link="inprocess")
    returns, steps_per_second = serial.train(config)
    assert returns == history[0].train_returns
    assert steps_per_second > 0
    assert serial.train(replace(config, seed=4))[0] != returns


COMMANDS = {
    "chaos.py": ["--trials", "1"],
    "cycles.py": ["--cycles", "3"],
    "soak.py": ["--clients", "6", "--minutes", "0.02"],
    "speed.py": ["--repeats", "1", "--share", "0.01"],
    "messaging.py": ["--repeats", "1", "--messages", "100"],
    "flood.py": ["--repeats", "1", "--steps", "100"],
    "scaling.py": ["--repeats", "1", "--share", "0.1", "--largest", "10"],
    "startup.py": ["--repeats", "1", "--population", "3"],
    "profiles.py": ["--episodes", "3", "--population", "3"],
    "sockets.py": ["--repeats", "1", "--seconds", "1", "--models", "2", "--venv", sys.prefix],
    "reference.py": ["--seconds", "1", "--models", "2", "--venv", sys.prefix],
}


def test_every_benchmark_is_tried():
    scripts = {path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text()}
    assert scripts == set(COMMANDS)


@pytest.mark.parametrize("script", COMMANDS)
def test_a_benchmark_prints_the_machine_and_a_table(script, tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / script, *COMMANDS[script]],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert f"Python {sys.version.split()[0]}" in done.stdout
    assert done.stdout.count("\n|") >= 3
    if script == "scaling.py":
        assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("script", COMMANDS)
def test_a_benchmarks_help_fits_a_screen_and_has_an_example(script):
    done = subprocess.run(
        [sys.executable, FOLDER / script, "--help"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 30
    assert f"benchmarks/{script}" in done.stdout
