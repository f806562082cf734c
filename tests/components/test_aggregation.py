"""The aggregation by itself: a client that only tells who is there."""

from copy import deepcopy

import numpy as np
import pytest

from swarmsim.components.aggregation import Aggregation
from swarmsim.components.contribution_tracker import ContributionTracker
from swarmsim.components.fields import component_order
from swarmsim.components.main_job import MODELS
from swarmsim.components.persistence import StateStore
from swarmsim.components.protocol.control import JobDone
from swarmsim.components.results import JobResult
from swarmsim.errors import MessageRefused
from swarmsim.learning.aggregate import contributions, diversity
from swarmsim.learning.distributions import softmax
from swarmsim.messaging.rooms import Member, Rooms

LOGITS = {"model0": [2.0, 0.0], "model1": [1.0, 0.0], "model10": [0.0, 0.5], "model2": [-1.0, 1.0]}


class Present:
    """Stands in for a client, where only presence matters."""

    def __init__(self, names):
        self.names = list(names)

    def rooms(self):
        rooms = frozenset({"observation", "logits"})
        return Rooms({str(i): Member(str(i), name, (name,), rooms) for i, name in enumerate(self.names)})


def aggregation(names=LOGITS, seed=0, kept=None, **settings):
    return Aggregation(Present(names), StateStore(kept), models=MODELS, seed=seed, **settings)


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


def test_an_evaluation_may_draw_its_actions_and_then_draws_alike_in_each():
    swarm = aggregation(["model0"], eval_deterministic=False)

    def actions(run, deterministic=True):
        said = [logits("model0", step, deterministic, run, values=[0.0, 0.0]) for step in range(50)]
        return [swarm.collect(message)["ACTION"] for message in said]

    first = actions("before")
    trained = actions("training", deterministic=False)
    assert set(first) == set(trained) == {0, 1}
    assert first == actions("after") != trained
    assert swarm.contributions.contribution() == {"model0": 1.0}


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
    answer = swarm.handle_disconnect({"TYPE": "COMMAND/DISCONNECT", "COMPONENTS": ["model1"]})
    assert answer["ACTION"] == 0
    assert answer["ROOT_ID"] == "run"


def test_what_a_model_said_before_it_went_does_not_stand_for_another():
    swarm = aggregation(["model0", "model1", "model2"])
    swarm.collect(logits("model0"))
    swarm.collect(logits("model1"))
    swarm.client.names = ["model0", "model2"]
    assert swarm.handle_disconnect({"COMPONENTS": ["model1"]}) is None
    assert swarm.collect(logits("model2"))["ACTION"] == 0


def test_evaluation_adds_nothing_to_contributions():
    swarm = aggregation()
    for name in LOGITS:
        swarm.collect(logits(name))
    report = swarm.report({"CMD": "GET", "SENT_BY": "evolution"})
    assert (report["CONTRIBUTION"], report["DIVERSITY"], report["TO"]) == ({}, 0.0, "evolution")
    assert swarm.report({"CMD": "SET", "SENT_BY": "evolution"}) is None


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"LOGITS": [np.nan, 0.0]}, "LOGITS from 'model0' is made of finite numbers, not "),
        ({"LOGITS": []}, "LOGITS from 'model0' is one set of logits for each of 1 component"),
        ({"LOGITS": 3.0}, "one set of logits"),
        ({"LOGITS": [1.0, 2.0, 3.0], "COMPONENT_ID": ["model0", "model1"]}, "for each of 2 component"),
        ({"LOGITS": ["a", "b"]}, "LOGITS from 'model0' is made of numbers, not"),
        ({"LOGITS": [[1.0], [1.0, 2.0]]}, "made of numbers"),
        ({"LOGITS": {}}, "made of numbers"),
        ({"LOGITS": None}, "made of numbers"),
        ({"COMPONENT_ID": 7}, "COMPONENT_ID from 'model0' is a component's name or several, not 7"),
        ({"COMPONENT_ID": []}, "a component's name or several"),
        ({"COMPONENT_ID": "9" * 5000}, "a component's name"),
        ({"DETERMINISTIC": "yes"}, "DETERMINISTIC from 'model0' is true or false, not 'yes'"),
        ({"STEP": -1}, "STEP from 'model0' is a whole number from 0, not -1"),
        ({"STEP": 1.0}, "a whole number"),
        ({"ACTIVE": [True, True]}, "ACTIVE from 'model0' is one finite value for each of 1 environment"),
        ({"ACTIVE": 3}, "true or false"),
        ({"LOGITS": [0.0, 1.0, 2.0]}, "for 1 environment.s. of 2 actions"),
    ],
)
def test_a_message_that_cannot_be_used_is_refused_and_changes_nothing(wrong, sentence):
    swarm = aggregation(["model0", "model1"])
    swarm.collect(logits("model1"))
    with pytest.raises(MessageRefused, match=sentence):
        swarm.collect({**logits("model0"), **wrong})
    for run in ("run", "another"):
        with pytest.raises(MessageRefused):
            swarm.collect({**logits("model0", run=run), "LOGITS": "no"})
    assert swarm.collect(logits("model0"))["ACTION"] == 0


def test_one_that_comes_back_is_waited_for_again_from_the_first_step_for_which_it_speaks():
    swarm = aggregation(["model0", "model1"])
    swarm.collect(logits("model0"))
    assert swarm.handle_disconnect({"COMPONENTS": ["model1"]})["STEP"] == 0
    assert swarm.collect(logits("model0", step=1))["STEP"] == 1
    assert swarm.collect(logits("model1", step=2)) is None
    assert swarm.collect(logits("model0", step=2))["STEP"] == 2
    assert swarm.collect(logits("model0", step=3)) is None
    assert swarm.collect(logits("model1", step=3))["STEP"] == 3


def test_one_that_has_gone_and_is_there_again_is_not_waited_for_in_the_step_that_it_did_not_see():
    swarm = aggregation(["model0", "model1"])
    swarm.collect(logits("model0"))  # both are in the room, the second one's new process too
    assert swarm.handle_disconnect({"COMPONENTS": ["model1"]})["STEP"] == 0


def test_models_that_share_a_name_are_counted():
    swarm = aggregation(["model", "model", "model"])
    one, two, three = ({**logits("model0"), "COMPONENT_ID": uuid} for uuid in ("a1", "b2", "c3"))
    assert swarm.collect(one) is None
    assert swarm.handle_disconnect({"COMPONENTS": ["model"]}) is None
    assert swarm.collect(two)["STEP"] == 0
    assert swarm.collect({**three, "STEP": 1}) is None


def without_step(component, run="run", sender="model"):
    """What a model of the reference system says: it counts no steps."""
    message = {**logits("model0", run=run), "COMPONENT_ID": component, "SENT_BY": sender}
    return {key: value for key, value in message.items() if key != "STEP"}


def done(run, **more):
    return {"ROOT_ID": run, "STATUS": "ENV_DONE", "AVG_SCORE": 9.0, "SENT_BY": "environment", **more}


def test_models_that_count_no_steps_are_decided_step_by_step():
    swarm = aggregation(["model", "model"])
    for step in range(3):
        assert swarm.collect(without_step("a1")) is None
        assert swarm.collect(without_step("b2"))["STEP"] == step


def test_one_that_comes_during_a_run_and_counts_no_steps_runs_nobody_ahead():
    swarm = aggregation(["model", "model"])
    steps = []
    for speakers in (["a1", "b2"], ["a1", "c3", "b2"], ["a1", "b2", "c3"], ["c3", "b2", "a1"], ["c3", "a1", "b2"]):
        answers = [swarm.collect(without_step(speaker)) for speaker in speakers]
        assert answers[:-1] == [None] * (len(speakers) - 1)
        steps.append(answers[-1]["STEP"])
    assert steps == [0, 1, 2, 3, 4]
    swarm.handle_disconnect({"COMPONENTS": ["model"]})
    assert swarm.collect(without_step("a1")) is None
    assert swarm.collect(without_step("c3"))["STEP"] == 5


def test_the_first_word_of_one_that_comes_during_a_run_is_not_taken_for_one_about_a_later_step():
    swarm = aggregation(["model"])
    assert swarm.collect(without_step("a1"))["STEP"] == 0
    assert swarm.collect(without_step("b2")) is None
    assert swarm.collect(without_step("a1"))["STEP"] == 1
    swarm.handle_disconnect({"COMPONENTS": ["model"]})
    assert swarm.collect(without_step("b2"))["STEP"] == 2  # nobody else is there


def test_what_comes_late_from_a_run_that_has_ended_begins_nothing():
    swarm = aggregation(["model"])
    assert swarm.collect(without_step("a1", "first"))["STEP"] == 0
    assert swarm.finish_job(done("first")) is None
    before = swarm.state()
    assert swarm.collect(without_step("a1", "first")) is None
    swarm.finish_job(
        {"ROOT_ID": "first", "NR_OF_EPISODE": 1, "SENT_BY": "control"}
    )  # it is told to be done, and not begun
    assert swarm.collect(without_step("a1", "first")) is None
    assert swarm.collect(without_step("a1", "second"))["STEP"] == 0
    assert swarm.collect(without_step("a1", "first")) is None
    assert swarm.collect(without_step("a1", "second"))["STEP"] == 1
    assert (before["run"], before["past"]) == (None, [["first", None]])


def test_the_end_of_a_run_ends_all_its_attempts():
    swarm = aggregation(["model"])
    for conversation in ("first", "first.1", "first.2"):
        assert swarm.collect(without_step("a1", conversation))["STEP"] == 0
        assert swarm.collect(without_step("a1", "first")) is None or conversation == "first"
    swarm.finish_job(done("first"))
    assert all(swarm.collect(without_step("a1", f"first{end}")) is None for end in ("", ".1", ".2"))
    assert swarm.collect(without_step("a1", "first-born"))["STEP"] == 0


def test_an_answer_to_a_later_step_continues_a_run_that_was_overtaken_however_late_its_request_comes():
    swarm = aggregation(["model"])

    def answered(conversation, step):
        return swarm.collect({**without_step("model", conversation), "STEP": step})

    assert answered("train.1", 0)["STEP"] == 0
    assert answered("train.1", 1)["STEP"] == 1
    assert answered("evaluate", 0)["STEP"] == 0
    assert answered("train.1", 1) is None  # late
    assert answered("evaluate", 1)["STEP"] == 1
    swarm.finish_job(done("evaluate"))
    assert answered("evaluate", 2) is None
    assert answered("train.1", 2)["STEP"] == 2
    swarm.finish_job(done("train"))
    assert answered("train.1", 3) is None


def test_a_checkpoint_of_an_earlier_version_says_what_was_overtaken():
    swarm = aggregation(["model"])
    swarm.restore({**swarm.state(), "past": [["over", True], ["overtaken", False]]})
    assert swarm.collect({**without_step("model", "over"), "STEP": 9}) is None
    assert swarm.collect({**without_step("model", "overtaken"), "STEP": 9})["STEP"] == 9


def test_a_run_that_was_overtaken_goes_on_only_when_control_asks_for_it_again():
    swarm = aggregation(["model"])
    swarm.collect(without_step("a1", "first"))
    swarm.collect(without_step("a1", "second"))
    assert swarm.collect(without_step("a1", "first")) is None
    swarm.finish_job({"ROOT_ID": "first", "NR_OF_EPISODE": 1, "SENT_BY": "control"})
    assert swarm.collect(without_step("a1", "first"))["STEP"] == 0
    swarm.collect(without_step("a1", "first.1"))
    swarm.finish_job({"ROOT_ID": "first", "NR_OF_EPISODE": 1, "SENT_BY": "control"})  # for somebody was replaced
    assert swarm.collect(without_step("a1", "first")) is None
    assert swarm.collect(without_step("a1", "first.1"))["STEP"] == 1


def test_the_end_of_a_run_that_cannot_be_read_ends_nothing():
    swarm = aggregation(["model"])
    swarm.collect(without_step("a1"))
    with pytest.raises(MessageRefused, match="AVG_SCORE from 'environment' is a number, not 'high'"):
        swarm.finish_job(done("run", AVG_SCORE="high"))
    assert swarm.collect(without_step("a1"))["STEP"] == 1


def test_conversations_without_a_root_begin_and_go_on():
    swarm = aggregation(["model"])
    rootless = {key: value for key, value in without_step("a1").items() if key != "ROOT_ID"}
    for _ in range(2):
        assert [swarm.collect(rootless)["STEP"] for _ in range(3)] == [0, 1, 2]
        swarm.finish_job({key: value for key, value in done("").items() if key != "ROOT_ID"})


def test_another_that_takes_the_state_up_goes_back_to_no_run_that_is_over():
    swarm = aggregation(["model"])
    for number in range(100):
        swarm.collect(without_step("a1", f"run{number}"))
        swarm.finish_job(done(f"run{number}"))
    after = aggregation(["model"])
    after.restore(swarm.state())
    assert after.collect(without_step("a1", "run99")) is None
    assert len(after.state()["past"]) == 64
    old = swarm.state()
    del old["past"]  # of a checkpoint of an earlier version
    after.restore(old)
    assert after.collect(without_step("a1", "run99"))["STEP"] == 0


def test_logits_of_one_environment_are_read_in_every_shape():
    for shape in ((2, 1, 2), (2, 2)):
        swarm = aggregation(["model0", "model1"])
        values = np.array([[0.0, 1.0], [0.0, 2.0]]).reshape(shape)
        assert swarm.collect({**logits("model0", values=values), "COMPONENT_ID": ["model0", "model1"]})["ACTION"] == 1
    swarm = aggregation(["model0"])
    assert swarm.collect(logits("model0", values=[0.0, 1.0]))["ACTION"] == 1


def decisions(swarm, steps):
    names = sorted(LOGITS)
    return [[swarm.collect(logits(name, step, deterministic=False)) for name in names][-1]["ACTION"] for step in steps]


def test_one_that_takes_up_the_state_of_another_goes_on_to_the_last_bit():
    first, second = aggregation(), aggregation(seed=9)
    decisions(first, range(700))
    first.update_contributions()
    decisions(first, range(700, 710))
    second.restore(first.state())
    assert decisions(first, range(710, 1500)) == decisions(second, range(710, 1500))
    asked = {"CMD": "GET", "SENT_BY": "evolution", "ROOT_ID": "e"}
    assert first.report(asked) == second.report(asked)


def test_a_report_is_given_again_to_an_evolution_that_is_repeated_even_by_another_process(tmp_path):
    swarm = aggregation(kept=tmp_path / "aggregation")
    decisions(swarm, range(10))
    asked = {"CMD": "GET", "SENT_BY": "evolution", "ROOT_ID": "first"}
    report = swarm.report(asked)
    assert sum(report["CONTRIBUTION"].values()) == pytest.approx(1.0)
    assert swarm.report(asked) == report
    assert aggregation(kept=tmp_path / "aggregation").report(asked) == report
    assert swarm.report({**asked, "ROOT_ID": "second"})["CONTRIBUTION"] == {}


def test_what_was_kept_is_taken_up_by_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setattr("swarmsim.components.persistence.SAVE_SECONDS", 0.0)
    swarm = aggregation(kept=tmp_path / "aggregation")
    decisions(swarm, range(50))
    swarm.update_contributions()
    after = aggregation(kept=tmp_path / "aggregation")
    asked = {"CMD": "GET", "SENT_BY": "evolution", "ROOT_ID": "e"}
    assert decisions(after, range(50, 80)) == decisions(swarm, range(50, 80))
    assert after.report(asked) == swarm.report(asked)


def test_a_tracker_adds_up_all_steps_of_a_round_however_many():
    rng = np.random.default_rng(0)
    tracker, names = ContributionTracker(), ("model0", "model1", "model2")
    steps = [
        (softmax(rng.normal(size=(3, 2, 4))), rng.random((3, 2))) for _ in range(3 * ContributionTracker.BLOCK + 7)
    ]
    for opinions, given in steps:
        tracker.add(names, opinions, given)
    contribution = np.mean([contributions(given).mean(axis=1) for _, given in steps], axis=0)
    assert list(tracker.contribution()) == list(names)
    assert np.allclose(list(tracker.contribution().values()), contribution)
    assert sum(tracker.contribution().values()) == pytest.approx(1.0)
    assert tracker.diversity() == pytest.approx(np.mean([diversity(p) for p, _ in steps]))


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


def test_an_environment_without_an_episode_has_no_leader():
    swarm = aggregation(["model0", "model1"], led_fraction=1.0)
    playing = {"EPISODE": [0, -1], "ACTIVE": [True, False], "deterministic": False}
    answers = [swarm.collect(logits(n, values=[LOGITS[n]] * 2, **playing)) for n in ("model0", "model1")]
    own = np.log([np.exp(LOGITS[n][answers[1]["ACTION"][0]]) / np.exp(LOGITS[n]).sum() for n in ("model0", "model1")])
    assert answers[1]["LOG_PROB"][0] in [pytest.approx(of_one) for of_one in own]
    assert answers[1]["LOG_PROB"][1] == answers[1]["SWARM_LOG_PROB"][1]


def led_to_the_end():
    """Return an aggregation whose models have led one episode each, and the message that their job is done."""
    swarm = aggregation(["model0", "model1"], led_fraction=1.0)
    for name in ("model0", "model1"):
        swarm.collect(logits(name, run="job", values=[LOGITS[name]], EPISODE=[0], deterministic=False))
    return swarm, JobDone(JobResult([7.0, 9.0], [7, 9], 1.0), [0, 1]).fields()


def resumed(swarm):
    again = aggregation(["model0", "model1"], led_fraction=1.0)
    again.restore(deepcopy(swarm.state()))
    return again


def test_a_job_whose_end_is_told_again_counts_once():
    swarm, done = led_to_the_end()
    swarm.finish_job({"ROOT_ID": "job", **done})
    once = deepcopy(swarm.state())
    assert sorted(value for returns in once["returns"].values() for value in returns) == [7.0, 9.0]
    for each in (swarm, resumed(swarm)):
        each.finish_job({"ROOT_ID": "job", **done})
        assert (each.state()["led"], each.state()["returns"]) == (once["led"], once["returns"])
    swarm.finish_job({"ROOT_ID": "next job", **done})
    assert swarm.state()["led"] != once["led"]


def test_a_job_that_was_stopped_after_its_last_step_counts_when_it_is_resumed():
    swarm, done = led_to_the_end()
    again = resumed(swarm)
    for each in (swarm, again):
        each.finish_job({"ROOT_ID": "job", **done})
    assert again.state()["led"] == swarm.state()["led"] != {}
