"""The whole loop: the same twice, the same on every link and for every packing, and what it leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import swarmsim
from swarmsim.results.history import TIMES, History
from tests.conftest import LITTLE, ROOT, child_processes, long_after

SMALL = {"rounds": 2, "population": 20, "episodes": 3, "seed": 1, "ppo": LITTLE}


def metrics(**settings) -> list[str]:
    """Return the rounds of a run, without their times."""
    rounds = []
    for record in swarmsim.run(out=None, **{**SMALL, **settings}):
        values = record.encode()
        rounds.append(json.dumps({key: value for key, value in values.items() if key not in TIMES}))
    return rounds


@pytest.fixture(scope="module")
def once() -> list[str]:
    return metrics(workers=1)


@pytest.mark.parametrize(
    "settings",
    long_after(
        4,
        [
            {"workers": 2},
            {"link": "inprocess"},
            {"workers": 2, "start_method": "spawn"},
            {"link": "sockets"},
            {"workers": 1},
            {"workers": 7},
            {"workers": 20},
            {"link": "inprocess", "workers": 20},
            {"link": "sockets", "workers": 20},
            {"link": "sockets", "workers": 2, "start_method": "spawn"},
        ],
    ),
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_one_seed_gives_the_same_metrics_on_every_link_and_for_every_packing(once, settings):
    assert metrics(**settings) == once


def test_another_seed_gives_other_metrics(once):
    assert metrics(seed=2, link="inprocess") != once


@pytest.mark.parametrize("envs", long_after(1, [2, 5]))
def test_environments_side_by_side_are_the_same_twice_too(envs):
    settings = {"envs": envs, "population": 6}
    assert metrics(**settings, workers=3) == metrics(**settings, link="inprocess")
    assert metrics(**settings, workers=3) == metrics(**settings, workers=2, link="sockets")


def test_neither_how_often_nor_how_is_evaluated_changes_the_training():
    ways = ({"eval_episodes": 1}, {"eval_episodes": 20}, {"eval_episodes": 3, "eval_deterministic": False})
    returns = [
        [r.train_returns for r in swarmsim.run(out=None, link="inprocess", **SMALL, **settings)] for settings in ways
    ]
    assert returns[0] == returns[1] == returns[2]


def test_evaluations_that_draw_their_actions_are_the_same_twice_too():
    settings = {"eval_deterministic": False, "envs": 2}
    drawn = metrics(**settings, workers=2)
    assert drawn == metrics(**settings, link="inprocess") != metrics(envs=2, link="inprocess")


def test_a_history_is_a_list_of_rounds_that_prints_as_a_table(in_tmp_path):
    history = swarmsim.run(rounds=2, population=2, episodes=2, link="inprocess", out="here")
    assert isinstance(history, History)
    assert len(history) == 2
    assert [r.round for r in history] == [1, 2]
    assert len(str(history).splitlines()) == 3
    assert history.directory == Path("here")
    assert history.summary()["final_score"] == history[-1].eval_score_evolved


def test_a_file_of_settings_can_be_given_to_run(in_tmp_path):
    Path("my.yaml").write_text("rounds: 1\npopulation: 2\nepisodes: 1\nlink: inprocess\n")
    assert swarmsim.run("my.yaml", out=None).settings["population"] == 2


def test_wrong_settings_are_told_by_run_as_well():
    with pytest.raises(swarmsim.SettingsError, match=r"run\(\): unknown key 'populaton'; .*did you mean 'population'"):
        swarmsim.run(populaton=5)
    with pytest.raises(swarmsim.SettingsError, match="link must be 'queues' or 'inprocess' or 'sockets'"):
        swarmsim.run(link="pipes")


@pytest.mark.long
def test_twenty_models_in_twenty_processes_run_beside_launcher_environment_aggregation_and_evolution(tmp_path):
    (tmp_path / "swarm.yaml").write_text(json.dumps({"ppo": LITTLE}))
    program = [
        sys.executable,
        str(ROOT / "run.py"),
        "--rounds",
        "1",
        "--workers",
        "20",
        "--episodes",
        "5",
        "--out",
        "out",
    ]
    process = subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith("20 models in 20 processes")
        children = child_processes()
        assert len(children) == 24
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(10)
    assert process.returncode == 0
    assert "results in out" in out
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


@pytest.mark.long
def test_two_runs_side_by_side_do_not_disturb_each_other(once, tmp_path):
    (tmp_path / "swarm.yaml").write_text(json.dumps({"ppo": LITTLE}))
    program = [
        sys.executable,
        str(ROOT / "run.py"),
        "--rounds",
        "2",
        "--episodes",
        "3",
        "--seed",
        "1",
        "--workers",
        "2",
    ]
    runs = [
        subprocess.Popen([*program, "--out", str(tmp_path / f"out{i}")], cwd=tmp_path, stdout=subprocess.DEVNULL)
        for i in range(2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    for i in range(2):
        lines = [json.loads(line) for line in (tmp_path / f"out{i}" / "metrics.jsonl").read_text().splitlines()]
        assert [json.dumps({k: v for k, v in r.items() if k not in TIMES}) for r in lines] == once


def test_importing_swarmsim_starts_nothing_and_imports_no_torch_but_for_policies():
    code = """
import sys, threading, swarmsim
assert 'torch' not in sys.modules and 'gymnasium' not in sys.modules and 'matplotlib' not in sys.modules
assert threading.active_count() == 1
policies = {'SwarmPolicy', 'load_policy'}
for name in set(swarmsim.__all__) - policies:
    getattr(swarmsim, name)
assert 'torch' not in sys.modules
for name in policies:
    getattr(swarmsim, name)  # are torch modules, and the only names that need it
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_a_launcher_has_no_thread_when_it_forks(tmp_path):
    code = """
import os, sys
from pathlib import Path
from swarmsim.cli import main
threads = []
os.register_at_fork(after_in_parent=lambda: threads.append(len(list(Path('/proc/self/task').iterdir()))))
assert main(['--rounds', '1', '--population', '2', '--episodes', '1', '--out', sys.argv[1]]) == 0
assert threads == [1, 1, 1, 1], threads
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], cwd=ROOT, check=True, timeout=60)
