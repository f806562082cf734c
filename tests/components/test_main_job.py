"""The main job's protocol, mostly on the real queues link: who is told what, in which order, and how often."""

import os
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, Client, ComponentFailed, Swarm
from swarmsim.components.aggregation import ContributionTracker
from swarmsim.components.control import Control
from swarmsim.components.main_job import CONTROL, OBSERVATION, main_job, n_workers, packed, process_name
from swarmsim.config import make_config
from swarmsim.envs.make import shape_of
from swarmsim.experiment.start import start_main_job
from swarmsim.learning.a2c import A2C
from swarmsim.messaging.inprocess import InprocessEndpoint
from tests.conftest import LITTLE
from tests.messaging.queues.delivery_counts import delivery_counts

CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
START_METHOD, LINK = "SWARMSIM_TESTS_START_METHOD", "SWARMSIM_TESTS_LINK"  # of the processes of these tests
EVERY_ROOM = "control", "observation", "logits", "action", "evolution"


class Running:
    """A main job without an experiment around it."""

    def __init__(self, stack: ExitStack, settings: dict) -> None:
        processes = {"start_method": os.environ.get(START_METHOD, "fork"), "link": os.environ.get(LINK, "queues")}
        defaults = {"population": 4, "timeout": 20, "ppo": LITTLE, **processes}
        config = make_config({**defaults, **settings}, "test")
        self.swarm, self.control = start_main_job(stack, config, main_job(config, shape_of(config.env)))
        self.client = self.control.client
        self.address = self.client.address


@contextmanager
def running(**settings):
    with ExitStack() as stack:
        yield Running(stack, settings)


@contextmanager
def observer(job: Running):
    """A client that hears every room, and for whom nobody waits."""
    with Client("observer", *job.address, announce={"COMPONENTS": []}) as client:
        for room in EVERY_ROOM:
            client.join_room(room)
        yield client


def heard(client: Client, until) -> list[dict]:
    """Return all data messages up to the first for which `until` holds."""
    messages = []
    while True:
        message = client.receive(timeout=20)
        if not message["TYPE"].startswith("COMMAND/"):
            messages.append(message)
            if until(message):
                return messages


def is_status(status: str):
    return lambda message: message.get("STATUS") == status


# --- a step


@pytest.mark.long
def test_a_step_of_20_models_in_20_processes_takes_41_deliveries():
    with running(population=20, workers=20, envs=1, link="queues") as job:
        counts, steps = [delivery_counts(job.address)], []
        for n_episodes in (1, 3):
            steps.append(job.control.play(n_episodes, deterministic=False).n_steps)
            counts.append(delivery_counts(job.address))
        for n_steps, before, after in zip(steps, counts, counts[1:], strict=False):
            grown = {room: after[room] - before.get(room, 0) for room in after if room}
            # the observation after the last step is shown too, and answered by nobody
            assert grown == {"_command": 0, "_logging": 0, "control": 6, "evolution": 0,
                             "observation": 20 * (n_steps + 1), "logits": 20 * n_steps, "action": n_steps}  # fmt: skip
        more = steps[1] - steps[0]
        in_step_rooms = [sum(count.get(room, 0) for room in ("observation", "logits", "action")) for count in counts]
        assert (in_step_rooms[2] - in_step_rooms[1]) - (in_step_rooms[1] - in_step_rooms[0]) == 41 * more
        assert more != 0


@pytest.mark.parametrize("link", ["inprocess", "queues"])
def test_a_run_says_what_the_protocol_says_in_its_order(link):
    with running(link=link, population=2, workers=2, envs=1) as job, observer(job) as client:
        result = job.control.play(1, deterministic=False)
        messages = heard(client, is_status("ENV_DONE"))
        rooms = [message["TO_ROOM"] for message in messages]
        step = ["logits", "logits", "action", "observation"]
        assert rooms == ["control", "observation", *step * result.n_steps, "control"]

        observations = [m for m in messages if m["TO_ROOM"] == "observation"]
        assert "ACTION" not in observations[0]
        for observation in observations[1:]:
            assert observation["ACTION"] in (0, 1)
            assert observation["REWARD"] == 1.0
        assert [m["DONE"] for m in observations[1:]] == [False] * (result.n_steps - 1) + [True]
        assert [m.get("LAST", False) for m in observations] == [False] * result.n_steps + [True]
        assert {m["MODEL_STATUS"] for m in messages[1:-1]} == {1}
        assert len({m["ROOT_ID"] for m in messages}) == 1
        assert messages[-1]["AVG_SCORE"] == result.score == result.n_steps
        assert len({m["ID"] for m in messages}) == len(messages)


def test_a_run_ends_once_and_with_no_message_of_it_in_flight():
    with running(workers=4, env="tests.environments:Corridor-v0") as job, observer(job) as client:
        for n_episodes, deterministic in ((3, False), (2, True), (1, False)):
            job.control.play(n_episodes, deterministic=deterministic)
            job.client.send({"TYPE": CUSTOM.id, "TO": "observer", "STATUS": "AFTER"})
            messages = heard(client, is_status("AFTER"))
            done = [i for i, message in enumerate(messages) if message.get("STATUS") == "ENV_DONE"]
            # what is in an inbox keeps the order in which it was sent, so nothing came between done and after
            assert done == [len(messages) - 2]


def test_several_environments_are_decided_in_one_round_of_messages_and_episodes_counted_exactly():
    with running(envs=3, population=2, workers=2) as job, observer(job) as client:
        result = job.control.play(7, deterministic=False)
        messages = heard(client, is_status("ENV_DONE"))
        assert len(result.returns) == 7
        actions = [m for m in messages if m["TO_ROOM"] == "action"]
        assert all(np.shape(m["ACTION"]) == (3,) for m in actions)
        assert result.n_steps / 3 <= len(actions) < result.n_steps
        logits = [m for m in messages if m["TO_ROOM"] == "logits"]
        assert {np.shape(m["LOGITS"]) for m in logits} == {(1, 3, 2)}


def test_control_asks_again_while_a_run_goes_on_and_both_are_done_in_turn():
    with running() as job, observer(job) as client:
        for i in range(2):
            job.client.send(
                {
                    "TYPE": CUSTOM.id,
                    "TO_ROOM": "control",
                    "ROOT_ID": f"run{i}",
                    "NR_OF_EPISODE": 2,
                    "DETERMINISTIC": False,
                }
            )
        first = heard(client, is_status("ENV_DONE"))
        second = heard(client, is_status("ENV_DONE"))
        assert {m["ROOT_ID"] for m in first if m["TO_ROOM"] != "control"} == {"run0"}
        assert {m["ROOT_ID"] for m in second} == {"run1"}


def test_evaluation_changes_nothing():
    with running() as job:
        job.control.play(2, deterministic=False)
        before = job.control.weights()
        job.control.play(5, deterministic=True)
        after = job.control.weights()
        assert all(np.array_equal(before[name], after[name]) for name in before)
    with running() as quiet, running() as busy:
        busy.control.play(3, deterministic=True)
        a, b = (job.control.play(3, deterministic=False).returns for job in (quiet, busy))
        assert a == b
        assert quiet.control.evolve() == busy.control.evolve()


@pytest.mark.long
def test_evaluations_see_the_same_episodes_unless_training_lies_between_them():
    with running(env="Pendulum-v1", ppo={"learning_rate": 0}) as job:
        first, again = (job.control.play(2, deterministic=True).returns for _ in range(2))
        job.control.play(1, deterministic=False)
        later = job.control.play(2, deterministic=True).returns
        assert first == again
        assert set(first).isdisjoint(later)


def test_training_changes_every_model():
    with running(workers=2) as job:
        before = job.control.weights()
        job.control.play(2, deterministic=False)
        after = job.control.weights()
        assert list(before) == ["model0", "model1", "model2", "model3"]
        assert not any(np.array_equal(before[name], after[name]) for name in before)


def test_one_model_can_be_asked_for_its_weights_by_its_name_whichever_process_hosts_it():
    with running(workers=2) as job:
        weights = job.control.weights()
        job.client.send({"TYPE": "COMMAND/SAVEMODELWEIGHTS", "TO": "model3"})
        (answer,) = heard(job.client, lambda m: m["TYPE"] == "LOG/MODELWEIGHTS")
        assert answer["COMPONENT"] == ["model3"]
        assert np.array_equal(answer["WEIGHTS"][0], weights["model3"])


# --- an evolution

MUTATE_ALL = {"mutation_probability": 1.0, "gene_probability": 1.0, "crossover_probability": 0.0}


@pytest.mark.long
def test_a_second_evolution_uses_no_genome_of_the_first():
    with running(workers=4, evolution=MUTATE_ALL) as job, observer(job) as client:
        job.control.play(2, deterministic=False)
        gathered, given = [], []
        for _ in range(2):
            job.control.evolve()
            messages = heard(client, is_status("EVO_DONE"))
            given += [m["WEIGHTS"] for m in messages if m.get("CMD") == "SET"]
            job.control.play(2, deterministic=False)
        gathered = job.control.weights()
        first, second = given
        assert not any(np.array_equal(a, b) for a in first.values() for b in second.values())
        assert not any(np.array_equal(gathered[name], second[name]) for name in gathered)  # trained since


def test_a_second_evolution_starts_from_the_models_as_they_are_then():
    no_change = {"mutation_probability": 0.0, "crossover_probability": 0.0}
    with running(workers=4, evolution=no_change) as job:
        job.control.play(2, deterministic=False)
        job.control.evolve()
        job.control.play(2, deterministic=False)
        trained = [genome.tobytes() for genome in job.control.weights().values()]
        job.control.evolve()
        assert {genome.tobytes() for genome in job.control.weights().values()} <= set(trained)


def test_contributions_are_cleared_by_an_evolution():
    with running() as job:
        job.control.play(2, deterministic=False)
        assert sum(job.control.evolve().contribution.values()) == pytest.approx(1.0)
        again = job.control.evolve()
        assert again.contribution == {}
        assert again.diversity == 0.0


def test_an_evolution_is_done_after_every_models_acknowledgement():
    with running(workers=4) as job, Client("observer", *job.address, announce={"COMPONENTS": []}) as client:
        client.join_room("control")
        client.join_room("evolution")
        for _ in range(5):
            job.control.evolve()
            # the models have answered SET before: what they hold now is what they were given
            weights = job.control.weights()
            given = [m["WEIGHTS"] for m in heard(client, is_status("EVO_DONE")) if m.get("CMD") == "SET"]
            assert len(given) == 1
            assert all(np.array_equal(weights[name], given[0][name]) for name in weights)


def test_a_slow_model_holds_the_end_of_an_evolution_back():
    """The evolution itself, with models that answer by hand: no acknowledgement, no end."""
    config = make_config({"population": 2}, "test")
    roles = {role.name: role for role in main_job(config, shape_of(config.env))}
    with Swarm(None, start_method=os.environ.get(START_METHOD, "fork")) as swarm:
        address = swarm.serve()
        swarm.add_role(roles["evolution"], address)
        swarm.add_role(roles["aggregation"], address)
        swarm.start()
        says_so = {"ACKNOWLEDGES": ["SET"]}
        with (
            Client("control", *address) as control,
            Client("a", *address, announce=says_so) as a,
            Client("b", *address, announce=says_so) as b,
        ):
            control.join_room("control")
            for model in (a, b):
                model.join_room("observation")
                model.join_room("evolution")
            control.send({"TYPE": CUSTOM.id, "TO_ROOM": "control", "ROOT_ID": "r", "EVOLUTION": True})

            def answer(model, **fields):
                model.send({"TYPE": CUSTOM.id, "TO": "evolution", "ROOT_ID": "r", "COMPONENT_ID": model.name, **fields})

            for model in (a, b):
                heard(model, lambda m: m.get("CMD") == "GET")
                answer(model, WEIGHTS=np.ones(755, np.float32))
            for model in (a, b):
                heard(model, lambda m: m.get("CMD") == "SET")
            answer(a, STATUS="SET_DONE")
            with pytest.raises(Exception, match="none came"):
                heard_within(control, 0.2)
            answer(b, STATUS="SET_DONE")
            assert heard(control, is_status("EVO_DONE"))


def heard_within(client: Client, seconds: float) -> None:
    """Wait for a data message for this long; raises WaitTimeout where none comes."""
    deadline = time.monotonic() + seconds
    while client.receive(max(deadline - time.monotonic(), 0.01))["TYPE"].startswith("COMMAND/"):
        pass


# --- who is there


def test_the_environment_waits_for_its_models_and_tells_who_is_missing():
    config = make_config({"population": 3, "timeout": 0.3}, "test")
    roles = [r for r in main_job(config, shape_of(config.env)) if not r.name.startswith("model")]
    with Swarm(None, start_method=os.environ.get(START_METHOD, "fork")) as swarm:
        address = swarm.serve()
        for role in roles:
            swarm.add_role(role, address)
        swarm.start()
        with Client("control", *address) as client:
            control = Control(client, CONTROL, OBSERVATION, timeout=10)
            with pytest.raises(ComponentFailed, match=r"'environment' waited 0.3 s for 3 component\(s\) in room 'obs"):
                control.play(1, deterministic=False)


def test_models_are_packed_in_order_and_evenly():
    assert packed(5, 2) == [["model0", "model1"], ["model2", "model3", "model4"]]
    assert packed(3, 3) == [["model0"], ["model1"], ["model2"]]
    assert [process_name(names) for names in packed(5, 2)] == ["models0-1", "models2-4"]
    assert process_name(["model7"]) == "model7"
    for population in range(1, 30):
        for workers in range(1, population + 1):
            groups = packed(population, workers)
            assert [name for names in groups for name in names] == [f"model{i}" for i in range(population)]
            assert len(groups) == workers
            assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_nobody_who_waits_for_an_answer_waits_for_learning_or_accounts(monkeypatch):
    events = []
    deliver, update = InprocessEndpoint.deliver, A2C._update

    def delivered(self, table, message, to, body):
        events.append(message.get("TO_ROOM"))
        deliver(self, table, message, to, body)

    monkeypatch.setattr(InprocessEndpoint, "deliver", delivered)

    def updated(self):
        events.append("update")
        update(self)

    monkeypatch.setattr(A2C, "_update", updated)
    monkeypatch.setattr(ContributionTracker, "update_if_due", lambda self: events.append("account"))
    with running(link="inprocess", population=2, workers=2, preset="reference") as job:
        job.control.play(1, deterministic=False)
    first = events.index("update") - 2
    assert events[first : first + 9] == [
        "observation", "logits", "update", "logits", "update", "account", "action", "account", "observation",
    ]  # fmt: skip


def test_auto_takes_one_worker_for_a_small_swarm_and_one_per_core_for_a_large_one(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))

    def taken(population, envs, preset="reference", workers="auto"):
        config = make_config({"population": population, "envs": envs, "preset": preset, "workers": workers}, "")
        return n_workers(config.with_learner(continuous=False))

    assert taken(20, 1, workers=7) == 7
    assert taken(20, 1) == 1
    assert taken(1000, 1) == 8
    assert taken(150, 1) == 2
    assert taken(50, 20) == 3
    assert taken(2, 1000) == 2
    assert taken(20, 1, preset="default") == 3  # it learns more often from each step than it decides
    assert taken(3, 1, preset="default") == 1


# --- a look


@pytest.mark.parametrize(
    "lies",
    [
        {"TAKEN": "much"},
        {"TAKEN": [["action", "aggregation"]]},
        {"TAKEN": [["action", "aggregation", "often"]]},
        {"TAKEN": [[["action"], "aggregation", 1]]},
        {"TAKEN": [], "SHARES": {"model0": "all"}},
        {"TAKEN": [], "LEARNING": 0.5},
        {"TAKEN": [], "LEARNING_NUMBER": -1},
    ],
)
def test_what_is_no_look_is_left_out(lies):
    with running(link="inprocess") as job, Client("stranger", *job.address) as stranger:
        seen = []
        job.control.observer.component_seen = seen.append
        stranger.send({"TYPE": CUSTOM.id, "TO": "control", **lies})
        job.control.request_snapshots()
        assert {sight.component for sight in seen} == {"control", *job.swarm.components}


def test_a_snapshot_counts_what_was_received_since_the_one_before():
    with running(link="inprocess", envs=1) as job:
        seen = []
        job.control.observer.component_seen = seen.append
        result = job.control.play(2, deterministic=True)
        job.control.request_snapshots()
        (environment,) = (snapshot for snapshot in seen if snapshot.component == "environment")
        assert ("action", "aggregation", result.n_steps) in environment.received
        seen.clear()
        job.control.request_snapshots()
        (environment,) = (snapshot for snapshot in seen if snapshot.component == "environment")
        assert environment.received == [("_command", "control", 1)]
