"""The second round of messages by itself: proposals, their ratings, and who comes, goes or repeats meanwhile."""

import numpy as np
import pytest

from swarmsim.components.main_job import MODELS
from swarmsim.components.persistence import StateStore
from swarmsim.components.rated_aggregation import RatedAggregation
from swarmsim.components.rating_models import RatingModels
from swarmsim.errors import MessageRefused
from swarmsim.learning.decision import mean_actions
from swarmsim.learning.hyperparameters import SACSettings
from swarmsim.learning.sac_networks import SACArchitecture
from swarmsim.learning.squash import squashed_gaussian
from tests.components.test_aggregation import Present

MEANS = {"model0": -0.5, "model1": 0.0, "model10": 0.5, "model2": 2.0}
RATINGS = {"model0": [1, 0, 0, 0], "model1": [0, 0, 0, 2], "model10": [0, 3, 0, 0], "model2": [0, 0, 1, 0]}
ORDER = ["model0", "model1", "model2", "model10"]


def aggregation(names=MEANS, **settings):
    return RatedAggregation(
        Present(names), StateStore(None), models=MODELS, seed=0, proposal_room="proposal", action_room="action",
        **{"led_fraction": 1.0, **settings},
    )  # fmt: skip


def logits(name, step=0, deterministic=True, run="run", **more):
    return {
        "ROOT_ID": run, "STEP": step, "COMPONENT_ID": name, "SENT_BY": name, "DETERMINISTIC": deterministic,
        "LOGITS": [MEANS[name], -1.0], "EPISODE": 0, **more,
    }  # fmt: skip


def rating(name, step=0, run="run", values=None):
    values = np.array(RATINGS[name] if values is None else values, float)[None, :, None]
    return {"ROOT_ID": run, "STEP": step, "COMPONENT_ID": name, "SENT_BY": name, "RATING": values}


def proposed(swarm, names=MEANS, **more):
    return [swarm.collect(logits(name, **more)) for name in names][-1]


def test_the_models_means_are_proposed_in_their_order_once_no_model_is_missing():
    swarm = aggregation()
    answers = [swarm.collect(logits(name)) for name in MEANS]
    assert answers[:-1] == [None] * 3
    message = answers[-1]
    assert message["PROPOSAL"][:, 0, 0] == pytest.approx(np.tanh([MEANS[name] for name in ORDER]))
    assert (message["TO_ROOM"], message["STEP"], message["ROOT_ID"]) == ("proposal", 0, "run")
    assert "ACTION" not in message


def test_the_proposal_with_the_highest_mean_rating_is_taken_in_whatever_order_the_ratings_come():
    for order in (list(RATINGS), list(reversed(RATINGS))):
        swarm = aggregation()
        proposed(swarm)
        answers = [swarm.rate(rating(name)) for name in order]
        assert answers[:-1] == [None] * 3
        assert answers[-1]["ACTION"] == pytest.approx([0.0])  # model1's proposal, which model10 rates 3
        assert (answers[-1]["TO_ROOM"], answers[-1]["STEP"], answers[-1]["ROOT_ID"]) == ("action", 0, "run")
        assert "LOG_PROB" not in answers[-1]


def test_packed_models_and_several_environments_are_rated_alike():
    swarm = aggregation()
    values = np.array([[[mean, -1.0], [-mean, -1.0]] for mean in MEANS.values()])
    together = {"COMPONENT_ID": list(MEANS), "LOGITS": values}
    message = swarm.collect({**logits("model0"), **together, "EPISODE": [0, 1]})
    assert message["PROPOSAL"].shape == (4, 2, 1)
    ratings = np.zeros((4, 4, 2))
    ratings[:, 3, 0] = ratings[:, 0, 1] = 1
    answer = swarm.rate({**rating("model0"), "COMPONENT_ID": list(MEANS), "RATING": ratings})
    assert answer["ACTION"].tolist() == [message["PROPOSAL"][3, 0].tolist(), message["PROPOSAL"][0, 1].tolist()]


def test_training_needs_no_rating_and_each_episode_is_led_by_one_model():
    swarm = aggregation()
    led = []
    for step in range(100):
        answer = proposed(swarm, step=step, deterministic=False)
        assert (answer["TO_ROOM"], answer["STEP"]) == ("action", step)
        assert "LOG_PROB" not in answer
        led.append(float(answer["ACTION"][0]))
    spread, leader = np.arctanh(led).std(), np.arctanh(led).mean()
    assert spread == pytest.approx(np.exp(-1.0), rel=0.3)  # a mixture of all models would be three times as wide
    assert min(abs(leader - mean) for mean in MEANS.values()) < 0.15
    contribution = swarm.contributions.contribution()
    assert sum(contribution.values()) == pytest.approx(1.0)
    assert min(contribution.values()) > 0  # models near the leader would have done the same


def test_evaluations_that_draw_their_actions_need_no_rating_and_draw_alike():
    swarm = aggregation(eval_deterministic=False)
    first, again = ([proposed(swarm, step=step, run=run)["ACTION"][0] for step in range(20)] for run in "ab")
    assert first == again
    assert len(set(first)) == 20


def test_the_step_goes_on_without_a_model_that_leaves_before_it_has_rated():
    swarm = aggregation()
    proposed(swarm)
    for name in ("model0", "model1", "model10"):
        assert swarm.rate(rating(name)) is None
    answer = swarm.handle_disconnect({"COMPONENTS": ["model2"]})
    assert (answer["TO_ROOM"], answer["ACTION"]) == ("action", pytest.approx([0.0]))
    assert proposed(swarm, ["model0", "model1", "model10"], step=1)["PROPOSAL"].shape == (3, 1, 1)


def test_the_step_is_proposed_without_a_model_that_leaves_before_it_has_answered():
    swarm = aggregation()
    for name in ("model0", "model1", "model10"):
        assert swarm.collect(logits(name)) is None
    message = swarm.handle_disconnect({"COMPONENTS": ["model2"]})
    assert (message["TO_ROOM"], message["PROPOSAL"].shape) == ("proposal", (3, 1, 1))


def test_what_a_model_has_rated_before_it_leaves_does_not_stand_for_another():
    swarm = aggregation()
    proposed(swarm)
    swarm.rate(rating("model10"))
    assert swarm.handle_disconnect({"COMPONENTS": ["model10"]}) is None
    assert [swarm.rate(rating(name)) for name in ("model0", "model1")] == [None, None]
    assert swarm.rate(rating("model2"))["ACTION"] == pytest.approx(np.tanh([0.5]))  # without the 3 of model10


def test_if_all_leave_one_that_comes_back_gets_the_proposals_again_and_rates_them():
    swarm = aggregation(["model0", "model1"])
    message = proposed(swarm, ["model0", "model1"])
    assert swarm.handle_disconnect({"COMPONENTS": ["model0", "model1"]}) is None
    again = swarm.collect(logits("model1"))
    assert again == message
    assert swarm.rate(rating("model1", values=[5, 0]))["ACTION"] == pytest.approx(np.tanh([-0.5]))


def test_a_repeated_answer_changes_no_proposal_and_a_repeated_rating_counts_once():
    swarm = aggregation(["model0", "model1"])
    message = proposed(swarm, ["model0", "model1"])
    assert swarm.collect(logits("model0")) == message
    assert swarm.rate(rating("model0", values=[5, 0])) is None
    assert swarm.rate(rating("model0", values=[1, 0])) is None
    assert swarm.rate(rating("model1", values=[0, 3]))["ACTION"] == pytest.approx([0.0])
    assert swarm.rate(rating("model1", values=[0, 3])) is None
    assert swarm.collect(logits("model0")) is None  # the step was decided


@pytest.mark.parametrize("step", [np.zeros(3), "0", None, 1.5])
def test_an_answer_without_a_usable_step_does_not_have_the_proposals_sent_again(step):
    swarm = aggregation(["model0", "model1"])
    proposed(swarm, ["model0", "model1"])
    with pytest.raises(MessageRefused, match="STEP from 'model0' is a whole number"):
        swarm.collect(logits("model0", step=step))


@pytest.mark.parametrize("late", [{"step": 0}, {"step": 1, "run": "before"}, {"step": 2}])
def test_a_rating_of_another_step_or_job_counts_nothing(late):
    swarm = aggregation(["model0"])
    proposed(swarm, ["model0"], step=1)
    assert swarm.rate(rating("model0", values=[1], **late)) is None
    assert swarm.rate(rating("model0", values=[1], step=1))["STEP"] == 1


def test_a_job_that_ends_or_another_one_that_begins_leaves_no_step_open():
    swarm = aggregation(["model0"])
    proposed(swarm, ["model0"])
    proposed(swarm, ["model0"], run="another")
    assert swarm.rate(rating("model0", values=[1])) is None
    done = {"ROOT_ID": "another", "STATUS": "ENV_DONE", "AVG_SCORE": 9.0, "SENT_BY": "environment"}
    assert swarm.finish_job(done) is None
    assert swarm.rate(rating("model0", values=[1], run="another")) is None
    assert swarm.handle_disconnect({"COMPONENTS": ["model0"]}) is None
    assert swarm.collect(logits("model0", run="another")) is None


def test_a_replacement_of_the_aggregation_proposes_the_step_again():
    swarm = aggregation(["model0"])
    proposed(swarm, ["model0"], step=3)
    other = aggregation(["model0"])
    other.restore({**swarm.state(), "run": None})
    assert other.rate(rating("model0", values=[1], step=3)) is None
    assert proposed(other, ["model0"], step=3)["PROPOSAL"].shape == (1, 1, 1)
    assert other.rate(rating("model0", values=[1], step=3))["STEP"] == 3


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"RATING": np.full((1, 2, 1), np.nan)}, "RATING from 'model0' is finite ratings of all proposals by 1"),
        ({"RATING": np.zeros((2, 2, 1))}, "by 1 component"),
        ({"RATING": np.zeros((1, 3, 1))}, "RATING from 'model0' is for 2 proposal.s. in 1 environment"),
        ({"RATING": "high"}, "made of numbers"),
        ({"COMPONENT_ID": 7}, "a component's name or several"),
        ({"STEP": -1}, "a whole number from 0"),
    ],
)
def test_a_rating_that_cannot_be_used_is_refused_and_changes_nothing(wrong, sentence):
    swarm = aggregation(["model0", "model1"])
    proposed(swarm, ["model0", "model1"])
    swarm.rate(rating("model1", values=[1, 0]))
    with pytest.raises(MessageRefused, match=sentence):
        swarm.rate({**rating("model0", values=[0, 0]), **wrong})
    assert swarm.rate(rating("model0", values=[0, 0]))["ACTION"] == pytest.approx(np.tanh([-0.5]))


# --- the other side


def models():
    return RatingModels(
        Present([]), StateStore(None), components=["model0", "model1"], architecture=SACArchitecture(3, 1, (8,)),
        learning=SACSettings(hidden=(8,), replay_size=8), hyperparameters=np.full((2, 1), 1e-3), seed=0, timeout=9.0,
        control_room="control",
    )  # fmt: skip


def shown(step, run="run", deterministic=True):
    return {"ROOT_ID": run, "STEP": step, "OBSERVATION": np.ones(3, np.float32) * step, "DETERMINISTIC": deterministic}


def a_proposal(step, run="run"):
    return {"ROOT_ID": run, "STEP": step, "PROPOSAL": np.array([[[0.1]], [[0.2]], [[-0.9]]], np.float32)}


@pytest.mark.parametrize("deterministic", [True, False])
def test_models_rate_proposals_for_the_observation_that_they_answered_last(deterministic):
    swarm = models()
    assert swarm.rate(a_proposal(0)) is None
    answer = swarm.observe(shown(4, deterministic=deterministic))
    gaussian = squashed_gaussian(1)
    assert mean_actions(answer["LOGITS"][:, None].astype(float), gaussian).shape == (2, 1, 1)
    message = swarm.rate(a_proposal(4))
    assert message["RATING"].shape == (2, 3, 1)
    expected = swarm.learner.rate(np.full((1, 3), 4, np.float32), a_proposal(4)["PROPOSAL"])
    assert np.array_equal(message["RATING"], expected)
    assert (message["COMPONENT_ID"], message["STEP"]) == (["model0", "model1"], 4)
    assert swarm.rate(a_proposal(3)) is None
    assert swarm.rate(a_proposal(4, run="another")) is None
    swarm.observe({**shown(5, deterministic=deterministic), "LAST": True, "ACTION": [0.1], "REWARD": 1.0, "DONE": True})
    assert swarm.rate(a_proposal(5)) is None
