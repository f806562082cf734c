"""`swarmsim play`: what is seen, and what is said."""

import re
import sys
import warnings

import pytest
from PIL import Image

import swarmsim
from swarmsim.cli import main
from swarmsim.commands.play import SCREENS

CARTPOLE = (600, 400)


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    """No window opens on who runs the tests, and what a command sets does not outlive it."""
    for name in SCREENS:
        monkeypatch.setenv(name, "")


def returns_in(out: str) -> list[float]:
    return [float(found) for found in re.findall(r"^episode \d+  return (\S+)", out, re.MULTILINE)]


def test_a_gif_shows_each_frame_of_the_last_evaluation_at_its_own_speed(a_run, tmp_path, capfd):
    path = tmp_path / "play.gif"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["play", str(a_run.directory), "--gif", str(path)]) == 0
    captured = capfd.readouterr()
    score = a_run[-1].eval_score_evolved
    told = f"episode 1  return {score:g}  {score:.0f} steps\nmean return {score:g}\npicture in {path}\n"
    assert (captured.out, captured.err) == (told, "")
    with Image.open(path) as picture:
        assert picture.size == CARTPOLE
        assert picture.n_frames > score / 4  # one that shows no change makes the one before it stay longer
        assert _milliseconds(picture) == 20 * (score + 1)  # at 50 frames a second
        assert picture.info["loop"] == 0
        picture.seek(picture.n_frames - 1)
        assert picture.convert("RGB").getcolors(1 << 20)[0][0] < 600 * 400  # something is drawn


@pytest.mark.long
def test_the_swarm_of_the_best_evaluation_plays_its_episodes_again(tmp_path, capsys):
    settings = {"rounds": 2, "population": 3, "episodes": 5, "preset": "reference", "link": "inprocess"}
    history = swarmsim.run(**settings, eval_every=10, out=str(tmp_path / "run"))
    best = max(score for *_, score in history.evaluations)
    assert best > history[-1].eval_score_evolved
    capsys.readouterr()
    assert main(["play", str(tmp_path / "run"), "--best", "--gif", str(tmp_path / "play.gif")]) == 0
    assert returns_in(capsys.readouterr().out) == [best]


def _milliseconds(picture: Image.Image) -> int:
    total = 0
    for index in range(picture.n_frames):
        picture.seek(index)
        total += picture.info["duration"]
    return total


def test_a_window_is_played_in_where_there_is_a_screen(a_run, monkeypatch, capsys):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    opened = []
    make = swarmsim.envs.make.gymnasium.make
    monkeypatch.setattr(
        swarmsim.envs.make.gymnasium,
        "make",
        lambda *a, **settings: opened.append(settings) or make(*a, **settings),
    )
    first = a_run.directory / "checkpoint" / "round-0001.npz"
    assert main(["play", str(first)]) == 0
    assert returns_in(capsys.readouterr().out) == [a_run[0].eval_score_evolved]
    assert opened[-1]["render_mode"] == "human"


def test_without_a_screen_it_says_what_to_do(a_run, capsys):
    assert main(["play", str(a_run.directory)]) == 2
    sentence = "there is no screen to play on; --gif FILE writes a picture instead of opening a window"
    assert capsys.readouterr().err == f"swarmsim: {sentence}\n"


def test_without_pygame_it_says_how_to_get_it(a_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pygame", None)
    assert main(["play", str(a_run.directory), "--gif", str(tmp_path / "play.gif")]) == 2
    captured = capsys.readouterr()
    assert "CartPole-v1 cannot be drawn: pygame is not installed" in captured.err
    assert captured.err.endswith("pip install -e .[play] brings pygame\n")
    assert (captured.err.count("\n"), captured.out, list(tmp_path.iterdir())) == (1, "", [])


@pytest.mark.long
def test_episodes_members_draws_and_seeds_are_as_asked_for(a_run, tmp_path, capsys):
    first = str(a_run.directory / "checkpoint" / "round-0001.npz")

    def returns(*flags: str) -> list[float]:
        assert main(["play", first, "--gif", str(tmp_path / "play.gif"), "--episodes", "3", *flags]) == 0
        out = capsys.readouterr().out
        found = returns_in(out)
        assert float(re.search(r"mean return (\S+)", out)[1]) == pytest.approx(sum(found) / 3, rel=1e-5)
        return found

    swarm = returns()
    assert swarm[0] == a_run[0].eval_score_evolved
    assert len(swarm) == 3
    assert returns("--member", "model0") != swarm
    assert returns("--seed", "2") != swarm
    drawn = returns("--stochastic")
    assert drawn != swarm
    assert returns("--stochastic") == drawn


def test_an_environment_that_draws_nothing_is_told(tmp_path, capsys):
    settings = {"rounds": 1, "population": 2, "episodes": 1, "link": "inprocess", "progress": False}
    swarmsim.run(**settings, env="tests.environments:Composed", out=str(tmp_path / "run"))
    assert main(["play", str(tmp_path / "run"), "--gif", str(tmp_path / "play.gif")]) == 2
    sentence = "tests.environments:Composed draws no pictures: its render modes are none"
    assert capsys.readouterr().err == f"swarmsim: {sentence}\n"


def test_an_environment_whose_observations_are_no_box_is_played(tmp_path, capsys):
    settings = {"rounds": 1, "population": 2, "episodes": 1, "link": "inprocess", "progress": False}
    history = swarmsim.run(**settings, env="FrozenLake-v1", out=str(tmp_path / "run"))
    assert main(["play", str(tmp_path / "run"), "--gif", str(tmp_path / "play.gif")]) == 0
    assert returns_in(capsys.readouterr().out) == [history[-1].eval_score_evolved]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: DIR"),
        (["missing", "--gif", "x.gif"], "missing: there is no such directory"),
        (["RUN", "--gif", "no/x.gif"], "--gif: there is no directory no"),
        (["RUN", "--gif", "x.gif", "--episodes", "0"], "--episodes must be a whole number, at least 1, not '0'"),
        (["RUN", "--gif", "x.gif", "--seed", "one"], "--seed must be a whole number, at least 0, not 'one'"),
        (["RUN", "--gif", "x.gif", "--member", "model3"], "unknown member 'model3'; known: model0, model1, model2"),
        (["RUN", "--stochastc"], "unknown flag '--stochastc'; did you mean '--stochastic'"),
    ],
)
def test_what_cannot_be_played_is_told_in_one_sentence_with_status_2(a_run, in_tmp_path, capsys, arguments, sentence):
    assert main(["play", *(str(a_run.directory) if word == "RUN" else word for word in arguments)]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
    assert list(in_tmp_path.iterdir()) == []
