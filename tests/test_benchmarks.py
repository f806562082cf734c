"""The benchmarks run; what they time is what they say. No test looks at a figure."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import swarmsim
from swarmsim.config import make_config
from tests.conftest import LITTLE, ROOT, long_after

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def serial(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import serial

    return serial


@pytest.mark.parametrize(("population", "envs"), long_after(1, [(5, 1), (7, 3)]))
def test_the_serial_learning_that_swarms_are_measured_against_is_the_same_learning(serial, population, envs):
    settings = {"population": population, "envs": envs, "episodes": 8, "seed": 3, "out": None, "ppo": LITTLE}
    config = make_config(settings, "test")
    history = swarmsim.run(**settings, rounds=1, workers=2, link="inprocess")
    returns, steps_per_second = serial.train(config)
    assert returns == history[0].train_returns
    assert steps_per_second > 0
    assert serial.train(replace(config, seed=4))[0] != returns


TINY = ["--seeds", "0-1", "--steps", "200", "--episodes", "2", "--population", "3", "--out", "out"]
COMMANDS = {
    "learning.py": [
        *("--envs", "CartPole-v1", "--variants", "one model, rate x 3", "best member alone", "single DQN"),
        *("single A2C", *TINY, "--seeds", "0"),
    ],
    "chaos.py": ["--trials", "1"],
    "cycles.py": ["--cycles", "3"],
    "soak.py": ["--clients", "6", "--minutes", "0.02"],
    "speed.py": ["--repeats", "1", "--share", "0.01"],
    "messaging.py": ["--repeats", "1", "--messages", "100"],
    "flood.py": ["--repeats", "1", "--steps", "100"],
    "scaling.py": ["--repeats", "1", "--share", "0.1", "--largest", "10"],
    "startup.py": ["--repeats", "1", "--population", "3"],
    "profiles.py": ["--episodes", "3", "--population", "3"],
    "reports.py": ["--runs", "1", "2"],
    "sockets.py": ["--repeats", "1", "--seconds", "1", "--models", "2", "--venv", sys.prefix],
    "reference.py": ["--seconds", "1", "--models", "2", "--venv", sys.prefix],
}


def test_every_benchmark_is_tried():
    scripts = {path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text()}
    assert scripts == set(COMMANDS)


@pytest.mark.parametrize(
    "script", long_after(1, ["messaging.py", *sorted(COMMANDS.keys() - {"chaos.py", "messaging.py"})])
)  # tests/chaos runs that one
def test_a_benchmark_prints_the_machine_and_a_table(script, tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / script, *COMMANDS[script]],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert f"Python {sys.version.split()[0]}" in done.stdout
    assert done.stdout.count("\n|") >= 3
    if script == "scaling.py":
        assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_a_benchmark_of_learning_goes_on_where_it_was_left(tmp_path):
    def printed(*arguments):
        command = [sys.executable, FOLDER / "learning.py", "--envs", "CartPole-v1", *TINY, *arguments]
        return subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True, timeout=280).stdout

    first = printed()
    kept = (tmp_path / "out" / "learning.jsonl").read_text()
    assert len(kept.splitlines()) == 2
    assert printed() == first
    assert (tmp_path / "out" / "learning.jsonl").read_text() == kept
    assert (tmp_path / "out" / "learning.png").read_bytes().startswith(b"\x89PNG")
    printed("--seeds", "1-2")
    assert len((tmp_path / "out" / "learning.jsonl").read_text().splitlines()) == 3


def test_an_area_under_the_curve_is_the_mean_score_from_the_worst_to_the_best(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from trials import Outcome

    outcome = Outcome("CartPole-v1", "any", 0, (100, 200), (500, 500), 1.0)
    assert outcome.area() == pytest.approx(0.75)  # half of it on the way to the first evaluation, then all
    assert outcome.area(until=100) == pytest.approx(0.5)
    assert outcome.area(until=400) == pytest.approx(0.875)
    assert outcome.first_solved == 100
    assert outcome.is_kept
    assert not replace(outcome, scores=(500, 399)).is_kept
    assert replace(outcome, scores=(1, 2)).first_solved == float("inf")
    lander = Outcome("LunarLander-v3", "any", 0, (1, 2, 3, 4), (-500.0, 100.0, 200.0, 300.0), 1.0)
    assert lander.result == 200


def test_what_a_swarm_is_worth_has_an_interval(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from learning import interval, iqm

    assert iqm(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0])) == pytest.approx(3.5)
    areas = np.linspace(0.4, 0.6, 10)[None]
    assert interval(areas, areas) == (1, 1, 1)  # drawn in pairs
    ratio, low, high = interval(2 * areas, areas[:, ::-1])
    assert low < ratio < high
    assert ratio == pytest.approx(2)
    assert interval(np.full((2, 10), 0.9), np.full((2, 10), 0.3)) == pytest.approx((3, 3, 3))


@pytest.mark.parametrize("script", long_after(1, [*COMMANDS]))
def test_a_benchmarks_help_fits_a_screen_and_has_an_example(script):
    done = subprocess.run(
        [sys.executable, FOLDER / script, "--help"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 30
    assert f"benchmarks/{script}" in done.stdout
