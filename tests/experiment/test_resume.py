"""A run that ended early, in whatever way, is gone on with as if it had never ended."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import count, product
from pathlib import Path

import numpy as np
import pytest

import swarmsim
from swarmsim.results.checkpoint import read_checkpoint, read_weights
from swarmsim.results.history import TIMES
from swarmsim.views.report import EVALUATE, EVALUATE_EVOLVED, EVOLVE, TRAIN, Report
from tests.conftest import LITTLE, ROOT, long_after

PROGRAM = f"{sys.executable} {ROOT / 'run.py'}"
SMALL = {"population": 5, "episodes": 4, "eval_episodes": 2, "seed": 3, "ppo": LITTLE}
WHOLE: dict[str, list[dict]] = {}  # what `whole` has returned so far, by its settings


def without_times(rounds) -> list[dict]:
    return [{key: value for key, value in record.items() if key not in TIMES} for record in rounds]


def metrics(out: str) -> list[dict]:
    """Return the rounds that a run's directory tells, without their times."""
    return without_times(json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines())


def whole(**settings) -> list[dict]:
    """Return the rounds of a run with these settings, which is made once for all tests that compare theirs with it."""
    key = json.dumps(settings, sort_keys=True)
    if key not in WHOLE:
        WHOLE[key] = whole_anew(**settings)
    return WHOLE[key]


def whole_anew(**settings) -> list[dict]:
    history = swarmsim.run(**{**SMALL, "out": None, "link": "inprocess", **settings})
    return without_times(record.encode() for record in history)


LINKS = "inprocess", "queues", "sockets"
CHANGED = [("queues", "sockets"), ("inprocess", "queues"), ("sockets", "inprocess")]


@pytest.mark.parametrize(("first", "then"), long_after(1, [*CHANGED, *sorted({*product(LINKS, LINKS)} - {*CHANGED})]))
def test_two_rounds_and_three_more_are_five_rounds(in_tmp_path, first, then):
    swarmsim.run(**SMALL, rounds=2, out="out", link=first, workers=2)
    history = swarmsim.run(resume="out", rounds=5, link=then)
    assert metrics("out") == whole(rounds=5)
    assert len(history) == 5
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["env_steps"] == history.env_steps
    assert summary["wall_seconds"] > summary["train_seconds"] > 0


class Interrupting(Report):
    """Presses Ctrl+C when so many steps of a phase have been told."""

    def __init__(self, phase: str, step: int) -> None:
        self.wanted, self.step = phase, step
        self.phase = ""
        self.notes: list[str] = []

    def phase_began(self, round_number, phase, n_episodes):
        self.phase = phase
        if phase == EVOLVE:
            self.press()

    def episodes_ended(self, returns, n_steps):
        if n_steps >= self.step:
            self.press()

    def press(self):
        if self.phase == self.wanted:
            self.wanted = ""
            os.kill(os.getpid(), signal.SIGINT)

    def noted(self, sentence):
        self.notes.append(sentence)


PHASES = TRAIN, EVALUATE, EVOLVE, EVALUATE_EVOLVED
INTERRUPTED = [
    {"link": "queues", "workers": 2},
    {"link": "sockets", "workers": 2},
    {"link": "inprocess"},
    {"link": "inprocess", "envs": 3, "env": "tests.environments:Corridor-v0"},
    {"link": "queues", "envs": 3},
]
ONCE = [*zip(PHASES, INTERRUPTED, strict=False)]


@pytest.mark.parametrize(
    ("phase", "settings"),
    long_after(1, [*ONCE, *(pair for pair in product(PHASES, INTERRUPTED) if pair not in ONCE)]),
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_an_interrupt_within_a_round_loses_nothing(in_tmp_path, every_step_is_told, phase, settings):
    report = Interrupting(phase, step=5)
    with pytest.raises(KeyboardInterrupt):
        swarmsim.run(**SMALL, **settings, rounds=2, out="out", report=report)
    assert report.notes == []
    (checkpoint,) = Path("out/checkpoint").glob("round-*")
    assert checkpoint.name == "round-0001-begun.npz"
    if settings["link"] == "inprocess":  # between processes the run may be further by then, or over
        run = read_checkpoint(checkpoint)["components"]["environment"]["run"]
        assert run is None if phase == EVOLVE else 5 <= sum(run["episodes"]["lengths"]) <= 12  # steps of four
    assert metrics("out") == []
    swarmsim.run(resume="out")
    assert metrics("out") == whole(**settings | {"link": "inprocess"}, rounds=2)


@pytest.mark.long
def test_a_run_can_be_interrupted_again_and_again(in_tmp_path, every_step_is_told):
    report = Interrupting(TRAIN, step=1)
    for attempt in count():
        try:
            swarmsim.run(**({"resume": "out"} if attempt else SMALL | {"rounds": 2, "out": "out"}), report=report)
            break
        except KeyboardInterrupt:
            report = Interrupting(TRAIN if attempt < 6 else EVALUATE, step=7 * attempt)
    assert attempt > 6
    assert metrics("out") == whole(rounds=2)


def test_an_interrupted_rounds_weights_are_those_learned_until_then(in_tmp_path, every_step_is_told):
    with pytest.raises(KeyboardInterrupt):
        swarmsim.run(**SMALL, link="inprocess", rounds=1, out="out", report=Interrupting(TRAIN, step=43))
    state = read_checkpoint(Path("out/checkpoint/round-0001-begun.npz"))
    assert state["components"]["models0-4"]["replay"]["n_new"] > 0
    weights = read_weights(Path("out/checkpoint/round-0001-begun.npz"))
    assert list(weights) == [f"model{i}" for i in range(5)]
    assert all(np.isfinite(genome).all() for genome in weights.values())


ARGUMENTS = [
    *("--preset", "reference", "--population", "5", "--episodes", "40", "--eval-episodes", "2"),
    *("--seed", "3", "--out", "out"),
]


def started(*arguments: str, cwd: Path) -> subprocess.Popen:
    program = [sys.executable, str(ROOT / "run.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        program, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.long  # tests/results/test_run_directory.py kills small ones
@pytest.mark.parametrize("link", ["queues", "inprocess", "sockets"])
def test_a_launcher_that_is_killed_in_the_middle_of_round_3_has_its_run_gone_on_with(in_tmp_path, link):
    process = started(*ARGUMENTS, "--rounds", "1000", "--link", link, cwd=in_tmp_path)
    for line in process.stdout:
        if line.startswith("round 2"):
            break
    time.sleep(0.2)
    process.kill()
    process.communicate(timeout=100)
    rounds = max(len(metrics("out")) + 1, 5)  # far more than 2 only where this test was kept waiting
    assert rounds < 1000
    swarmsim.run(resume="out", rounds=rounds)
    assert metrics("out") == whole(rounds=rounds, episodes=40, preset="reference")


def test_an_interrupt_ends_soon_with_status_130_and_tells_how_to_go_on(in_tmp_path):
    process = started(*ARGUMENTS, "--rounds", "1000", cwd=in_tmp_path)
    for line in process.stdout:
        if line.startswith("round 1"):
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)  # 3 are promised; benchmarks/chaos.py prints them
    assert process.returncode == 130
    assert err == "\nswarmsim: interrupted\n"
    assert "    1 " in out
    checkpoint = max(Path("out/checkpoint").iterdir())
    assert out.splitlines()[-3:] == [
        f"pictures: out/scores.png and others; all on one page: {PROGRAM} report out",
        f"last checkpoint: {checkpoint}",
        f"resume with: {PROGRAM} --resume out",
    ]


def test_a_second_interrupt_stops_now(in_tmp_path):
    code = """
import os, signal, sys
from swarmsim.experiment import experiment
from swarmsim.cli import main
def save(self, control, roles):
    print("saving", flush=True)
    signal.pause()
experiment.Experiment._save_unfinished_round = save
sys.exit(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *ARGUMENTS, "--rounds", "1000"], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("round 1"):
            process.send_signal(signal.SIGTERM)
        if line == "saving\n":
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=100)
    assert process.returncode == 130


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(in_tmp_path):
    swarmsim.run(**SMALL, rounds=3, out="out", link="inprocess")
    last = Path("out/checkpoint/round-0003.npz")
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    report = Interrupting("never", 0)
    swarmsim.run(resume="out", rounds=4, report=report)
    assert report.notes == [f"{last} is damaged: its checksum does not fit; the one before it is used"]
    assert metrics("out") == whole(rounds=4)


def test_a_run_without_a_checkpoint_begins_anew(in_tmp_path):
    swarmsim.run(**SMALL, rounds=1, out="out", link="inprocess")
    Path("out/checkpoint/round-0001.npz").unlink()
    report = Interrupting("never", 0)
    swarmsim.run(resume="out", rounds=2, report=report)
    assert report.notes == ["out holds no checkpoint yet: the run begins anew"]
    assert metrics("out") == whole(rounds=2)


def test_a_run_that_is_done_says_so(in_tmp_path):
    swarmsim.run(**SMALL, rounds=1, out="out", link="inprocess")
    report = Interrupting("never", 0)
    assert len(swarmsim.run(resume="out", report=report)) == 1
    assert report.notes == ["1 rounds are done already, and rounds is 1"]


@pytest.mark.long
def test_as_many_checkpoints_are_kept_as_asked_for(in_tmp_path):
    swarmsim.run(**SMALL, rounds=4, out="out", link="inprocess", checkpoints=2)
    names = sorted(path.name for path in Path("out/checkpoint").iterdir())
    assert names == ["best.npz", "round-0003.npz", "round-0004.npz"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"resume": "nowhere"}, "nowhere: there is no such directory"),
        (
            {"resume": "out", "seed": 5},
            "seed: the run in out has 3, not 5; a resumed run keeps all its settings but rounds, link",
        ),
        ({"resume": "out", "ppo": {"n_batches": 3}}, "ppo.n_batches: the run in out has 2, not 3"),
        ({"resume": "out", "populaton": 5}, "unknown key 'populaton'; known: .*; did you mean 'population'"),
        ({"resume": "out", "config_file": "swarm.yaml"}, "swarm.yaml: there is no such settings file"),
    ],
)
def test_what_cannot_be_resumed_is_told(in_tmp_path, given, sentence):
    swarmsim.run(**SMALL, rounds=1, out="out", link="inprocess")
    with pytest.raises(swarmsim.SettingsError, match=sentence):
        swarmsim.run(**given)
