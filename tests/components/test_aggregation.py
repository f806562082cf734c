"""The aggregation by itself: a client that only tells who is there."""

import numpy as np
import pytest

from swarmsim.components.aggregation import Aggregation, Ledger
from swarmsim.components.fields import component_order
from swarmsim.learning.aggregate import contributions, diversity, softmax

LOGITS = {"model0": [2.0, 0.0], "model1": [1.0, 0.0], "model10": [0.0, 0.5], "model2": [-1.0, 1.0]}


class Present:
    """Stands in for a client, where only presence matters."""

    def __init__(self, names):
        self.names = list(names)

    def components_in(self, room):
        assert room == "observation"
        return self.names


def aggregation(names=LOGITS, seed=0):
    return Aggregation(Present(names), models_room="observation", seed=seed)


def logits(name, step=0, deterministic=True, run="run", values=None, **more):
    return {
        "ROOT_ID": run, "STEP": step, "COMPONENT_ID": name, "SENT_BY": name, "DETERMINISTIC": deterministic,
        "LOGITS": LOGITS[name] if values is None else values, **more,
    }  # fmt: skip


def test_two_who_speak_for_the_same_component_count_once():
    swarm = aggregation(["model0", "model1", "model2"])
    one, other = ["model0", "model1"], ["model1"]
    first = logits("model0", values=[LOGITS[name] for name in one]) | {"COMPONENT_ID": one}
    again = logits("model0", values=[LOGITS[name] for name in other]) | {"COMPONENT_ID": other}
    assert swarm.collect(first) is None
    assert swarm.collect(again) is None
    assert swarm.collect(logits("model2"))["ACTION"] == 0


def test_the_action_comes_with_the_last_model_and_in_whatever_order_they_speak():
    for order in (list(LOGITS), list(reversed(LOGITS))):
        swarm = aggregation()
        answers = [swarm.collect(logits(name)) for name in order]
        assert answers[:-1] == [None] * 3
        assert answers[-1]["ACTION"] == 0
        assert (answers[-1]["STEP"], answers[-1]["ROOT_ID"]) == (0, "run")


def test_sampled_actions_do_not_depend_on_the_order_of_arrival():
    def actions(order):
        swarm = aggregation()
        return [
            [swarm.collect(logits(name, step, deterministic=False)) for name in order][-1]["ACTION"]
            for step in range(50)
        ]

    first = actions(list(LOGITS))
    assert first == actions(list(reversed(LOGITS)))
    assert set(first) == {0, 1}


def test_packed_models_and_several_environments_are_read_alike():
    names, values = list(LOGITS), np.array([[LOGITS[name], [0.0, 3.0]] for name in LOGITS])
    swarm = aggregation()
    answer = swarm.collect(logits("model0", values=values) | {"COMPONENT_ID": names})
    assert answer["ACTION"].tolist() == [0, 1]


def test_an_answer_that_comes_after_its_step_was_decided_is_left_out():
    swarm = aggregation(["model0"])
    assert swarm.collect(logits("model0", step=0))["STEP"] == 0
    assert swarm.collect(logits("model1", step=0)) is None
    assert swarm.collect(logits("model0", step=1))["STEP"] == 1


def test_a_new_run_begins_anew_and_expects_who_is_there_then():
    swarm = aggregation(["model0", "model1"])
    assert swarm.collect(logits("model0", run="first")) is None
    swarm.client.names = ["model0"]
    assert swarm.collect(logits("model0", run="second"))["ROOT_ID"] == "second"


def test_the_step_goes_on_without_a_model_that_has_gone_even_if_it_was_the_last_one_waited_for():
    swarm = aggregation(["model0", "model1"])
    assert swarm.collect(logits("model0")) is None
    swarm.client.names = ["model0"]
    answer = swarm.leave({"TYPE": "COMMAND/DISCONNECT", "COMPONENTS": ["model1"]})
    assert answer["ACTION"] == 0
    assert answer["ROOT_ID"] == "run"


def test_what_a_model_said_before_it_went_does_not_stand_for_another():
    swarm = aggregation(["model0", "model1", "model2"])
    swarm.collect(logits("model0"))
    swarm.collect(logits("model1"))
    swarm.client.names = ["model0", "model2"]
    assert swarm.leave({"COMPONENTS": ["model1"]}) is None
    assert swarm.collect(logits("model2"))["ACTION"] == 0


def test_evaluation_adds_nothing_to_contributions():
    swarm = aggregation()
    for name in LOGITS:
        swarm.collect(logits(name))
    report = swarm.report({"CMD": "GET", "SENT_BY": "evolution"})
    assert (report["CONTRIBUTION"], report["DIVERSITY"], report["TO"]) == ({}, 0.0, "evolution")
    assert swarm.report({"CMD": "SET", "SENT_BY": "evolution"}) is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([np.nan, 0.0], "model0 sent logits that are not finite: its learning has diverged"),
        ([np.inf, 0.0], "not finite"),
        ([], "model0 sent logits of shape"),
    ],
)
def test_logits_that_cannot_be_used_name_their_model(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        aggregation().collect(logits("model0", values=values))


def test_a_ledger_adds_up_all_steps_of_a_round_however_many():
    rng = np.random.default_rng(0)
    ledger, names = Ledger(), ("model0", "model1", "model2")
    steps = [(softmax(rng.normal(size=(3, 2, 4))), rng.integers(4, size=2)) for _ in range(3 * Ledger.BLOCK + 7)]
    for probabilities, actions in steps:
        ledger.add(names, probabilities, actions)
    shares = np.mean([contributions(*step).mean(axis=1) for step in steps], axis=0)
    assert list(ledger.shares()) == list(names)
    assert np.allclose(list(ledger.shares().values()), shares)
    assert sum(ledger.shares().values()) == pytest.approx(1.0)
    assert ledger.diversity() == pytest.approx(np.mean([diversity(p) for p, _ in steps]))


def test_only_environments_that_play_count():
    swarm = aggregation(["model0", "model1"])
    values = np.array([[0.0, 0.0], [50.0, -50.0]])
    swarm.collect(logits("model0", deterministic=False, values=values, ACTIVE=[True, False]))
    swarm.collect(logits("model1", deterministic=False, values=-values, ACTIVE=[True, False]))
    report = swarm.report({"CMD": "GET", "SENT_BY": "evolution"})
    assert report["CONTRIBUTION"] == pytest.approx({"model0": 0.5, "model1": 0.5})
    assert report["DIVERSITY"] == pytest.approx(0.0)


def test_components_are_ordered_by_their_numbers_value():
    names = ["model10", "model2", "b", "model1", "a7x", "model02"]
    assert sorted(names, key=component_order) == ["a7x", "b", "model1", "model02", "model2", "model10"]
