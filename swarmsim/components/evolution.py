"""Evolution: gathers genomes and contributions, makes the next generation, and hands it out."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_ids, component_order
from swarmsim.learning.genetic import Generation, evolved
from swarmsim.learning.hyperparameters import GeneticSettings
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, Message, root_id


@dataclass
class Gathering:
    """What one evolution has heard so far; nothing of it is left for the next."""

    root_id: str
    models: frozenset[str]
    n_aggregations: int
    genomes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    diversity: float = 0.0
    n_reports: int = 0
    generation: Generation | None = None
    confirmed: set[str] = field(default_factory=set)

    @property
    def has_all_answers(self) -> bool:
        return self.generation is None and self.genomes.keys() >= self.models and self.n_reports >= self.n_aggregations

    @property
    def is_confirmed(self) -> bool:
        return self.generation is not None and self.confirmed >= self.models


class Evolution:
    """Runs one evolution at a time; one asked for meanwhile follows it.

    Args:
        genetic: the numbers of the genetic step.
        seed: of the run.
        models_room, aggregation_room: whose members must answer.
        evolution_room, control_room: where they are asked, and who is told that it is done.
    """

    def __init__(
        self,
        client: Client,
        genetic: GeneticSettings,
        seed: int,
        models_room: str,
        aggregation_room: str,
        evolution_room: str,
        control_room: str,
    ) -> None:
        self.client = client
        self.genetic = genetic
        self.rng = generator(seed, "evolution")
        self.models_room = models_room
        self.aggregation_room = aggregation_room
        self.evolution_room = evolution_room
        self.control_room = control_room
        self._asked: deque[Message] = deque()
        self._gathering: Gathering | None = None

    def ask(self, message: Message) -> None:
        """Begin the evolution that control asks for, once those before it are done."""
        if message.get("EVOLUTION") is True:
            self._asked.append(message)
            self._begin_next()

    def _begin_next(self) -> None:
        if self._gathering is not None or not self._asked:
            return
        asked = self._asked.popleft()
        self._gathering = Gathering(
            root_id=str(root_id(asked)),
            models=frozenset(self.client.components_in(self.models_room)),
            n_aggregations=len(self.client.components_in(self.aggregation_room)),
        )
        self._say(self._gathering, self.evolution_room, CMD="GET")

    def gather(self, message: Message) -> None:
        """Take in an answer to GET or SET; the last one of a kind brings the evolution on."""
        gathering = self._gathering
        if gathering is None or message.get("ROOT_ID") != gathering.root_id:
            return
        if "WEIGHTS" in message and "COMPONENT_ID" in message:
            gathering.genomes.update(_by_component(message))
        elif "CONTRIBUTION" in message:
            gathering.shares.update(message["CONTRIBUTION"])
            gathering.diversity = float(message.get("DIVERSITY", 0.0))
            gathering.n_reports += 1
        elif message.get("STATUS") == "SET_DONE":
            gathering.confirmed.update(component_ids(message))
        self._go_on(gathering)

    def leave(self, message: Message) -> None:
        """Go on without the components of a process that has gone."""
        if self._gathering is None:
            return
        gone = frozenset(message.get("COMPONENTS", ()))
        self._gathering.models -= gone
        self._gathering.n_aggregations = len(self.client.components_in(self.aggregation_room))
        self._go_on(self._gathering)

    def _go_on(self, gathering: Gathering) -> None:
        if gathering.has_all_answers:
            names = sorted(gathering.models, key=component_order)
            genomes = np.stack([gathering.genomes[name] for name in names])
            fitness = np.array([gathering.shares.get(name, 0.0) for name in names])
            gathering.generation = evolved(genomes, fitness, self.genetic, self.rng)
            weights = dict(zip(names, gathering.generation.genomes, strict=True))
            self._say(gathering, self.evolution_room, CMD="SET", WEIGHTS=weights)
        if gathering.is_confirmed:
            self._end(gathering)

    def _end(self, gathering: Gathering) -> None:
        generation = gathering.generation
        assert generation is not None
        self._gathering = None
        self._say(
            gathering,
            self.control_room,
            STATUS="EVO_DONE",
            CONTRIBUTION={name: gathering.shares[name] for name in sorted(gathering.shares, key=component_order)},
            DIVERSITY=gathering.diversity,
            PARENTS_KEPT=generation.parents_kept,
            CROSSOVERS=generation.crossovers,
            MUTATIONS=generation.mutations,
        )
        self._begin_next()

    def _say(self, gathering: Gathering, room: str, **fields: object) -> None:
        self.client.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "TO_ROOM": room, "ROOT_ID": gathering.root_id, **fields})


def _by_component(message: Message) -> dict[str, NDArray[np.float32]]:
    ids = component_ids(message)
    return dict(zip(ids, np.asarray(message["WEIGHTS"], np.float32).reshape(len(ids), -1), strict=True))
