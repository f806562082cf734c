"""Swarms whose components are ours in part, and in part the reference's: two rounds of CartPole on either's server.

The reference's are processes of their own, written on its public API alone, as its users write them.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import gymnasium
import numpy as np
import pytest

from swarmsim import Client, Swarm
from swarmsim.components.control import Control
from swarmsim.components.main_job import AGGREGATIONS, CONTROL, EVOLUTION, MODELS, OBSERVATION, main_job
from swarmsim.components.results import EvolutionResult, JobResult
from swarmsim.config import make_config
from swarmsim.envs.make import shape_of
from swarmsim.messaging.endpoint import Address
from tests.interop.conftest import SECONDS, heard, reference_component

N_MODELS, N_EPISODES, MOST_STEPS = 3, 3, 25
SHORT = "ShortCartPole-v0"  # its episodes are bounded as those of the reference's environment here: its server is slow
N_WEIGHTS = 8


@pytest.fixture
def stack():
    gymnasium.register(SHORT, "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=MOST_STEPS)
    with ExitStack() as opened:
        yield opened
    del gymnasium.registry[SHORT]


def roles(*names: str) -> list:
    """Return those of our components whose names begin with one of these."""
    settings = {"env": SHORT, "population": N_MODELS, "workers": 2, "seed": 1, "timeout": SECONDS, "out": None}
    config = make_config(settings, "test")
    return [role for role in main_job(config, shape_of(SHORT)) if role.name.startswith(names)]


def controlling(stack: ExitStack, address: Address) -> Control:
    return Control(stack.enter_context(Client("control", *address)), CONTROL, OBSERVATION, SECONDS)


def observing(stack: ExitStack, address: Address) -> Client:
    """Return a client that hears what is said for evolutions, and for whom nobody waits."""
    observer = stack.enter_context(Client("observer", *address, announce={"COMPONENTS": []}))
    observer.join_room(EVOLUTION)
    return observer


def play_two_rounds(control: Control) -> Iterator[tuple[JobResult, EvolutionResult]]:
    for _ in range(2):
        trained = control.play(N_EPISODES, deterministic=False)
        evaluated = control.play(1, deterministic=True)
        evolved = control.evolve()
        again = control.play(1, deterministic=True)
        for played in (trained, evaluated, again):
            assert 1 <= played.score <= MOST_STEPS
        yield trained, evolved


def genomes(messages: list[dict], command: str) -> list[dict]:
    """Return the weights by component of each evolution: those that were handed out (SET), or in (GET)."""
    if command == "SET":
        return [message["WEIGHTS"] for message in messages if message.get("CMD") == "SET"]
    found: list[dict] = []
    for message in messages:
        if message.get("CMD") == "GET":
            found.append({})
        elif "WEIGHTS" in message and "COMPONENT_ID" in message:
            assert message["COMPONENT_ID"] not in found[-1], "answered twice"
            found[-1][message["COMPONENT_ID"]] = message["WEIGHTS"]
    return found


def test_our_aggregation_and_evolution_serve_an_environment_and_models_of_the_reference(stack):
    swarm = stack.enter_context(Swarm(None, link="sockets"))
    address = swarm.serve()
    for role in roles("aggregation", "evolution"):
        swarm.add_role(role, address)
    swarm.start()
    stack.enter_context(reference_component("environment", address, MOST_STEPS))
    for number in range(N_MODELS):
        stack.enter_context(reference_component("model", address, number))
    control, observer = controlling(stack, address), observing(stack, address)
    rooms = control.client.rooms()
    assert MODELS.components(rooms) == ["model"] * N_MODELS
    assert AGGREGATIONS.components(rooms) == ["aggregation"]
    names = [f"model-{number}" for number in range(N_MODELS)]
    for trained, evolved in play_two_rounds(control):
        assert trained.seconds > 0
        assert sorted(evolved.contribution) == names
        assert sum(evolved.contribution.values()) == pytest.approx(1)
        assert evolved.parents_kept > 0
    messages = heard(observer)
    handed_in, handed_out = genomes(messages, "GET"), genomes(messages, "SET")
    assert [sorted(each) for each in (*handed_in, *handed_out)] == [names] * 4
    for name in names:  # these models do not learn, so what they got is what they are
        assert np.shape(handed_in[1][name]) == (N_WEIGHTS,)
        assert np.allclose(handed_in[1][name], handed_out[0][name])


@pytest.mark.long
def test_our_environment_and_models_are_served_by_aggregation_and_evolution_of_the_reference(reference_server, stack):
    swarm = stack.enter_context(Swarm(None, link="sockets"))
    control, observer = controlling(stack, reference_server), observing(stack, reference_server)
    for role in roles("environment"):  # nobody is told there who came before
        swarm.add_role(role, reference_server)
    swarm.start()
    for kind in ("aggregation", "evolution"):
        stack.enter_context(reference_component(kind, reference_server, N_MODELS))
    for role in roles("model"):
        swarm.add_role(role, reference_server)
    swarm.start()
    for trained, evolved in play_two_rounds(control):
        assert len(trained.returns) == N_EPISODES
        assert sum(trained.returns) == trained.n_steps
        assert evolved.contribution == {}  # of which that evolution says nothing
    messages = heard(observer)
    names = [f"model{number}" for number in range(N_MODELS)]
    handed_in, handed_out = genomes(messages, "GET"), genomes(messages, "SET")
    assert [sorted(each) for each in (*handed_in, *handed_out)] == [names] * 4
    assert len({len(vector) for each in (*handed_in, *handed_out) for vector in each.values()}) == 1
