"""The command line, run as a user runs it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import swarmsim
from swarmsim.cli import COMMANDS, last_words, main
from swarmsim.config import CHANGEABLE, Config
from swarmsim.errors import SettingsError
from swarmsim.results.checkpoint import Checkpoints, read_weights
from swarmsim.results.history import History
from tests.conftest import ROOT, environ, long_after
from tests.results.rounds import SETTINGS, a_round


def run(*arguments: str, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess:
    program = [sys.executable, str(ROOT / "run.py"), *arguments]
    return subprocess.run(program, cwd=cwd, env=environ(), capture_output=True, text=True, timeout=timeout, check=False)


PROGRAM = f"{sys.executable} {ROOT / 'run.py'}"
SMALL = ["--rounds", "2", "--population", "3", "--episodes", "3", "--out", "out"]


@pytest.mark.parametrize("program", long_after(1, [[str(ROOT / "run.py")], ["-m", "swarmsim"]]))
def test_a_small_run_prints_its_results_and_leaves_its_files(tmp_path, program):
    program = [sys.executable, *program, *SMALL, "--seed", "7"]
    done = subprocess.run(program, cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "3 models in 1 process act as one on CartPole-v1: seed 7, link queues, preset default"
    for number, line in enumerate(lines[1:3], 1):
        assert re.fullmatch(rf"round {number} train [\d.]+ \| eval [\d.]+ \| evolved [\d.]+ \| [\d,]+ steps/s", line)
    table = done.stdout.partition("\n\nround")[2].splitlines()
    assert [row.split()[0] for row in table[1:3]] == ["1", "2"]

    out = tmp_path / "out"
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == [
        "checkpoint/best.npz",
        "checkpoint/round-0001.npz",
        "checkpoint/round-0002.npz",
        "config.yaml",
        "metrics.jsonl",
        "population.png",
        "rooms.png",
        "scores.png",
        "summary.json",
    ]
    assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert (config["seed"], config["workers"], config["a2c"]["gamma"]) == (7, 1, 0.99)
    assert {"python", "numpy", "gymnasium", "swarmsim"} <= config["versions"].keys()


def test_the_files_of_a_run_hold_what_they_promise(tmp_path):
    assert run(*SMALL, cwd=tmp_path).returncode == 0
    rounds = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [r["round"] for r in rounds] == [1, 2]
    for r in rounds:
        assert list(r) == [
            "round", "train_score", "train_returns", "eval_score", "eval_score_evolved", "env_steps", "seconds",
            "steps_per_second", "contribution", "diversity", "evolution", "parents", "hyperparameters", "evaluations",
        ]  # fmt: skip
        assert len(r["train_returns"]) == 3
        assert r["train_score"] == pytest.approx(np.mean(r["train_returns"]))
        assert list(r["contribution"]) == ["model0", "model1", "model2"]
        assert sum(r["contribution"].values()) == pytest.approx(1.0)
        assert 0 < r["diversity"] < 1
        assert r["evolution"].keys() == {"parents_kept", "crossovers", "mutations"}
    # CartPole pays 1 a step, so its returns are its lengths
    assert rounds[0]["env_steps"] == sum(rounds[0]["train_returns"])
    assert rounds[1]["env_steps"] == sum(rounds[0]["train_returns"]) + sum(rounds[1]["train_returns"])

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary) == [
        "final_score", "best_score", "first_solved_steps", "env_steps", "train_seconds", "steps_per_second",
        "wall_seconds", "failures", "seed", "env", "population", "workers", "link", "preset", "reward_threshold",
        "messages",
    ]  # fmt: skip
    assert summary["reward_threshold"] == 475
    assert summary["final_score"] == rounds[1]["eval_score_evolved"]
    assert summary["best_score"] == max(s for r in rounds for s in (r["eval_score"], r["eval_score_evolved"]))
    assert summary["env_steps"] == rounds[1]["env_steps"]

    weights = read_weights(tmp_path / "out" / "checkpoint" / "round-0002.npz")
    assert list(weights) == ["model0", "model1", "model2"]
    assert all(genome.shape == (2531,) and np.isfinite(genome).all() for genome in weights.values())


@pytest.mark.long
def test_without_out_a_run_gets_a_directory_of_its_own(tmp_path):
    for _ in range(2):
        assert run("--rounds", "1", "--population", "2", "--episodes", "1", cwd=tmp_path).returncode == 0
    assert len(list((tmp_path / "runs").glob("CartPole-v1-*"))) == 2


def test_no_rounds_do_nothing_and_say_so(in_tmp_path, capsys):
    assert main(["--rounds", "0"]) == 0
    assert capsys.readouterr().out == "0 rounds: nothing to do\n"
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--populaton", "5"], "unknown flag '--populaton'; did you mean '--population'"),
        (["--round", "5"], "did you mean '--rounds'"),
        (["fast"], "unexpected argument 'fast'"),
        (["--population"], "argument --population: expected one argument"),
        (["--population", "0"], "--population must be at least 1, got 0"),
        (["--population", "-1"], "--population must be at least 1, got -1"),
        (["--population", "many"], "--population must be a whole number, not 'many'"),
        (["--population", "2.5"], "--population must be a whole number, not '2.5'"),
        (["--rounds", "-1"], "--rounds must be at least 0, got -1"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--workers", "30"], "workers must be at most the population of 20, got 30"),
        (
            ["--link", "socket"],
            "--link must be 'queues' or 'inprocess' or 'sockets', not 'socket'; did you mean 'sockets'",
        ),
        (["--resume", "runs/x"], "runs/x: there is no such directory"),
        (["--resume", "."], ". is no run directory: one has config.yaml, metrics.jsonl and checkpoint/"),
        (["--preset", "fast"], "--preset must be 'default' or 'reference', not 'fast'"),
        (["--env", "CartPoole-v1"], "unknown environment 'CartPoole-v1'; did you mean 'CartPole-v1'"),
        (["--env", "tests.environments:Paired"], "supported: Discrete, MultiDiscrete, MultiBinary and Box of floats"),
        (["--config", "missing.yaml"], "missing.yaml: there is no such settings file"),
    ],
)
def test_a_wrong_flag_is_told_in_one_sentence_with_status_2(in_tmp_path, capsys, arguments, sentence):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("swarmsim: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "my.yaml is empty"),
        ("- 1", "my.yaml must be a mapping of settings"),
        ("populaton: 5", "my.yaml: unknown key 'populaton'; known: "),
        ("population: lots", "my.yaml: population must be a whole number, not 'lots'"),
        ("a2c: {gama: 0.9}", "my.yaml: a2c: unknown key 'gama'"),
        ("components: {x: {filepath: a.py}}", "components: only Swarm(config_file) runs scripts"),
    ],
)
def test_a_wrong_settings_file_is_told_in_one_sentence_with_status_2(in_tmp_path, capsys, text, sentence):
    Path("my.yaml").write_text(text)
    assert main(["--config", "my.yaml"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert [path.name for path in in_tmp_path.iterdir()] == ["my.yaml"]


def test_flags_win_over_the_file_and_the_file_over_the_defaults(in_tmp_path, capsys):
    Path("swarm.yaml").write_text("rounds: 1\npopulation: 4\nepisodes: 2\nlink: inprocess\nout: here\n")
    assert main(["--population", "2"]) == 0
    assert "2 models in 1 process act" in capsys.readouterr().out
    config = yaml.safe_load(Path("here/config.yaml").read_text())
    assert (config["rounds"], config["population"], config["link"]) == (1, 2, "inprocess")


def test_a_directory_that_holds_a_run_is_not_written_over(in_tmp_path, capsys):
    once = ["--rounds", "1", "--population", "2", "--episodes", "1", "--link", "inprocess", "--out", "here"]
    assert main(once) == 0
    before = Path("here/metrics.jsonl").read_text()
    assert main(once) == 2
    assert "out: here holds a run already; name another directory" in capsys.readouterr().err
    assert Path("here/metrics.jsonl").read_text() == before


def test_a_run_is_resumed_by_its_own_command_with_resume_added(in_tmp_path, capsys):
    once = ["--population", "2", "--episodes", "2", "--seed", "4", "--link", "inprocess", "--out", "here"]
    assert main([*once, "--rounds", "1"]) == 0
    assert main([*once, "--rounds", "2", "--resume", "here"]) == 0
    assert capsys.readouterr().err == ""
    assert len(Path("here/metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("file", "flags"),
    long_after(
        4,
        [
            (None, "--population 3 --episodes 4 --seed 1 --env CartPole-v1 --preset default"),
            (None, "--workers auto"),
            (None, "--workers 1 --link queues --verbose --no-progress"),
            (None, "--out RUN"),
            (None, "--out RUN/../run/"),
            ("population: 3\nepisodes: 4\nseed: 1\nworkers: auto\nout: auto\nlink: sockets\n", ""),
            ("seed: 5\npopulation: 3\n", "--seed 1"),
            ("preset: default\nppo: {gamma: 0.99, hidden: [32, 32]}\na2c:\nevolution: {fitness: advantage}\n", ""),
            ("settings: {python_cmd: python3}\n", ""),
        ],
    ),
)
def test_settings_that_repeat_the_runs_own_resume_it(copied_run, tmp_path, capsys, file, flags):
    (tmp_path / "my.yaml").write_text(file or "seed: 1")
    config = [] if file is None else ["--config", str(tmp_path / "my.yaml")]
    words = [word.replace("RUN", str(copied_run)) for word in flags.split()]
    assert main(["--resume", str(copied_run), "--rounds", "2", *config, *words]) == 0
    assert "2 rounds are done already" in capsys.readouterr().err
    values = {"seed": 1} if file is None else {"seed": 1, "config_file": tmp_path / "my.yaml"}
    assert len(swarmsim.run(resume=copied_run, rounds=2, **values)) == 2


@pytest.mark.parametrize(
    ("file", "flags", "sentence"),
    [
        (
            None,
            "--population 3 --seed 3",
            "--seed: the run in RUN has 1, not 3; a resumed run keeps all its settings but ",
        ),
        (None, "--workers 2", "--workers: the run in RUN has 1, not 2; "),
        (None, "--workers 30", "--workers: the run in RUN has 1, not 30; "),
        (None, "--eval-episodes 2", "--eval-episodes: the run in RUN has 1, not 2; "),
        (None, "--env Acrobot-v1", '--env: the run in RUN has "CartPole-v1", not "Acrobot-v1"; '),
        (None, "--preset reference", '--preset: the run in RUN has "default", not "reference"; '),
        (None, "--out other", '--out: the run in RUN has "RUN", not "other"; '),
        ("population: 3\nepisodes: 5\nseed: 2\n", "", "my.yaml: episodes: the run in RUN has 4, not 5; "),
        ("population: 3\nseed: 1\n", "--seed 2", "--seed: the run in RUN has 1, not 2; "),
        ("ppo: {hidden: [16]}\n", "", "my.yaml: ppo.hidden: the run in RUN has [32, 32], not [16]; "),
        ("preset: reference\n", "", 'my.yaml: preset: the run in RUN has "default", not "reference"; '),
        ("out:\n", "", 'my.yaml: out: the run in RUN has "RUN", not null; '),
        ("populaton: 3\n", "", "my.yaml: unknown key 'populaton'; "),
        ("components: {x: {filepath: a.py}}\n", "", "components: only Swarm(config_file) runs scripts"),
    ],
)
def test_a_setting_other_than_the_runs_own_is_refused_in_one_sentence(
    copied_run, in_tmp_path, capsys, file, flags, sentence
):
    Path("my.yaml").write_text(file or "")
    config = [] if file is None else ["--config", "my.yaml"]
    before = {path: path.read_bytes() for path in copied_run.rglob("*") if path.is_file()}
    assert main(["--resume", str(copied_run), "--rounds", "3", *config, *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"swarmsim: {sentence.replace('RUN', str(copied_run))}")
    if "the run in" in sentence:
        assert error.endswith(f"but {', '.join(CHANGEABLE)}\n")
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in copied_run.rglob("*") if path.is_file()} == before


def test_a_swarm_yaml_here_says_nothing_about_a_resumed_run(copied_run, in_tmp_path, capsys):
    Path("swarm.yaml").write_text("seed: 5\nrounds: 1\n")
    assert main(["--resume", str(copied_run), "--rounds", "2"]) == 0


@pytest.mark.parametrize("out", ["file/below", "file", "/proc/nothing/here"])
def test_a_directory_that_cannot_be_written_is_told(in_tmp_path, capsys, out):
    Path("file").write_text("")
    assert main(["--rounds", "1", "--out", out]) == 2
    error = capsys.readouterr().err
    assert f"out: {out} cannot be written: " in error
    assert error.count("\n") == 1


def test_the_last_lines_say_after_how_many_steps_a_run_was_solved_if_it_was(tmp_path):
    for threshold, told in ((12.5, ["solved after 20 training steps"]), (None, []), (14.0, [])):
        history = History({**SETTINGS, "reward_threshold": threshold}, tmp_path, [a_round(1), a_round(2)])
        assert [line for line in last_words(history, None, is_done=True) if "solved" in line] == told


def test_a_failing_component_ends_the_run_with_status_1_its_name_its_traceback_and_what_was_done(tmp_path):
    (tmp_path / "swarm.yaml").write_text("restart: never")
    done = run("--env", "tests.environments:Breaking-v0", "--population", "2", "--episodes", "2",
               "--envs", "1", "--rounds", "3", "--out", "out", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("swarmsim: component 'environment' failed: RuntimeError: the pole is broken")
    assert 'raise RuntimeError("the pole is broken")' in done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "results in out",
        f"pictures: out/scores.png and others; all on one page: {PROGRAM} report out",
        "last checkpoint: out/checkpoint/round-0002-begun.npz",
        f"resume with: {PROGRAM} --resume out",
    ]
    (failure,) = json.loads((tmp_path / "out" / "summary.json").read_text())["failures"]
    assert (failure["component"], failure["round"], failure["phase"], failure["healed"]) == (
        "environment", 2, "train", False,
    )  # fmt: skip
    kept = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in kept] == [1]
    assert "    1 " in done.stdout


def test_a_full_disk_ends_the_run_with_status_1_and_what_was_done(in_tmp_path, capsys, monkeypatch):
    write = Checkpoints.write

    def failing_write(self, number, state, complete):
        if number > 1:
            raise SettingsError("checkpoint cannot be written: No space left on device")
        return write(self, number, state, complete)

    monkeypatch.setattr(Checkpoints, "write", failing_write)
    once = ["--rounds", "3", "--population", "2", "--episodes", "1", "--link", "inprocess", "--out", "here"]
    assert main(once) == 1
    told = capsys.readouterr()
    assert told.err.endswith("swarmsim: checkpoint cannot be written: No space left on device\n")
    assert told.out.splitlines()[-2:] == [
        "last checkpoint: here/checkpoint/round-0001.npz",
        "resume with: swarmsim --resume here",
    ]
    monkeypatch.undo()
    assert main(["--resume", str(in_tmp_path / "here")]) == 0


def test_a_reader_that_goes_ends_the_run_without_a_traceback(tmp_path):
    program = [sys.executable, str(ROOT / "run.py"), "--rounds", "100", "--population", "2", "--episodes", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(program, cwd=tmp_path, env=environ(), **pipes)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(100) == 1


@pytest.mark.long  # tests/experiment/test_resume.py interrupts one
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_ends_with_status_130_and_the_table_so_far(tmp_path, name):
    arguments = ["--rounds", "1000", "--population", "2", "--episodes", "1", "--out", "out"]
    program = [sys.executable, str(ROOT / "run.py"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(program, cwd=tmp_path, env=environ(), **pipes)
    for line in process.stdout:
        if line.startswith("round 2"):
            break
    process.send_signal(signal.Signals[name])
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert err == "\nswarmsim: interrupted\n"
    assert "    1 " in out
    assert "results in out" in out


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_the_help_of_each_command_fits_a_screen_and_has_an_example(monkeypatch, capsys, command):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 80
    assert "Example: " in lines[-1]
    assert " ".join(command) in lines[-1]


def test_help_is_shown_on_a_terminal_whose_encoding_lacks_some_of_its_signs(tmp_path):
    program = [sys.executable, str(ROOT / "run.py"), "--help"]
    environment = environ(PYTHONIOENCODING="latin-1")
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_tells_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--eval-episodes" in text
    assert "(default: CartPole-v1)" in text
    for name in ("rounds", "population", "envs", "seed"):
        assert f"(default: {getattr(Config(), name)})" in text
