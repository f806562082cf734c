"""Each message of the main job: what is written is read again, and docs/protocol.md shows just these keys."""

import re
from dataclasses import fields, is_dataclass, replace
from itertools import product

import numpy as np
import pytest

from swarmsim.components.protocol import command, control, evolution, rating, step
from swarmsim.components.protocol.command import Pong, Snapshot
from swarmsim.components.protocol.control import (
    EvolutionDone,
    EvolutionRequest,
    JobDone,
    JobProgress,
    JobRequest,
    Paused,
    PauseRequest,
)
from swarmsim.components.protocol.evolution import Contribution, Genomes, GetRequest, SetDone, SetRequest
from swarmsim.components.protocol.rating import Proposal, Rating
from swarmsim.components.protocol.step import (
    Action,
    Logits,
    Observation,
    learning_fields,
    read_transition,
    transition_fields,
)
from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.errors import MessageRefused
from swarmsim.learning.decision import NO_LEADER, decide
from swarmsim.learning.distributions import Categorical, Gaussian
from swarmsim.learning.learner import Transition
from swarmsim.learning.rules import RULES
from tests.conftest import ROOT

N_INPUTS, N_WEIGHTS, N_HYPERPARAMETERS = 4, 6, 4
CHOICE, VECTOR = Categorical(3), Gaussian(2)


def floats(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def transition(n_envs, distribution=CHOICE):
    return Transition(
        actions=floats(n_envs, 2) if distribution is VECTOR else np.arange(n_envs),
        rewards=floats(n_envs),
        terminated=np.zeros(n_envs, np.bool_),
        truncated=np.ones(n_envs, np.bool_),
        final_observations=floats(n_envs, N_INPUTS),
        active=np.ones(n_envs, np.bool_),
        log_probs=floats(n_envs),
    )


def learning(n_envs):
    """Return what models get for joint learning, of an action that is led in one environment, under two rules."""
    outputs = floats(2, n_envs, 3).astype(float)
    leaders = np.array([0] + [NO_LEADER] * (n_envs - 1))
    rules = (RULES[name] for name in ("product", "majority"))
    decisions = [decide(outputs, CHOICE, rule, np.random.default_rng(0), leaders) for rule in rules]
    shown = {}
    for decision, has_credits in zip(decisions, (False, True), strict=True):
        shown |= learning_fields(decision, ("model0", "model1"), has_credits=has_credits)
    return shown


def step_messages(n_envs):
    place = {"step": 7, "episodes": np.arange(n_envs), "active": np.arange(n_envs) == 0 if n_envs > 1 else None}
    moved = transition_fields(transition(n_envs)) | learning(n_envs)
    return [
        (Observation(floats(n_envs, N_INPUTS), False, is_last=True, transition=moved, **place), (N_INPUTS,)),
        (Logits(("model0", "model1"), floats(2, n_envs, 3).astype(float), True, **place), ()),
        (Action(np.arange(n_envs), floats(n_envs).astype(float), 7, learning(n_envs)), (n_envs, CHOICE)),
        (Action(floats(n_envs, 2), floats(n_envs).astype(float), 7), (n_envs, VECTOR)),
        (Action(floats(n_envs, 2), None, 7), (n_envs, VECTOR)),
        (Proposal(floats(5, n_envs, 2), 7), (2,)),
        (Rating(("model0", "model1"), floats(2, 5, n_envs).astype(float), 7), ()),
    ]


OTHERS = [
    (JobRequest(3, True, True, 20), ()),
    (JobProgress([1.0, 2.0], 9), ()),
    (JobDone(JobResult([1.0, 2.0], [3, 4], 0.5), [20, 21]), ()),
    (PauseRequest(), ()),
    (Paused(20), ()),
    (EvolutionRequest(), ()),
    (
        EvolutionDone(
            EvolutionResult(
                1,
                2,
                3,
                contribution={"model0": 1.0},
                diversity=0.25,
                parents={"model0": "model1"},
                hyperparameters={"model0": {"learning_rate": 0.001}},
            )
        ),
        (),
    ),
    (GetRequest(), ()),
    (
        Genomes(
            ("model0", "model1"), floats(2, 6), floats(2, 2, 6), floats(2).astype(float), floats(2, 4).astype(float)
        ),
        (),
    ),
    (Contribution({"model0": 1.0}, 0.5, {"model0": 200.0}, {"model0": 190.0}, {"model0": 20.0}), ()),
    (
        SetRequest(
            {"model0": floats(6)},
            {"model0": floats(2, 6)},
            {"model0": floats(N_HYPERPARAMETERS).astype(float)},
            {"model0": "model1"},
        ),
        (["model0", "model1"], N_WEIGHTS, N_HYPERPARAMETERS),
    ),
    (SetDone(("model0",)), ()),
    (Pong(), ()),
    (Snapshot(ComponentSnapshot("ann", [("hall", "bob", 3)], {"model0": 1.0}, {"entropy": 2.0}, 4), {"a": 1}), ()),
]
EXAMPLES = [*step_messages(1), *step_messages(3), *OTHERS]


def equal(one, other):
    if is_dataclass(one):
        return type(one) is type(other) and all(
            equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return np.array_equal(one, other) and np.shape(one) == np.shape(other)


@pytest.mark.parametrize(("message", "arguments"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_a_message_is_read_as_it_was_written(message, arguments):
    again = type(message).read({"SENT_BY": "ann", **message.fields()}, *arguments)
    if isinstance(message, Observation):
        message = replace(message, episodes=None, active=None, transition={})  # not needed to act
    assert equal(message, again)


@pytest.mark.parametrize(("n_envs", "distribution"), [*product((1, 3), (CHOICE, VECTOR))])
def test_a_transition_is_read_as_it_was_written(n_envs, distribution):
    sent = transition(n_envs, distribution)
    assert equal(sent, read_transition(transition_fields(sent), n_envs, N_INPUTS, distribution, ["model0"]))


@pytest.mark.parametrize("n_envs", [1, 3])
def test_models_read_their_own_credit_and_what_else_they_need_for_joint_learning(n_envs):
    message = transition_fields(transition(n_envs)) | learning(n_envs)
    read = read_transition(message, n_envs, N_INPUTS, CHOICE, ["model1", "model7"])
    assert read.credits.shape == (2, n_envs)
    np.testing.assert_allclose(read.credits[0], message["CREDIT"]["model1"], rtol=1e-6)
    assert (read.credits[1] == 0).all()  # its answer came too late to count
    assert read.swarm_log_probs.shape == (n_envs,)
    np.testing.assert_allclose(read.swarm_probabilities.sum(axis=1), 1, rtol=1e-6)
    for key, value in {"CREDIT": {"model1": -1.0}, "SWARM": [0.5, 0.5], "SWARM_LOG_PROB": "low"}.items():
        with pytest.raises(MessageRefused, match=key):
            read_transition(message | {key: value}, n_envs, N_INPUTS, CHOICE, ["model1"])


def test_one_environment_is_sent_without_its_axis():
    observation, logits, action, vector, *_ = (message.fields() for message, _ in step_messages(1))
    assert np.shape(observation["OBSERVATION"]) == np.shape(observation["FINAL_OBSERVATION"]) == (N_INPUTS,)
    assert [type(observation[key]) for key in ("ACTION", "REWARD", "DONE", "EPISODE")] == [int, float, bool, int]
    assert np.shape(logits["LOGITS"]) == (2, 3)
    assert (type(action["ACTION"]), type(action["LOG_PROB"])) == (int, float)
    assert np.shape(vector["ACTION"]) == (2,)
    assert not {"ACTIVE", "ACTED"} & {*observation, *logits}


@pytest.mark.parametrize("value", [np.zeros(3), ["PAUSED"], None, 3, "paused"])
def test_a_kind_is_told_by_its_value_whatever_else_the_field_may_hold(value):
    assert Paused.read({"STATUS": value}) is None
    assert JobDone.read({"STATUS": value}) is None
    assert EvolutionRequest.read({"EVOLUTION": value}) is None


def test_the_reference_systems_shorter_messages_are_read_too():
    done = JobDone.read({"STATUS": "ENV_DONE", "AVG_SCORE": 9}, seconds=2.0)
    assert done == JobDone(JobResult([9.0], [], 2.0), [])
    assert Contribution.read({"CONTRIBUTION": {"a": 1}}) == Contribution({"a": 1.0}, 0.0, {})
    assert EvolutionDone.read({"STATUS": "EVO_DONE"}).result == EvolutionResult(0, 0, 0, contribution={}, diversity=0.0)
    assert Action.read({"ACTION": 1}, 1, CHOICE).step is None


@pytest.mark.parametrize(
    ("read", "message", "sentence"),
    [
        (JobRequest.read, {"NR_OF_EPISODE": 0, "DETERMINISTIC": True}, "NR_OF_EPISODE .* is a whole number from 1"),
        (JobDone.read, {"STATUS": "ENV_DONE", "AVG_SCORE": "high"}, "AVG_SCORE from 'ann' is a number, not 'high'"),
        (lambda m: Proposal.read(m, 2), {"PROPOSAL": floats(3, 1, 1), "STEP": 0}, "PROPOSAL .* is 2 finite number"),
        (
            Rating.read,
            {"COMPONENT_ID": "a", "RATING": floats(2, 1, 1), "STEP": 0},
            "finite ratings of all proposals by 1",
        ),
        (Genomes.read, {"COMPONENT_ID": "a", "WEIGHTS": [np.nan]}, "a genome of finite numbers for each of 1"),
        (Snapshot.read, {"TAKEN": [["hall", "bob"]]}, "TAKEN from 'ann' is a list of rooms, senders and numbers"),
    ],
)
def test_a_field_that_cannot_be_used_is_rejected_in_one_sentence(read, message, sentence):
    with pytest.raises(MessageRefused, match=sentence):
        read({"SENT_BY": "ann", **message})


# --- the page


def documented():
    """Return the keys of each message in the tables of docs/protocol.md."""
    rows = [line.split("|")[1:-1] for line in (ROOT / "docs" / "protocol.md").read_text().splitlines() if "|" in line]
    return {
        found[1]: set(re.findall(r"`([A-Z_]+)`", cells[-1]))
        for cells in rows
        if len(cells) == 4 and (found := re.fullmatch(r"`(\w+)`", cells[1].strip()))
    }


def test_the_page_shows_every_message_with_all_its_keys_and_no_other():
    keys: dict[str, set[str]] = {}
    for message, _ in EXAMPLES:
        keys.setdefault(type(message).__name__, set()).update(message.fields())
    assert documented() == keys


def test_every_message_has_an_example_here():
    messages = {
        name
        for room in (command, control, evolution, rating, step)
        for name, value in vars(room).items()
        if isinstance(value, type) and value.__module__ == room.__name__ and hasattr(value, "fields")
    }
    assert messages - {"Declared"} == {type(message).__name__ for message, _ in EXAMPLES}
