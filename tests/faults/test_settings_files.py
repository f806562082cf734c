"""Settings files mean what they say: no key twice, `~` is the home folder, and any path can be named."""

import os
import re
from pathlib import Path

import pytest

import swarmsim
from swarmsim.cli import main
from swarmsim.config import make_config, read_file
from swarmsim.errors import SettingsError
from tests.faults.projects import SETTINGS, write, write_task

FLAGS = ["--rounds", "1", "--population", "2", "--episodes", "1", "--no-progress"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rounds: 1\nseed: 1\nrounds: 2\n", "the key 'rounds' is there twice, in lines 1 and 3"),
        ("rounds: 1\n'rounds' : 2\n", "the key 'rounds' is there twice, in lines 1 and 2"),
        ("ppo:\n  gamma: 0.9\n  gamma: 0.8\n", "the key 'gamma' is there twice, in lines 2 and 3"),
        ("components:\n  x: {filepath: a.py}\n  y: {filepath: b.py}\n  x: {filepath: c.py}\n", "'x' is there twice"),
        ("env_kwargs:\n  a:\n  - b: 1\n    b: 2\n", "the key 'b' is there twice, in lines 3 and 4"),
        ("env_kwargs: {a: 1, a: 2}\n", "the key 'a' is there twice, in line 1"),
        ("env_kwargs: &both\n  a: 1\n  a: 2\nppo: *both\n", "the key 'a' is there twice, in lines 2 and 3"),
        ("env_kwargs:\n  <<: {a: 1}\n  <<: {b: 1}\n", "the key '<<' is there twice, in lines 2 and 3"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(in_tmp_path, capsys, text, sentence):
    Path("my.yaml").write_text(text)
    assert main(["--config", "my.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("swarmsim: my.yaml ")
    assert sentence in error
    assert error.count("\n") == 1


def test_a_key_that_overrides_a_merged_one_stands_once(tmp_path):
    text = "ppo: &base {gamma: 0.9, n_steps: 2}\nenv_kwargs: {<<: *base, gamma: 0.8}\n"
    (tmp_path / "my.yaml").write_text(text)
    config = make_config(read_file(tmp_path / "my.yaml"), "my.yaml")
    assert config.env_kwargs == {"gamma": 0.8, "n_steps": 2}


def test_a_key_that_stands_twice_in_a_runs_settings_is_refused(copied_run):
    with (copied_run / "config.yaml").open("a") as file:
        file.write("seed: 5\n")
    with pytest.raises(SettingsError, match=r"config\.yaml is damaged: the key 'seed' is there twice, in lines"):
        swarmsim.run(resume=copied_run, rounds=3)


def test_a_tilde_is_the_home_folder_in_every_path(in_tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(in_tmp_path / "home"))
    write_task(in_tmp_path / "home" / "tasks" / "my_task.py")
    settings = "env: my_task:Task\nmodules: ~/tasks\nout: ~/run\nlink: inprocess\n"
    write(in_tmp_path / "home" / "my.yaml", settings)
    assert main(["--config", "~/my.yaml", *FLAGS]) == 0
    assert main(["--resume", "~/run", "--config", "~/my.yaml", "--rounds", "2", "--no-progress"]) == 0
    assert main(["export", "~/run", "--out", "~/policy.pt"]) == 0
    assert main(["report", "~/run", "--out", "~/report.html"]) == 0
    assert {path.name for path in Path("home").iterdir()} == {"my.yaml", "tasks", "run", "policy.pt", "report.html"}
    assert [path.name for path in Path().iterdir()] == ["home"]


def test_a_home_folder_that_is_not_known_is_told(in_tmp_path, capsys):
    assert main(["--out", "~nobody-of-this-name/run", *FLAGS]) == 2
    assert re.search("no home folder that ~nobody-of-this-name could stand for", capsys.readouterr().err)


@pytest.mark.long
def test_paths_that_are_not_utf8_work(in_tmp_path, capsys):
    folder = os.fsdecode(b"not utf-8 \xff")
    write_task(in_tmp_path / folder / "my_task.py")
    settings = {**SETTINGS, "env": "my_task:Task", "modules": folder, "out": f"{folder}/run"}
    swarmsim.run(**settings)
    assert len(swarmsim.run(resume=f"{folder}/run", rounds=2)) == 2
    assert main(["report", f"{folder}/run", "--out", f"{folder}/report.html"]) == 0
    assert main(["export", f"{folder}/run"]) == 0


@pytest.mark.long
def test_a_resumed_run_takes_its_own_values_and_what_no_result_depends_on(copied_run, monkeypatch):
    monkeypatch.chdir(copied_run.parent)
    repeated = ["--population", "3", "--seed", "1", "--env", "CartPole-v1", "--workers", "auto", "--no-progress"]
    assert main(["--resume", "run", "--rounds", "3", *repeated, "--out", str(copied_run)]) == 0
    changed = {"rounds": 4, "timeout": 90, "start_timeout": 70, "max_restarts": 1, "checkpoints": 2}
    history = swarmsim.run(resume="run", out="run", **changed)
    assert len(history) == 4
    assert len(list((copied_run / "checkpoint").glob("round-*.npz"))) == 2
