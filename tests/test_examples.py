"""The examples, run as a user runs them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import swarmsim
from swarmsim import Server
from tests.conftest import ROOT, environ, long_after
from tests.page_runner import free_port

# The seed's own program, its two import lines changed.
SEED_PROGRAM = Path(__file__).parent / "seed_control.py"


@pytest.fixture
def rlgym(tmp_path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / "rlgym", tmp_path / "rlgym"))


def output_of(program: str, folder: Path, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, program],
        cwd=folder,
        env=environ(**more),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.long
def test_the_seeds_own_program_runs_in_the_examples_folder_to_its_end(rlgym):
    shutil.copy(SEED_PROGRAM, rlgym / "seed.py")
    lines = output_of("seed.py", rlgym).splitlines()
    assert [line for line in lines if line.startswith("ROUND")] == [f"ROUND {i}" for i in range(5)]
    assert lines.count("True") == 5
    scores = [float(line) for line in lines if line[0].isdigit()]
    assert len(scores) == 15
    assert all(8 <= score <= 500 for score in scores)


@pytest.mark.long
def test_the_same_scripts_talk_by_tcp_where_the_swarm_says_so(rlgym):
    port = str(free_port())
    control = (rlgym / "06_control.py").read_text().replace("range(5)", "range(1)").replace("8080", port)
    control = control.replace("TRAIN_EPISODES = 20", "TRAIN_EPISODES = 2")
    for script in rlgym.glob("0*.py"):
        script.write_text(script.read_text().replace("8080", port))
    (rlgym / "queues.py").write_text(control)
    (rlgym / "sockets.py").write_text(control.replace("Swarm()", 'Swarm(link="sockets")'))
    secret = "its address may be one that others reach"
    assert output_of("sockets.py", rlgym, SWARMSIM_SECRET=secret) == output_of("queues.py", rlgym)


@pytest.mark.long
def test_the_examples_own_scripts_tell_the_same_story_twice_and_unchanged_in_one_process(rlgym):
    control = (rlgym / "06_control.py").read_text().replace("range(5)", "range(2)")
    control = control.replace("TRAIN_EPISODES = 20", "TRAIN_EPISODES = 3")
    (rlgym / "queues.py").write_text(control)
    (rlgym / "inprocess.py").write_text(control.replace("Swarm()", 'Swarm(link="inprocess")'))
    first, second, in_one_process = (output_of(name, rlgym) for name in ("queues.py", "queues.py", "inprocess.py"))
    assert first.count("ROUND") == 2
    assert first == second == in_one_process


def test_two_programs_greet_each_other_by_tcp_and_are_short(tmp_path):
    folder = shutil.copytree(ROOT / "examples" / "hello_world", tmp_path / "hello")
    programs = [folder / name for name in ("answerer.py", "greeter.py")]
    assert sum(len(program.read_text().splitlines()) for program in programs) < 40
    with Server("127.0.0.1", 0) as server:
        for program in programs:
            program.write_text(program.read_text().replace("8090", str(server.address[1])))
        with subprocess.Popen(
            [sys.executable, "answerer.py"], cwd=folder, env=environ(), stderr=subprocess.DEVNULL
        ) as answerer:
            try:
                answers = [f"answerer says hello {number} to you" for number in range(3)]
                assert output_of("greeter.py", folder).splitlines() == answers
            finally:
                answerer.kill()


CUSTOM = ROOT / "examples" / "custom_component"
CORRIDOR = "tests.environments:Corridor-v0"


def run_custom(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    program = [sys.executable, ROOT / "run.py", "--config", CUSTOM / "swarm.yaml", "--rounds", "1", "--episodes", "3"]
    return subprocess.run(
        [*program, *arguments], cwd=folder, env=environ(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("link", long_after(1, ["queues", "inprocess", "sockets"]))
def test_a_rule_and_an_environment_of_ones_own_take_the_place_of_the_built_in(tmp_path, link):
    done = run_custom(tmp_path, "--link", link, "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "act as one on harbour:Harbour" in done.stdout
    record = json.loads((tmp_path / "out" / "metrics.jsonl").read_text())
    assert len(record["train_returns"]) == 3
    assert all(-1.3 <= score <= 1 for score in record["train_returns"])
    again = subprocess.run(
        [sys.executable, ROOT / "run.py", "--resume", "out", "--rounds", "2"],
        cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (again.returncode, again.stderr) == (0, "")


def test_a_rule_of_ones_own_decides(tmp_path, monkeypatch):
    (tmp_path / "stubborn.py").write_text("def first(p):\n    return p[0] * 0 + [1, 0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    history = swarmsim.run(rounds=1, population=3, episodes=2, env=CORRIDOR, aggregation="stubborn:first", out=None)
    assert history[0].train_returns == pytest.approx([-5.0, -5.0])  # to the left, for as long as an episode lasts


def test_the_rule_takes_the_surer_half(monkeypatch):
    monkeypatch.syspath_prepend(CUSTOM)
    from bold import boldest

    opinions = np.array([[[0.9, 0.1]], [[0.5, 0.5]], [[0.2, 0.8]]])
    assert boldest(opinions).tolist() == [[(0.9 + 0.2) / 2, (0.1 + 0.8) / 2]]


def test_the_environment_keeps_to_gymnasiums_rules(monkeypatch):
    monkeypatch.syspath_prepend(CUSTOM)
    from harbour import Harbour

    check_env(Harbour(), skip_render_check=True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"aggregation": "summ"},
            "unknown aggregation 'summ'; known: majority, product, rank, sum, weighted; did you mean 'sum'?; or mod",
        ),
        ({"aggregation": "nowhere:rule"}, "aggregation 'nowhere:rule': there is no module 'nowhere'"),
        ({"aggregation": "bold:bolder"}, "unknown name in bold 'bolder'; known: boldest, np; did you mean 'boldest'"),
        ({"aggregation": "bold:np"}, "aggregation 'bold:np' must be a function, not module"),
        ({"env": "harbour:Harbor"}, "unknown name in harbour 'Harbor'"),
        ({"env": "harbour:np"}, "environment 'harbour:np' must be a gymnasium.Env class or a function, not module"),
        ({"env": "nowhere:Harbour"}, "environment 'nowhere:Harbour': there is no module 'nowhere'"),
    ],
)
def test_what_is_not_there_is_told_before_anything_starts(monkeypatch, settings, sentence):
    monkeypatch.syspath_prepend(CUSTOM)
    with pytest.raises(swarmsim.SettingsError, match=re.escape(sentence)):
        swarmsim.run(**settings, out=None)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            "p.mean()",
            "must return numbers of the shape (1, 3), one for each environment and action, not float64 of the shape ()",
        ),
        ("p[0] * np.nan", "must be 0 or more, and in each row not all of them 0"),
        ("-p[0]", "must be 0 or more, and in each row not all of them 0"),
    ],
)
def test_a_rule_that_returns_no_preferences_ends_the_run_by_its_name(tmp_path, result, sentence):
    (tmp_path / "wrong.py").write_text(f"import numpy as np\ndef rule(p):\n    return {result}\n")
    (tmp_path / "harbour.py").write_text((CUSTOM / "harbour.py").read_text())
    (tmp_path / "swarm.yaml").write_text("aggregation: wrong:rule\nenv: harbour:Harbour\nmax_restarts: 0\nenvs: 1\n")
    done = subprocess.run(
        [sys.executable, ROOT / "run.py"],
        cwd=tmp_path,
        env=environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "component 'aggregation' failed: ValueError: the aggregation wrong:rule" in done.stderr
    assert sentence in done.stderr
