"""Environments are closed on every way out, shared where only one can be made, and say so if they cannot be drawn."""

import signal
import subprocess
import sys

import pytest
from PIL import Image

import swarmsim
from swarmsim.cli import main
from swarmsim.envs import close as close_module
from swarmsim.envs.make import EnvSource, make_env, properties_of
from swarmsim.envs.pool import EnvPool
from swarmsim.errors import ComponentFailed, SettingsError
from tests.conftest import LITTLE, ROOT, environ, is_ours, long_after
from tests.faults import border_environments as environments

HERE = "tests.faults.border_environments"
SMALL = {"envs": 1, "rounds": 1, "population": 2, "episodes": 2, "ppo": LITTLE, "progress": False, "out": None}
LINKS = ["queues", "sockets", "inprocess"]


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The file in which environments with helpers note them."""
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def helpers(log, word: str) -> list[str]:
    return sorted(line.split()[1] for line in log.read_text().splitlines() if line.startswith(word))


def all_closed(log) -> bool:
    return helpers(log, "opened") == helpers(log, "closed") and not any(
        is_ours(int(pid)) for pid in helpers(log, "opened")
    )


@pytest.mark.parametrize("link", LINKS)
def test_environments_are_closed_at_the_end_of_a_run(log, link):
    swarmsim.run(**SMALL, env=f"{HERE}:Helped", link=link)
    assert len(helpers(log, "opened")) == 3  # the launcher's look, training, evaluation
    assert all_closed(log)


@pytest.mark.parametrize(
    ("link", "env"), long_after(2, [("queues", "Failing"), ("inprocess", "Failing"), ("queues", "Terminated")])
)
def test_environments_are_closed_when_their_component_fails_or_is_terminated(log, link, env):
    with pytest.raises(ComponentFailed):
        swarmsim.run(**SMALL, env=f"{HERE}:{env}", link=link, restart="never")
    assert all_closed(log)


@pytest.mark.parametrize("link", long_after(1, LINKS))
def test_environments_are_closed_at_an_interrupt(log, link, monkeypatch, in_tmp_path):
    flags = ["--env", f"{HERE}:Helped", "--link", link, "--rounds", "1000", "--no-progress", "--out", "run"]
    command = [sys.executable, str(ROOT / "run.py"), *flags, "--population", "2", "--episodes", "1"]
    with subprocess.Popen(
        command, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        for line in program.stdout:
            if "round 1" in line:
                break
        program.send_signal(signal.SIGTERM)
        program.stdout.read()  # ends once no helper has it open any more
    assert program.returncode == 130
    assert all_closed(log)


def test_an_error_in_close_is_one_line(caplog):
    swarmsim.run(**SMALL, env=f"{HERE}:CloseRaises")
    lines = [line for line in caplog.messages if "close() failed" in line]
    assert set(lines) == {f"environment '{HERE}:CloseRaises': close() failed with RuntimeError: already closed"}


def test_a_close_that_hangs_is_stopped(monkeypatch, caplog):
    signal.setitimer(signal.ITIMER_REAL, 0)  # the alarm of this test itself
    monkeypatch.setattr(close_module, "CLOSE_SECONDS", 0.2)
    properties_of(f"{HERE}:CloseHangs")
    assert "close() took more than 0.2 s, and was stopped" in caplog.text
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


# --- simulators that run only once


@pytest.mark.parametrize(("envs", "link"), [("auto", "queues"), *((1, link) for link in LINKS)])
def test_evaluations_use_the_only_environment_that_can_be_made(log, link, envs):
    history = swarmsim.run(**SMALL | {"envs": envs}, env=f"{HERE}:Single", link=link)
    assert history[-1].eval_score == 10
    assert len(helpers(log, "opened")) == 2  # one after the other
    assert all_closed(log)


def test_auto_says_that_it_shares_and_own_and_shared_do_as_they_say(log, caplog):
    source = EnvSource(f"{HERE}:Single")
    pool = EnvPool(source, 1)
    assert pool.training == pool.evaluation
    assert "evaluations use the environments of training (eval_env: shared)" in caplog.text
    pool.close()
    with pytest.raises(SettingsError, match="FileExistsError.*beside 1 that could be made: eval_env: shared needs"):
        EnvPool(source, 1, "own")
    with pytest.raises(SettingsError, match="FileExistsError.*beside 1 that could be made: 'envs: 1' needs no more"):
        EnvPool(source, 2)
    pool = EnvPool(source, 3, at_least=1)
    assert pool.training == pool.evaluation
    assert "it plays 1 at a time, also in evaluations (envs: 1)" in caplog.text
    assert pool.some(1, is_evaluation=False) == pool.training
    with pytest.raises(SettingsError, match="2 were played side by side, and only 1 can be made here"):
        pool.some(2, is_evaluation=False)
    pool.close()
    assert all_closed(log)
    for sharing, number in (("own", 4), ("auto", 4), ("shared", 2)):
        pool = EnvPool(EnvSource("CartPole-v1"), 2, sharing)
        assert len({id(env) for env in (*pool.training, *pool.evaluation)}) == number
        pool.close()


# --- pictures


def played(tmp_path, env: str) -> int:
    swarmsim.run(**SMALL | {"out": str(tmp_path / "run")}, env=f"{HERE}:{env}", link="inprocess")
    return main(["play", str(tmp_path / "run"), "--gif", str(tmp_path / "play.gif")])


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ("Floats", "draws float64 of the shape (4, 6, 3); a picture is uint8 of the shape (height, width, 3)"),
        ("Nothing", "draws NoneType; a picture is"),
        ("Lists", "draws uint8 of the shape (1, 4, 6, 3); a picture is"),
        ("RenderRaises", "failed: RuntimeError: no GL context ("),
        ("NoMode", "cannot be made: TypeError: NoMode() takes no arguments"),
    ],
)
def test_what_is_no_picture_is_told_in_one_sentence(tmp_path, capsys, no_pictures, env, sentence):
    assert played(tmp_path, env) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"swarmsim: environment '{HERE}:{env}' {sentence}")
    assert error.count("\n") == 1
    assert not (tmp_path / "play.gif").exists()


@pytest.mark.parametrize("env", ["Grey", "Transparent", "Growing"])
def test_pictures_of_other_kinds_are_drawn(tmp_path, no_pictures, env):
    assert played(tmp_path, env) == 0
    with Image.open(tmp_path / "play.gif") as picture:
        assert picture.size == (6, 4)


@pytest.fixture
def no_pictures(monkeypatch):
    """Those of a run take longer than the run."""
    monkeypatch.setattr("swarmsim.experiment.experiment._write_pictures", lambda *_: None)


@pytest.mark.parametrize(("env", "length"), [("Drawing", 10), ("Endless", 20)])
def test_play_keeps_to_bad_values_and_limits_too(tmp_path, monkeypatch, capsys, no_pictures, env, length):
    monkeypatch.setattr(environments.Endless, "metadata", {"render_modes": ["rgb_array"]})
    monkeypatch.setattr(environments.Endless, "__init__", environments.Drawing.__init__)
    monkeypatch.setattr(environments.Endless, "render", environments.Drawing.render)
    monkeypatch.setattr(environments.Endless, "picture", environments.Drawing.picture, raising=False)
    swarmsim.run(**SMALL | {"out": str(tmp_path / "run")}, env=f"{HERE}:{env}", link="inprocess", max_episode_steps=20)
    flags = ["play", str(tmp_path / "run"), "--gif", str(tmp_path / "play.gif")]
    assert main(flags) == 0
    assert f"{length} steps" in capsys.readouterr().out
    monkeypatch.setattr(environments.Base, "VALUES", {"reward": None})
    assert main(flags) == 2
    assert "evaluation episode 1, step 3: the reward is None, which is no number\n" in capsys.readouterr().err


def test_an_environment_with_its_own_alarm_keeps_it():
    env = make_env("CartPole-v1")
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        close_module.close_all([env], "CartPole-v1")
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
