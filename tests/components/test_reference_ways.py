"""The main job among components that behave as the reference system's do: announce nothing, and join more rooms."""

from contextlib import contextmanager

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, Client, Swarm, Trigger
from swarmsim.components.control import Control
from swarmsim.components.main_job import AGGREGATIONS, CONTROL, MODELS, OBSERVATION, main_job
from swarmsim.config import make_config
from swarmsim.envs.make import make_env, shape_of
from swarmsim.errors import WaitTimeout
from swarmsim.messaging.rooms import Member, Rooms
from tests.components.test_main_job import heard, heard_within, is_status

CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
N_WEIGHTS = 2531


@contextmanager
def started(link="inprocess", without=(), **settings):
    """Start a main job without some of its roles; give its address."""
    config = make_config({"population": 2, "timeout": 20, "link": link, **settings}, "test")
    with Swarm(None, link=link) as swarm:
        address = swarm.serve()
        for role in main_job(config, shape_of(config.env)):
            if not role.name.startswith(tuple(without) or "-"):
                swarm.add_role(role, address)
        swarm.start()
        yield address


class Stranger:
    """A component that joins the rooms it answers in, and cannot bear a message that comes without a room."""

    def __init__(self, name, address, *ways) -> None:
        self.client = Client(name, *address)
        for handler, heard_in, answers_in in ways:
            self.client.add_eventHandler(handler, CUSTOM, answers_in, trigger=Trigger(CUSTOM, heard_in, False))
            self.client.join_room(answers_in)
        self.client.add_eventHandler(self.break_down, trigger=Trigger(CUSTOM))

    def break_down(self, message) -> None:
        assert "TO_ROOM" in message


class Model(Stranger):
    """Answers every observation, the last one of a run too, and acknowledges nothing."""

    def __init__(self, address, component_id) -> None:
        self.component_id = component_id
        self.weights = np.full(N_WEIGHTS, len(component_id), np.float32)
        super().__init__("model", address, (self.observe, "observation", "logits"),
                         (self.exchange, "evolution", "evolution"))  # fmt: skip

    def observe(self, message):
        return {"LOGITS": [0.0, 0.5], "COMPONENT_ID": self.component_id, "DETERMINISTIC": message["DETERMINISTIC"]}

    def exchange(self, message):
        if message.get("CMD") == "SET":
            self.weights = message["WEIGHTS"][self.component_id]
        return (
            {"WEIGHTS": self.weights.tolist(), "COMPONENT_ID": self.component_id}
            if message.get("CMD") == "GET"
            else None
        )


class Environment(Stranger):
    """Counts no steps, marks no last transition, and tells nothing but the mean score."""

    def __init__(self, address) -> None:
        self.env = make_env("CartPole-v1")
        self.left, self.n_steps = 0, 0
        super().__init__(
            "gym_env", address, (self.start, "control", "observation"), (self.act, "action", "observation")
        )

    def start(self, message):
        if "NR_OF_EPISODE" not in message:
            return None
        self.left, self.n_steps, self.wanted = message["NR_OF_EPISODE"], 0, message["NR_OF_EPISODE"]
        self.deterministic = message["DETERMINISTIC"]
        return self.seen(self.env.reset(seed=0)[0])

    def act(self, message):
        if not self.left:
            return None
        observation, reward, terminated, truncated, _ = self.env.step(message["ACTION"])
        self.n_steps += 1
        done = terminated or truncated
        if done:
            self.left -= 1
            observation, _ = self.env.reset()
        if not self.left:
            told = {"STATUS": "ENV_DONE", "AVG_SCORE": self.n_steps / self.wanted, "ROOT_ID": message["ROOT_ID"]}
            self.client.send({"TYPE": CUSTOM.id, "TO_ROOM": "control", **told})
            return None
        return self.seen(observation, ACTION=message["ACTION"], REWARD=reward, DONE=done)

    def seen(self, observation, **came):
        return {"OBSERVATION": observation.tolist(), "DETERMINISTIC": self.deterministic, **came}


class Aggregation(Stranger):
    """Decides once so many models have spoken, whatever else they say."""

    def __init__(self, address, n_models) -> None:
        self.n_models, self.logits, self.shares = n_models, {}, {}
        super().__init__("aggregation", address, (self.collect, "logits", "action"),
                         (self.report, "evolution", "evolution"))  # fmt: skip

    def collect(self, message):
        names, values = message["COMPONENT_ID"], np.asarray(message["LOGITS"])
        if isinstance(names, str):
            names, values = [names], values[None]
        assert values.shape == (len(names), 2)
        self.logits.update(zip(names, values, strict=True))
        if len(self.logits) < self.n_models:
            return None
        self.shares = dict.fromkeys(self.logits, 1 / self.n_models)
        action = int(sum(self.logits.values()).argmax())
        self.logits = {}
        return {"ACTION": action}

    def report(self, message):
        return {"CONTRIBUTION": self.shares} if message.get("CMD") == "GET" else None


class Evolution(Stranger):
    """Gives every genome that it got back, doubled."""

    def __init__(self, address, n_models) -> None:
        self.n_models, self.genomes = n_models, {}
        super().__init__("evolution", address, (self.start, "control", "evolution"),
                         (self.gather, "evolution", "evolution"))  # fmt: skip

    def start(self, message):
        return {"CMD": "GET"} if message.get("EVOLUTION") else None

    def gather(self, message):
        if "COMPONENT_ID" not in message:
            return
        assert "STATUS" not in message
        self.genomes.update(zip(message["COMPONENT_ID"], np.asarray(message["WEIGHTS"]), strict=True))
        if len(self.genomes) < self.n_models:
            return
        told = {"TYPE": CUSTOM.id, "TO_ROOM": "control", "STATUS": "EVO_DONE", "ROOT_ID": message["ROOT_ID"]}
        given = {name: (2 * genome).tolist() for name, genome in self.genomes.items()}
        self.client.send({"TYPE": CUSTOM.id, "TO_ROOM": "evolution", "CMD": "SET", "WEIGHTS": given})
        self.client.send(told)
        return


@contextmanager
def controlled(address, *strangers):
    """Have the strangers listen, and give control; afterwards all of them leave."""
    for stranger in strangers:
        stranger.client.listen()
    with Client("control", *address) as client:
        yield Control(client, CONTROL, OBSERVATION, timeout=10)
    for stranger in strangers:
        stranger.client.close()


def test_who_joins_the_rooms_that_it_answers_in_is_told_by_the_others():
    rooms = {
        "model0": {"observation", "evolution"},
        "model": {"observation", "logits", "evolution"},
        "environment": {"action", "control"},
        "gym_env": {"action", "observation", "control"},
        "aggregation": {"logits", "control"},
        "their_aggregation": {"logits", "action", "evolution"},
    }
    members = {name: Member(name, name, (name,), frozenset(of)) for name, of in rooms.items()}
    members["observer"] = Member("observer", "observer", (), frozenset({"observation", "logits"}))
    assert MODELS.components(Rooms(members)) == ["model0", "model"]
    assert AGGREGATIONS.components(Rooms(members)) == ["aggregation", "their_aggregation"]
    assert MODELS.has(Rooms(members), "model")
    assert not MODELS.has(Rooms(members), "gym_env")


@pytest.mark.parametrize("ours", [2, 0])
def test_models_that_announce_nothing_take_part_in_runs_and_evolutions(ours):
    without = () if ours else ("model",)
    with started(population=max(ours, 2), without=without) as address:
        theirs = [Model(address, component_id) for component_id in ("a", "bcd")]
        with controlled(address, *theirs) as control:
            for _ in range(2):
                result = control.play(3, deterministic=False)
                assert len(result.returns) == 3
                assert control.play(2, deterministic=True).score > 0
                evolved = control.evolve()
                assert sum(evolved.contribution.values()) == pytest.approx(1.0)
                assert evolved.contribution.keys() == {*(f"model{i}" for i in range(ours)), "a", "bcd"}
                assert evolved.parents_kept >= 1
                assert len(control.weights()) == ours
            assert all(len(model.weights) == N_WEIGHTS for model in theirs)


def test_a_swarm_whose_other_components_are_all_strangers_learns():
    with started(without=("environment", "evolution", "aggregation"), workers=1, ppo={"n_steps": 3}) as address:
        strangers = [Environment(address), Aggregation(address, 2), Evolution(address, 2)]
        with controlled(address, *strangers) as control:
            before = control.weights()
            result = control.play(3, deterministic=False)
            assert (len(result.returns), result.lengths, result.n_steps) == (1, [], 0)
            assert result.seconds > 0
            learnt = control.weights()
            assert not any(np.array_equal(before[name], learnt[name]) for name in before)
            assert control.play(2, deterministic=True).score > 0
            assert control.evolve().contribution == {}
            assert all(np.allclose(weights, 2 * learnt[name]) for name, weights in control.weights().items())
            assert control.play(3, deterministic=False).score > 0
            after = control.weights()
            assert not any(np.array_equal(after[name], 2 * learnt[name]) for name in after)


def test_models_learn_in_conversations_without_a_root():
    with started(without=("environment", "evolution", "aggregation"), workers=1, ppo={"n_steps": 3}) as address:
        with Client("env", *address) as env, Client("control", *address) as client:
            control = Control(client, CONTROL, OBSERVATION, timeout=10)
            env.join_room("logits")
            before = control.weights()
            say = {
                "TYPE": CUSTOM.id,
                "TO_ROOM": "observation",
                "OBSERVATION": [0.0, 1.0, 2.0, 3.0],
                "DETERMINISTIC": False,
            }
            for step in range(14):  # the first and the eighth begin a run
                env.send(say | ({"ACTION": 1, "REWARD": 1, "DONE": False} if step % 7 else {}))
                assert np.shape(heard(env, lambda m: "LOGITS" in m)[-1]["LOGITS"]) == (2, 2)
            after = control.weights()
        assert not any(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("link", ["inprocess", "queues", "sockets"])
def test_an_action_of_another_run_or_step_moves_no_environment(link):
    with (
        started(link, without=("model", "aggregation", "evolution"), population=1) as address,
        Client("model", *address) as model,
        Client("aggregation", *address) as aggregation,
        Client("control", *address) as control,
    ):
        for client, *rooms in ((model, "observation", "logits"), (aggregation, "logits", "action")):
            for room in rooms:
                client.join_room(room)
        say = {"TYPE": CUSTOM.id, "TO_ROOM": "action", "ACTION": 1}
        control.send(
            {"TYPE": CUSTOM.id, "TO_ROOM": "control", "ROOT_ID": "r", "NR_OF_EPISODE": 1, "DETERMINISTIC": True}
        )
        assert heard(model, lambda m: "OBSERVATION" in m)[-1]["STEP"] == 0
        for late in ({"ROOT_ID": "before"}, {"ROOT_ID": "r", "STEP": 7}, {}):
            aggregation.send(say | late)
        with pytest.raises(WaitTimeout):
            heard_within(model, 0.2)
        aggregation.send({**say, "ROOT_ID": "r"})
        assert heard(model, lambda m: "OBSERVATION" in m)[-1]["STEP"] == 1


@pytest.mark.parametrize("link", ["inprocess", "queues", "sockets"])
def test_an_evolution_counts_the_genomes_of_those_whose_names_it_cannot_know(link):
    with (
        started(link, without=("model", "environment")) as address,
        Client("control", *address) as control,
        Client("known", *address, announce={"ACKNOWLEDGES": ["SET"]}) as known,
    ):
        strangers = [Client("model", *address) for _ in range(3)]
        control.join_room("control")
        for model in (known, *strangers):
            for room in ("observation", "evolution", "logits")[: 2 if model is known else 3]:
                model.join_room(room)
        control.send({"TYPE": CUSTOM.id, "TO_ROOM": "control", "ROOT_ID": "r", "EVOLUTION": True})

        def give(model, name):
            fields = {"WEIGHTS": np.ones(9).tolist(), "COMPONENT_ID": name, "ROOT_ID": "r"}
            model.send({"TYPE": CUSTOM.id, "TO_ROOM": "evolution", **fields})

        (asked,) = heard(known, lambda m: "CMD" in m)
        assert (asked["CMD"], asked["DIRECT"]) == ("GET", True)
        give(strangers[0], "x1")
        give(known, "known")
        give(strangers[1], "x2")
        with pytest.raises(WaitTimeout):
            heard_within(control, 0.2)
        strangers[2].close()  # who will give none
        given = heard(known, lambda m: m.get("CMD") == "SET")[-1]["WEIGHTS"]
        assert set(given) == {"known", "x1", "x2"}
        with pytest.raises(WaitTimeout):
            heard_within(control, 0.2)
        known.send(
            {"TYPE": CUSTOM.id, "TO": "evolution", "STATUS": "SET_DONE", "COMPONENT_ID": "known", "ROOT_ID": "r"}
        )
        assert heard(control, is_status("EVO_DONE"))
        for model in strangers[:2]:
            model.close()


@pytest.mark.parametrize("link", ["inprocess", "queues", "sockets"])
def test_answers_go_to_the_room_unless_they_are_asked_for_alone(link):
    with started(link, without=("environment", "evolution")) as address, Client("evo", *address) as evo:
        evo.join_room("evolution")

        def answers(number, **request):
            evo.send({"TYPE": CUSTOM.id, "ROOT_ID": "r", "TO_ROOM": "evolution", **request})
            return [heard(evo, lambda _: True)[0] for _ in range(number)]

        in_room, alone = answers(2, CMD="GET"), answers(2, CMD="GET", DIRECT=True)
        assert {message.get("TO_ROOM") for message in in_room} == {"evolution"}
        assert [(message.get("TO_ROOM"), message["TO"]) for message in alone] == [(None, "evo")] * 2
        assert all("WEIGHTS" in message or "CONTRIBUTION" in message for message in in_room + alone)
        weights = {"model0": np.zeros(N_WEIGHTS).tolist()}
        (confirmed,) = answers(1, CMD="SET", WEIGHTS=weights, DIRECT=True)
        assert confirmed["STATUS"] == "SET_DONE"
        answers(0, CMD="SET", WEIGHTS=weights)
        with pytest.raises(WaitTimeout):
            heard_within(evo, 0.2)


def test_a_model_that_comes_during_a_run_is_shown_nothing_alone_unless_it_can_bear_that():
    without = "model", "aggregation", "evolution"
    with (
        started("queues", without, population=1) as address,
        Client("control", *address) as control,
        Client("aggregation", *address) as aggregation,
    ):
        aggregation.join_room("logits")
        one, two = Client("model", *address), Client("model", *address)
        for room in ("observation", "logits"):
            one.join_room(room)
        run = {"NR_OF_EPISODE": 1, "DETERMINISTIC": True, "ROOT_ID": "r"}
        control.send({"TYPE": CUSTOM.id, "TO_ROOM": "control", **run})
        assert heard(one, lambda m: "OBSERVATION" in m)
        two.join_room("observation")
        with pytest.raises(WaitTimeout):
            heard_within(two, 0.2)
        one.close()
        two.leave_room("observation")
        two.join_room("observation")  # nobody else could answer
        assert heard(two, lambda m: "OBSERVATION" in m)[-1]["TO_ROOM"] == "observation"
        two.close()
        with Client("ours", *address, announce={"ACKNOWLEDGES": ["SET"]}) as ours:
            ours.join_room("observation")
            assert heard(ours, lambda m: "OBSERVATION" in m)[-1]["TO"] == "ours"
