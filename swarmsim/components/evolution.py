"""Evolution: gathers genomes and contributions, makes the next generation, and hands it out."""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import (
    are_finite,
    component_ids,
    component_order,
    number,
    number_of_each,
    numbers,
    refused,
    says,
    text,
    texts,
)
from swarmsim.components.gathering import Gathering
from swarmsim.components.kept import Kept
from swarmsim.components.presence import Kind
from swarmsim.components.upkeep import changed
from swarmsim.learning.genetic import adapted, evolved
from swarmsim.learning.hyperparameters import GeneticSettings
from swarmsim.learning.policy import Architecture, Layer
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
        kept: Kept,
        genetic: GeneticSettings,
        architecture: Architecture,
        seed: int,
        timeout: float,
        models: Kind,
        aggregations: Kind,
        evolution_room: str,
        control_room: str,
    ) -> None:
        self.client = client
        self.kept = kept
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
        self._gathering: Gathering | None = None
        self._done: Message = {}
        earlier = kept.load()
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
        if self._gathering is None or self._gathering.root_id != root_id(message):
            self._asked.append(message)
            self._begin_next()

    def _begin_next(self) -> None:
        if self._gathering is not None or not self._asked:
            return
        asked = self._asked.popleft()
        self.models.wait(self.client, 1, self.timeout)
        rooms = self.client.rooms()
        self._gathering = Gathering.of(asked, self.models.members(rooms), len(self.aggregations.components(rooms)))
        self._say(self._gathering, CMD="GET", DIRECT=True, TO_ROOM=self.evolution_room)

    def gather(self, message: Message) -> None:
        """Take in an answer to GET or SET; the last one of a kind brings the evolution on."""
        gathering = self._gathering
        if gathering is None or message.get("ROOT_ID") != gathering.root_id:
            return
        if "WEIGHTS" in message and "COMPONENT_ID" in message:
            gathering.take(
                self._genomes(gathering, message), _of_each(message, "MOMENTS"), _of_each(message, "ADVANTAGE")
            )
        elif "CONTRIBUTION" in message:
            shares = number_of_each(message, "CONTRIBUTION")
            gathering.diversity = number(message, "DIVERSITY", default=0.0)
            gathering.shares.update(shares)
            gathering.returns.update(number_of_each(message, "RETURN") if "RETURN" in message else {})
            gathering.n_reports += 1
        elif says(message, "STATUS", "SET_DONE"):
            gathering.confirmed.update(component_ids(message))
        self._go_on(gathering)

    @staticmethod
    def _genomes(gathering: Gathering, message: Message) -> dict[str, NDArray[np.float32]]:
        ids = component_ids(message)
        weights = numbers(message, "WEIGHTS", np.float32)
        length = next(iter(gathering.genomes.values())).size if gathering.genomes else weights.size // len(ids)
        if weights.size != len(ids) * length or not length or not are_finite(weights):
            raise refused(message, "WEIGHTS", f"one genome of finite numbers for each of {len(ids)} component(s)")
        return dict(zip(ids, weights.reshape(len(ids), -1), strict=True))

    def leave(self, message: Message) -> None:
        """Go on without the components of a process that has gone; without any model, begin anew once one is there."""
        gathering = self._gathering
        if gathering is None:
            return
        rooms = self.client.rooms()
        gathering.leave(texts(message, "COMPONENTS"), rooms.members.keys())
        if gathering.awaits_somebody:
            # the last aggregation is waited for: without its report, nobody would know who contributed
            gathering.n_aggregations = max(1, len(self.aggregations.components(rooms)))
            self._go_on(gathering)
        else:
            self._gathering = None
            self._asked.appendleft(gathering.asked)
            self._begin_next()

    def welcome(self, message: Message) -> None:
        """Ask an aggregation that comes during an evolution, since it was not there when all were asked."""
        gathering = self._gathering
        if gathering is None or gathering.generation is not None or not says(message, "ROOM", self.aggregations.room):
            return
        newcomer = text(message, "SENT_BY")
        if self.aggregations.has(self.client.rooms(), newcomer):
            self._say(gathering, CMD="GET", DIRECT=True, TO=newcomer)

    def _go_on(self, gathering: Gathering) -> None:
        if gathering.has_all_answers:
            self._breed(gathering)
        if gathering.is_confirmed:
            self._end(gathering)

    def _breed(self, gathering: Gathering) -> None:
        """Make the next generation, and hand it out."""
        names = gathering.names
        fitness = gathering.fitness(self.genetic.fitness)
        self.sigma = adapted(self.sigma, self.genetic, fitness, np.array([name in self._offspring for name in names]))
        moments = gathering.all_moments if self.genetic.inherit_moments else None
        is_too_alike = gathering.diversity < self.genetic.min_diversity
        generation = evolved(
            np.stack([gathering.genomes[name] for name in names]),
            fitness,
            self.genetic,
            self.rng,
            moments=moments,
            layers=self._layers(gathering),
            sigma=self.sigma * (2 if is_too_alike else 1),
        )
        gathering.generation = generation
        self._offspring = frozenset(name for name, new in zip(names, generation.is_offspring, strict=True) if new)
        new: Message = {"WEIGHTS": dict(zip(names, generation.genomes, strict=True))}
        if moments is not None:
            new["MOMENTS"] = dict(zip(names, generation.moments, strict=True))
        self._say(gathering, CMD="SET", DIRECT=True, **new, TO_ROOM=self.evolution_room)

    def _layers(self, gathering: Gathering) -> tuple[Layer, ...]:
        """Return where the layers' genes lie; models of another size, as others may bring, have none that are known."""
        length = next(iter(gathering.genomes.values())).size
        return self.architecture.layers if length == self.architecture.n_weights else ()

    def _end(self, gathering: Gathering) -> None:
        generation = gathering.generation
        assert generation is not None
        self._done = {
            "TYPE": MESSAGE_TYPE.DATA.CUSTOM.id,
            "ROOT_ID": gathering.root_id,
            "TO_ROOM": self.control_room,
            "STATUS": "EVO_DONE",
            "CONTRIBUTION": {name: gathering.shares[name] for name in sorted(gathering.shares, key=component_order)},
            "DIVERSITY": gathering.diversity,
            "PARENTS_KEPT": generation.parents_kept,
            "CROSSOVERS": generation.crossovers,
            "MUTATIONS": generation.mutations,
        }
        self._gathering = None
        self.kept.save(self.state())
        self.client.send(self._done)
        self._begin_next()

    def _say(self, gathering: Gathering, **fields: object) -> None:
        self.client.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "ROOT_ID": gathering.root_id, **fields})


def _of_each(message: Message, key: str) -> dict[str, NDArray[np.float64]]:
    """Return a field that holds numbers for each component that the message speaks for; none where it is missing."""
    if key not in message:
        return {}
    ids = component_ids(message)
    values = numbers(message, key, np.float64)
    if values.shape[:1] != (len(ids),) or not are_finite(values):
        raise refused(message, key, f"finite numbers for each of {len(ids)} component(s)")
    return dict(zip(ids, values, strict=True))
