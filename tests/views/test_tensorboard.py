"""Events as TensorBoard itself reads them."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import swarmsim
from swarmsim.errors import SettingsError
from swarmsim.learning.learner import STAT_NAMES
from tests.conftest import LITTLE

SMALL = {"rounds": 2, "population": 3, "episodes": 3, "ppo": LITTLE, "link": "inprocess"}


def read(path) -> EventAccumulator:
    events = EventAccumulator(str(path))
    events.Reload()
    return events


def curve(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_all_figures_of_a_run_are_there_over_its_training_steps(tmp_path):
    history = swarmsim.run(**SMALL, out=str(tmp_path / "run"), tensorboard=True)
    events = read(tmp_path / "run" / "tensorboard")
    for tag, key in (
        ("score/train", "train_score"),
        ("score/eval", "eval_score"),
        ("score/eval_evolved", "eval_score_evolved"),
        ("population/diversity", "diversity"),
        ("time/steps_per_second", "steps_per_second"),
    ):
        assert curve(events, tag) == [(r.env_steps, pytest.approx(getattr(r, key))) for r in history]
    assert curve(events, "contribution/model1") == [
        (r.env_steps, pytest.approx(r.contribution["model1"])) for r in history
    ]
    for name in STAT_NAMES:
        assert len(curve(events, f"learning/{name}")) == 2
    assert all(0 < value <= 0.7 for _, value in curve(events, "learning/entropy"))  # of two actions: at most log 2
    histogram = events.Histograms("contribution")[-1].histogram_value
    assert (histogram.num, histogram.sum) == (3, pytest.approx(1.0))


def test_evaluations_within_training_are_at_their_own_steps(tmp_path):
    history = swarmsim.run(**SMALL, eval_every=20, out=str(tmp_path / "run"), tensorboard=True)
    found = curve(read(tmp_path / "run" / "tensorboard"), "score/eval_within_training")
    assert found == [(steps, pytest.approx(score)) for r in history for steps, score in r.evaluations]
    assert found


def test_a_run_that_is_gone_on_with_goes_on_with_its_curves(tmp_path):
    out = str(tmp_path / "run")
    swarmsim.run(**SMALL | {"rounds": 1}, out=out, tensorboard=True)
    history = swarmsim.run(resume=out, rounds=2, tensorboard=True)
    assert curve(read(tmp_path / "run" / "tensorboard"), "score/train") == [
        (r.env_steps, pytest.approx(r.train_score)) for r in history
    ]


def test_rounds_before_it_was_asked_for_are_written_too(tmp_path):
    out = str(tmp_path / "run")
    swarmsim.run(**SMALL | {"rounds": 1}, out=out)
    history = swarmsim.run(resume=out, rounds=2, tensorboard=True)
    assert len(curve(read(tmp_path / "run" / "tensorboard"), "score/train")) == len(history)


def test_a_run_without_files_cannot_have_it():
    with pytest.raises(
        SettingsError, match="tensorboard: its events are written into the run directory, but out is empty"
    ):
        swarmsim.run(**SMALL, out=None, tensorboard=True)


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "swarmsim.views.tensorboard", None)
    with pytest.raises(SettingsError, match=r"is not installed; pip install -e .\[tensorboard\] has it"):
        swarmsim.run(**SMALL, out=None, tensorboard=True)
