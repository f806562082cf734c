"""Evolution: gathers genomes and contributions, makes the next generation, and hands it out."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.admin import changed
from swarmsim.components.evolution_round import EvolutionRound
from swarmsim.components.fields import (
    are_finite,
    component_ids,
    component_order,
    has_value,
    invalid_field,
    number,
    number_of_each,
    numbers,
    strings,
    text,
)
from swarmsim.components.membership import MemberKind
from swarmsim.components.persistence import StateStore
from swarmsim.learning.genetic import adapted, evolved
from swarmsim.learning.hyperparameters import GeneticSettings
from swarmsim.learning.networks import Architecture, Layer
from swarmsim.learning.seeding import generator, restore, saved
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, Message, root_id


class Evolution:
    """Runs one evolution at a time; one asked for meanwhile follows it.

    An evolution that lost its process is asked for again, and then draws what it drew at first.

    Args:
        genetic: the numbers of the genetic step.
        architecture: of the models, to know which genes make up a layer.
        seed: of the run.
        timeout: seconds to wait for models to be there.
        models, aggregations: who must answer.
        evolution_room, control_room: where they are asked, and who is told that it is done.
    """

    def __init__(
        self,
        client: Client,
        store: StateStore,
        genetic: GeneticSettings,
        architecture: Architecture,
        seed: int,
        timeout: float,
        models: MemberKind,
        aggregations: MemberKind,
        evolution_room: str,
        control_room: str,
    ) -> None:
        self.client = client
        self.store = store
        self.genetic = genetic
        self.architecture = architecture
        self.sigma = genetic.mutation_sigma
        self._offspring: frozenset[str] = frozenset()
        self.seed = seed
        self.timeout = timeout
        self.rng = generator(seed, "evolution")
        self.models = models
        self.aggregations = aggregations
        self.evolution_room = evolution_room
        self.control_room = control_room
        self._asked: deque[Message] = deque()
        self._round: EvolutionRound | None = None
        self._done: Message = {}
        earlier = store.read()
        if earlier is not None:
            self.restore(earlier)

    def state(self) -> dict[str, Any]:
        """Return where it stands between two evolutions."""
        offspring = sorted(self._offspring, key=component_order)
        return {"rng": saved(self.rng), "done": self._done, "sigma": self.sigma, "offspring": offspring}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was told."""
        restore(self.rng, state["rng"])
        self._done = state["done"]
        self.sigma, self._offspring = state["sigma"], frozenset(state["offspring"])

    def settings(self) -> dict[str, Any]:
        """Return what it was made with, as it stands now."""
        return {**asdict(self.genetic), "seed": self.seed, "timeout": self.timeout}

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Draw the next generations by other numbers of the genetic step.

        Raises:
            SettingsError: one of `values` cannot be used; nothing has changed.
        """
        self.genetic = changed(self.genetic, values, fixed=("seed", "timeout"))
        if "mutation_sigma" in values:
            self.sigma = self.genetic.mutation_sigma

    def ask(self, message: Message) -> None:
        """Begin the evolution that control asks for, once those before it are done; once more begins nothing."""
        if message.get("EVOLUTION") is not True:
            return
        if self._done and self._done["ROOT_ID"] == root_id(message):
            self.client.send(self._done)
            return
        if self._round is None or self._round.root_id != root_id(message):
            self._asked.append(message)
            self._begin_next()

    def _begin_next(self) -> None:
        if self._round is not None or not self._asked:
            return
        asked = self._asked.popleft()
        self.models.wait(self.client, 1, self.timeout)
        rooms = self.client.rooms()
        self._round = EvolutionRound.of(asked, self.models.members(rooms), len(self.aggregations.components(rooms)))
        self._say(self._round, CMD="GET", DIRECT=True, TO_ROOM=self.evolution_room)

    def gather(self, message: Message) -> None:
        """Take in an answer to GET or SET; the last one of a kind brings the evolution on."""
        evolution_round = self._round
        if evolution_round is None or message.get("ROOT_ID") != evolution_round.root_id:
            return
        if "WEIGHTS" in message and "COMPONENT_ID" in message:
            evolution_round.take(
                self._genomes(evolution_round, message), _of_each(message, "MOMENTS"), _of_each(message, "ADVANTAGE")
            )
        elif "CONTRIBUTION" in message:
            shares = number_of_each(message, "CONTRIBUTION")
            evolution_round.diversity = number(message, "DIVERSITY", default=0.0)
            evolution_round.shares.update(shares)
            evolution_round.returns.update(number_of_each(message, "RETURN") if "RETURN" in message else {})
            evolution_round.n_reports += 1
        elif has_value(message, "STATUS", "SET_DONE"):
            evolution_round.confirmed.update(component_ids(message))
        self._go_on(evolution_round)

    @staticmethod
    def _genomes(evolution_round: EvolutionRound, message: Message) -> dict[str, NDArray[np.float32]]:
        ids = component_ids(message)
        weights = numbers(message, "WEIGHTS", np.float32)
        length = (
            next(iter(evolution_round.genomes.values())).size if evolution_round.genomes else weights.size // len(ids)
        )
        if weights.size != len(ids) * length or not length or not are_finite(weights):
            raise invalid_field(message, "WEIGHTS", f"one genome of finite numbers for each of {len(ids)} component(s)")
        return dict(zip(ids, weights.reshape(len(ids), -1), strict=True))

    def leave(self, message: Message) -> None:
        """Go on without the components of a process that has gone; without any model, begin anew once one is there."""
        evolution_round = self._round
        if evolution_round is None:
            return
        rooms = self.client.rooms()
        evolution_round.leave(strings(message, "COMPONENTS"), rooms.members.keys())
        if evolution_round.awaits_somebody:
            # the last aggregation is waited for: without its report, nobody would know who contributed
            evolution_round.n_aggregations = max(1, len(self.aggregations.components(rooms)))
            self._go_on(evolution_round)
        else:
            self._round = None
            self._asked.appendleft(evolution_round.asked)
            self._begin_next()

    def welcome(self, message: Message) -> None:
        """Ask an aggregation that comes during an evolution, since it was not there when all were asked."""
        evolution_round = self._round
        if (
            evolution_round is None
            or evolution_round.generation is not None
            or not has_value(message, "ROOM", self.aggregations.room)
        ):
            return
        newcomer = text(message, "SENT_BY")
        if self.aggregations.has(self.client.rooms(), newcomer):
            self._say(evolution_round, CMD="GET", DIRECT=True, TO=newcomer)

    def _go_on(self, evolution_round: EvolutionRound) -> None:
        if evolution_round.has_all_answers:
            self._breed(evolution_round)
        if evolution_round.is_confirmed:
            self._end(evolution_round)

    def _breed(self, evolution_round: EvolutionRound) -> None:
        """Make the next generation, and hand it out."""
        names = evolution_round.names
        fitness = evolution_round.fitness(self.genetic.fitness)
        self.sigma = adapted(self.sigma, self.genetic, fitness, np.array([name in self._offspring for name in names]))
        moments = evolution_round.all_moments if self.genetic.inherit_moments else None
        is_too_alike = evolution_round.diversity < self.genetic.min_diversity
        generation = evolved(
            np.stack([evolution_round.genomes[name] for name in names]),
            fitness,
            self.genetic,
            self.rng,
            moments=moments,
            layers=self._layers(evolution_round),
            sigma=self.sigma * (2 if is_too_alike else 1),
        )
        evolution_round.generation = generation
        self._offspring = frozenset(name for name, new in zip(names, generation.is_offspring, strict=True) if new)
        new: Message = {"WEIGHTS": dict(zip(names, generation.genomes, strict=True))}
        if moments is not None:
            new["MOMENTS"] = dict(zip(names, generation.moments, strict=True))
        self._say(evolution_round, CMD="SET", DIRECT=True, **new, TO_ROOM=self.evolution_room)

    def _layers(self, evolution_round: EvolutionRound) -> tuple[Layer, ...]:
        """Return where the layers' genes lie; models of another size, as others may bring, have none that are known."""
        length = next(iter(evolution_round.genomes.values())).size
        return self.architecture.layers if length == self.architecture.n_weights else ()

    def _end(self, evolution_round: EvolutionRound) -> None:
        generation = evolution_round.generation
        assert generation is not None
        self._done = {
            "TYPE": MESSAGE_TYPE.DATA.CUSTOM.id,
            "ROOT_ID": evolution_round.root_id,
            "TO_ROOM": self.control_room,
            "STATUS": "EVO_DONE",
            "CONTRIBUTION": {
                name: evolution_round.shares[name] for name in sorted(evolution_round.shares, key=component_order)
            },
            "DIVERSITY": evolution_round.diversity,
            "PARENTS_KEPT": generation.parents_kept,
            "CROSSOVERS": generation.crossovers,
            "MUTATIONS": generation.mutations,
        }
        self._round = None
        self.store.write(self.state())
        self.client.send(self._done)
        self._begin_next()

    def _say(self, evolution_round: EvolutionRound, **fields: object) -> None:
        self.client.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "ROOT_ID": evolution_round.root_id, **fields})


def _of_each(message: Message, key: str) -> dict[str, NDArray[np.float64]]:
    """Return a field that holds numbers for each component that the message speaks for; none where it is missing."""
    if key not in message:
        return {}
    ids = component_ids(message)
    values = numbers(message, key, np.float64)
    if values.shape[:1] != (len(ids),) or not are_finite(values):
        raise invalid_field(message, key, f"finite numbers for each of {len(ids)} component(s)")
    return dict(zip(ids, values, strict=True))
