"""Population-based training and joint learning in whole runs: the same on every link and packing, and repeatable."""

import json
from pathlib import Path

import pytest

import swarmsim
from swarmsim.results.history import TIMES
from tests.conftest import LITTLE, long_after

# All lead in turn, and any difference counts, so that copies are made in every run as small as this.
LED = {"led_fraction": 1.0, "min_difference": 0.0, "copied_fraction": 0.5}
NAMES = ["learning_rate", "ent_coef", "gae_lambda", "clip_range"]
SMALL = {
    "rounds": 4,
    "population": 4,
    "episodes": 5,
    "seed": 3,
    "max_episode_steps": 60,
    "ppo": {**LITTLE, "learning_rate": 2e-3, "ent_coef": 0.01},
    "evolution": {**LED, "hyperparameters": NAMES},
}


def rounds_of(**settings) -> list[dict]:
    rounds = [record.encode() for record in swarmsim.run(**{**SMALL, "out": None, **settings})]
    return [{key: value for key, value in values.items() if key not in TIMES} for values in rounds]


@pytest.fixture(scope="module")
def once() -> list[dict]:
    return rounds_of(link="inprocess", workers=1)


def test_copies_are_made_and_go_on_with_other_hyperparameters_than_their_parents(once):
    copied = [(number, child, parent) for number, r in enumerate(once) for child, parent in r["parents"].items()]
    assert copied
    for number, child, parent in copied:
        before, now = once[number]["hyperparameters"][parent], once[number + 1]["hyperparameters"] if number < 3 else {}
        if now:
            ratio = now[child]["learning_rate"] / before["learning_rate"]
            assert ratio == pytest.approx(1.4) or ratio == pytest.approx(1 / 1.4)
    first = once[0]["hyperparameters"]
    assert all(len({first[name][key] for name in first}) == 4 for key in NAMES)


@pytest.mark.parametrize(
    "settings",
    long_after(1, [{"workers": 2}, {"link": "sockets", "workers": 3}, {"workers": 4, "start_method": "spawn"}]),
    ids=str,
)
def test_own_hyperparameters_are_the_same_on_every_link_and_for_every_packing(once, settings):
    assert rounds_of(**settings) == once


@pytest.mark.parametrize("learner", ["ppo", "a2c"])
@pytest.mark.parametrize("rule", long_after(1, ["weighted", "product", "majority", "rank"]))
def test_every_rule_credits_models_alike_for_every_packing(learner, rule):
    settings = {"aggregation": rule, "learner": learner, "rounds": 2, "envs": 2}
    assert rounds_of(**settings, link="inprocess", workers=1) == rounds_of(**settings, workers=2)


@pytest.mark.long
def test_leaders_by_thompson_sampling_are_the_same_twice_and_others_than_in_turn(once):
    evolution = {**SMALL["evolution"], "leader": "thompson"}
    drawn = rounds_of(evolution=evolution, link="inprocess")
    assert drawn == rounds_of(evolution=evolution, workers=2)
    assert drawn != once


def test_joint_learning_is_other_learning_than_each_on_its_own(once):
    own = rounds_of(link="inprocess", ppo={**SMALL["ppo"], "credit": "own"})
    assert own[-1]["train_returns"] != once[-1]["train_returns"]


def test_a_schedule_that_was_found_is_repeated_whoever_is_worth_what(in_tmp_path, once):
    swarmsim.run(**SMALL, out="found", link="inprocess")
    evolution = {**SMALL["evolution"], "schedule": "found/metrics.jsonl", "min_difference": 1e9}
    assert rounds_of(evolution=evolution, link="inprocess") == once
    other = rounds_of(evolution=evolution, seed=7, workers=2)
    for key in ("parents", "hyperparameters"):
        assert [r[key] for r in other] == [r[key] for r in once]
    assert other[0]["train_returns"] != once[0]["train_returns"]


def test_a_schedule_that_does_not_fit_is_refused_before_anything_starts(in_tmp_path):
    swarmsim.run(**{**SMALL, "rounds": 1}, out="found", link="inprocess")
    path = Path("found/metrics.jsonl")

    def refused(schedule, sentence, **settings):
        evolution = {"schedule": schedule}
        with pytest.raises(swarmsim.SettingsError, match=sentence):
            swarmsim.run(**{**SMALL, **settings, "evolution": evolution}, out=None, link="inprocess")

    refused("nowhere.jsonl", "evolution.schedule: nowhere.jsonl cannot be read: No such file")
    refused(str(path), "says nothing of model4: its run must have had .* at least 5 models", population=5)
    Path("other.jsonl").write_text(json.dumps({"round": 1}) + "\n")
    refused("other.jsonl", "other.jsonl is no metrics.jsonl of a run")
    Path("other.jsonl").write_text("")
    refused("other.jsonl", "other.jsonl holds no round yet")


def test_a_hyperparameter_that_does_not_exist_is_refused_with_the_nearest_one():
    sentence = "unknown hyperparameter 'learning_rat'.*did you mean 'learning_rate'"
    with pytest.raises(swarmsim.SettingsError, match=sentence):
        swarmsim.run(evolution={"hyperparameters": ["learning_rat"]})


def test_without_evolution_all_keep_what_they_began_with():
    rounds = rounds_of(link="inprocess", rounds=2, evolution={**SMALL["evolution"], "kind": "none"})
    assert rounds[0]["hyperparameters"] == rounds[1]["hyperparameters"]
    assert not any(r["parents"] for r in rounds)
