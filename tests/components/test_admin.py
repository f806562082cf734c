"""Any component saves and loads its weights and its settings when it is asked to, and tells who asks what is wrong."""

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE
from swarmsim.errors import WaitTimeout
from tests.components.test_main_job import heard_within, running
from tests.conftest import LITTLE, long_after

COMMAND, LOG = MESSAGE_TYPE.COMMAND, MESSAGE_TYPE.LOG
ROLES = ["aggregation", "model0", "model1", "model2", "model3", "evolution", "environment"]


@pytest.fixture(params=long_after(2, ["inprocess", "queues", "sockets"]))
def job(request):
    with running(link=request.param, workers=2) as job:
        yield job


def asked(job, command, number, **fields):
    """Return so many answers to a command, by who gave them."""
    job.client.send({"TYPE": command.id, "ROOT_ID": "asked", **({"TO_ROOM": "_command"} | fields)})
    answers = []
    while len(answers) < number:
        message = job.client.receive(10)
        if message.get("ROOT_ID") == "asked":
            answers.append(message)
    return {message["SENT_BY"]: message for message in answers}


def asked_alone(job, command, name, **fields):
    job.client.send({"TYPE": command.id, "TO": name, **fields})
    while True:
        message = job.client.receive(10)
        if message["TYPE"].startswith("LOG/"):
            return message


def nobody_answers(job, command, **fields):
    job.client.send({"TYPE": command.id, "TO_ROOM": "_command", **fields})
    with pytest.raises(WaitTimeout):
        heard_within(job.client, 0.2)


def test_every_component_tells_its_settings_to_who_asks(job):
    answers = asked(job, COMMAND.SAVESETTINGS, 5, SETTINGS=[])
    assert {message["TYPE"] for message in answers.values()} == {"LOG/SETTINGS"}
    assert sorted(name for message in answers.values() for name in message["COMPONENT"]) == sorted(ROLES)
    assert all(message["TO"] == "control" and "TO_ROOM" not in message for message in answers.values())
    settings = {name: message["SETTINGS"] for name, message in answers.items()}
    assert settings["models0-1"]["learning_rate"] == LITTLE["learning_rate"]
    assert settings["models0-1"]["hidden"] == [32, 32]
    assert settings["evolution"]["tournament_size"] == 3
    assert settings["environment"] == {"env": "CartPole-v1", "envs": 4, "seed": 0, "timeout": 20.0}
    assert settings["aggregation"] == {
        "seed": 0,
        "aggregation": "sum",
        "led_fraction": 0.3,
        "leader": "uniform",
        "is_joint": True,
        "eval_deterministic": True,
    }


def test_only_those_that_are_named_answer_and_tell_what_is_asked_for(job):
    answers = asked(job, COMMAND.SAVESETTINGS, 2, SETTINGS=["seed"], COMPONENT=["model1", "evolution", "nobody"])
    assert {name: (m["COMPONENT"], m["SETTINGS"]) for name, m in answers.items()} == {
        "models0-1": (["model1"], {"seed": 0}),
        "evolution": (["evolution"], {"seed": 0}),
    }
    assert asked_alone(job, COMMAND.SAVESETTINGS, "model3", SETTINGS=["gamma"])["COMPONENT"] == ["model3"]
    nobody_answers(job, COMMAND.SAVESETTINGS, SETTINGS=[], COMPONENT="nobody")


def test_weights_that_were_saved_can_be_loaded_by_name_or_in_their_order(job):
    first = job.control.weights()
    job.control.play(2, deterministic=False)
    trained = job.control.weights()
    answers = asked(job, COMMAND.LOADMODELWEIGHTS, 2, WEIGHTS=first)
    assert {(message["TYPE"], message["STATUS"]) for message in answers.values()} == {("LOG/CUSTOM", "LOADED")}
    assert all(np.array_equal(weights, first[name]) for name, weights in job.control.weights().items())

    names = ["model3", "model0"]
    vectors = [trained[name].tolist() for name in names]
    asked(job, COMMAND.LOADMODELWEIGHTS, 2, WEIGHTS=vectors, COMPONENT=names)
    told = asked_alone(job, COMMAND.LOADMODELWEIGHTS, "model2", WEIGHTS=trained["model2"])
    assert (told["STATUS"], told["COMPONENT"]) == ("LOADED", ["model2"])
    wanted = trained | {"model1": first["model1"]}
    assert all(np.array_equal(weights, wanted[name]) for name, weights in job.control.weights().items())

    both = asked_alone(job, COMMAND.SAVEMODELWEIGHTS, "models0-1")
    assert both["COMPONENT"] == ["model0", "model1"]
    asked_alone(job, COMMAND.LOADMODELWEIGHTS, "models0-1", WEIGHTS=both["WEIGHTS"][::-1])
    after = job.control.weights()
    assert np.array_equal(after["model0"], wanted["model1"])
    assert np.array_equal(after["model1"], wanted["model0"])
    assert len(job.control.play(2, deterministic=False).returns) == 2


def test_who_has_no_weights_says_so_only_where_it_is_meant(job):
    assert set(asked(job, COMMAND.SAVEMODELWEIGHTS, 2)) == {"models0-1", "models2-3"}
    for told in (asked_alone(job, COMMAND.SAVEMODELWEIGHTS, "environment"),
                 asked(job, COMMAND.SAVEMODELWEIGHTS, 1, COMPONENT="environment")["environment"]):  # fmt: skip
        assert (told["TYPE"], told["WEIGHTS"], told["COMPONENT"]) == ("LOG/MODELWEIGHTS", [], ["environment"])
    assert "evolution has no weights" in asked_alone(job, COMMAND.LOADMODELWEIGHTS, "evolution", WEIGHTS=[])["ERROR"]
    assert np.shape(asked_alone(job, COMMAND.SAVEMODELWEIGHTS, "model0")["WEIGHTS"]) == (1, 2531)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"WEIGHTS": [[1.0] * 2531]}, "one vector of weights for each of 2 component"),
        ({"WEIGHTS": [[1.0] * 2531, [1.0]]}, "made of 2531 finite weights for each component"),
        ({"WEIGHTS": [[1.0] * 2531, np.full(2531, np.nan)]}, "made of 2531 finite weights"),
        ({"WEIGHTS": [[1.0] * 2531, "heavy"]}, "made of numbers"),
        ({"WEIGHTS": {"model9": [1.0] * 2531}}, "a vector of weights for each of model0, model1"),
        ({"WEIGHTS": 3}, "made of vectors of weights"),
        ({}, "made of vectors of weights, not 'nothing'"),
        ({"WEIGHTS": [], "COMPONENT": 5}, "COMPONENT from 'control' is a component's name or several, not 5"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_with_a_sentence_and_change_nothing(job, wrong, sentence):
    before = job.control.weights()
    told = asked_alone(job, COMMAND.LOADMODELWEIGHTS, "models0-1", **wrong)
    assert sentence in told["ERROR"]
    assert (told["TYPE"], told["COMPONENT"]) == ("LOG/CUSTOM", ["model0", "model1"])
    assert all(np.array_equal(weights, before[name]) for name, weights in job.control.weights().items())


def test_vectors_for_a_whole_room_need_their_order(job):
    answers = asked(job, COMMAND.LOADMODELWEIGHTS, 2, WEIGHTS=np.zeros((2, 2531)))
    assert all("comes with COMPONENT, their order" in message["ERROR"] for message in answers.values())
    nobody_answers(job, COMMAND.LOADMODELWEIGHTS, WEIGHTS={"nobody": [1.0]})


def test_settings_that_are_loaded_hold_from_then_on(job):
    load = {"SETTINGS": {"learning_rate": 0.0}, "TO_ROOM": "observation"}
    assert all(m["STATUS"] == "LOADED" for m in asked(job, COMMAND.LOADSETTINGS, 2, **load).values())
    before = job.control.weights()
    job.control.play(2, deterministic=False)
    assert all(np.array_equal(weights, before[name]) for name, weights in job.control.weights().items())
    asked(job, COMMAND.LOADSETTINGS, 1, SETTINGS={"learning_rate": 0.01}, COMPONENT=["model0", "model1"])
    job.control.play(2, deterministic=False)
    changed = {name for name, weights in job.control.weights().items() if not np.array_equal(weights, before[name])}
    assert changed == {"model0", "model1"}

    no_change = {"kind": "genetic", "mutation_probability": 0.0, "crossover_probability": 1, "elite_fraction": 0}
    assert asked_alone(job, COMMAND.LOADSETTINGS, "evolution", SETTINGS=no_change)["COMPONENT"] == ["evolution"]
    assert job.control.evolve().crossovers == 2
    asked_alone(job, COMMAND.LOADSETTINGS, "environment", SETTINGS={"timeout": 5})
    told = asked_alone(job, COMMAND.SAVESETTINGS, "environment", SETTINGS=["timeout"])
    assert told["SETTINGS"] == {"timeout": 5.0}


def test_loading_the_settings_that_are_there_changes_nothing_of_what_is_learnt():
    learnt = []
    for loads in (False, True):
        with running(link="inprocess", workers=2) as job:
            job.control.play(2, deterministic=False)
            if loads:
                asked(job, COMMAND.LOADSETTINGS, 2, SETTINGS={"gamma": 0.99}, TO_ROOM="observation")
            job.control.play(2, deterministic=False)
            learnt.append(job.control.weights())
    assert all(np.array_equal(weights, learnt[1][name]) for name, weights in learnt[0].items())


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("models0-1", {"learning_rat": 1}, "did you mean 'learning_rate'?"),
        ("models0-1", {"gamma": 2}, "gamma must be at most 1, got 2"),
        ("models0-1", {"gamma": 0.5, "vf_coef": "much"}, "vf_coef must be a number, not 'much'"),
        ("models0-1", {"hidden": [8]}, "hidden cannot change while a component runs"),
        ("models0-1", {"n_steps": 9}, "n_steps cannot change while a component runs"),
        ("models0-1", ["gamma"], "SETTINGS from 'control' is a mapping of settings"),
        ("model0", {"gamma": 0.5}, "model0, model1 have the same settings: name all of them, or none"),
        ("evolution", {"tournament_size": 0}, "tournament_size must be at least 1"),
        ("environment", {"timeou": 1}, "did you mean 'timeout'?"),
        ("environment", {"seed": 1}, "seed cannot change"),
        ("aggregation", {"seed": 1}, "aggregation has no settings that can change while it runs"),
        ("aggregation", {"x" * 5000: 1}, "a list of names"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_a_sentence_and_change_nothing(job, name, settings, sentence):
    ask = {"SETTINGS": []}
    before = asked_alone(job, COMMAND.SAVESETTINGS, name, **ask)["SETTINGS"]
    told = asked_alone(job, COMMAND.LOADSETTINGS, name, SETTINGS=settings)
    assert sentence in told["ERROR"]
    assert len(told["ERROR"]) <= 1000
    assert asked_alone(job, COMMAND.SAVESETTINGS, name, **ask)["SETTINGS"] == before


def test_a_setting_that_is_not_there_is_told_by_its_nearest(job):
    told = asked_alone(job, COMMAND.SAVESETTINGS, "model0", SETTINGS=["learning_rat"])
    assert "unknown setting 'learning_rat'" in told["ERROR"]
    assert "did you mean 'learning_rate'?" in told["ERROR"]
    assert "is a list of names" in asked_alone(job, COMMAND.SAVESETTINGS, "model0", SETTINGS="gamma")["ERROR"]
