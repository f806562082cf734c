"""Evolution: collects genomes and contributions, breeds the next generation, and hands it out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from swarmsim.components.admin import changed
from swarmsim.components.evolution_round import EvolutionRound
from swarmsim.components.fields import Fields, component_order, has_value, strings, text
from swarmsim.components.membership import MemberKind
from swarmsim.components.parts import in_groups
from swarmsim.components.persistence import StateStore
from swarmsim.components.protocol.control import EvolutionDone, EvolutionRequest
from swarmsim.components.protocol.evolution import Contribution, Genomes, GetRequest, SetDone, SetRequest
from swarmsim.components.pulse import Pulse
from swarmsim.components.requests import RequestQueue
from swarmsim.components.results import EvolutionResult
from swarmsim.components.schedule import Schedule
from swarmsim.learning.genetic import Generation, adapt_sigma, next_generation
from swarmsim.learning.hyperparameters import EvolutionSettings
from swarmsim.learning.networks import Architecture, Floats, Layer
from swarmsim.learning.population import copies, inherited, parents_of
from swarmsim.learning.seeding import generator, restore_rng, rng_state
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, Message, root_id


@dataclass(eq=False, kw_only=True)
class Evolution:
    """Runs one evolution at a time; evolutions that are requested meanwhile follow it.

    An evolution whose process was replaced is requested again, and then draws the same numbers.

    Args:
        options: how models evolve.
        hyperparameters: the names of the H hyperparameters that each model has of its own.
        evolving: those of them that evolve.
        schedule: what to do instead of copying by returns, if given.
        architecture: of the models; it shows which genes belong to a layer.
        seed: of the run.
        timeout: seconds to wait for models to be present.
        models, aggregations: the members that must answer.
        evolution_room, control_room: where they are asked, and where the end is reported.
    """

    client: Client = field(kw_only=False)
    store: StateStore = field(kw_only=False)
    options: EvolutionSettings
    hyperparameters: Sequence[str]
    evolving: Sequence[str]
    schedule: Schedule | None = None
    architecture: Architecture
    seed: int
    timeout: float
    models: MemberKind
    aggregations: MemberKind
    evolution_room: str
    control_room: str

    def __post_init__(self) -> None:
        self._pulse = Pulse(self.client, self.control_room, self.timeout)
        self.sigma = self.options.mutation_sigma
        self.rng = generator(self.seed, "evolution")
        self._offspring: frozenset[str] = frozenset()
        self._n_done = 0
        self._requests = RequestQueue()
        self._round: EvolutionRound | None = None
        saved_state = self.store.read()
        if saved_state is not None:
            self.restore(saved_state)

    def state(self) -> dict[str, Any]:
        """Return its state between two evolutions."""
        return {
            "rng": rng_state(self.rng),
            "done": self._requests.last_answer,
            "sigma": self.sigma,
            "offspring": sorted(self._offspring, key=component_order),
            "number": self._n_done,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        restore_rng(self.rng, state["rng"])
        self._requests.restore((), state["done"].get("ROOT_ID"), state["done"])
        self.sigma, self._offspring = state["sigma"], frozenset(state["offspring"])
        self._n_done = state.get("number", 0)

    def settings(self) -> dict[str, Any]:
        """Return its settings as they are now."""
        return {**asdict(self.options), "seed": self.seed, "timeout": self.timeout}

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Breed the next generations with other settings of the genetic step.

        Raises:
            SettingsError: one of `values` cannot be used; nothing has changed.
        """
        self.options = changed(self.options, values, fixed=("seed", "timeout"))
        if "mutation_sigma" in values:
            self.sigma = self.options.mutation_sigma

    # --- handlers

    def request_evolution(self, message: Message) -> None:
        """Begin the evolution that control requests, once those before it are done; a repeated request begins none."""
        if EvolutionRequest.read(message) is None:
            return
        if self._requests.was_answered(message):
            self.client.send(self._requests.last_answer)
        elif self._round is None or self._round.root_id != root_id(message):
            self._requests.add(message)
            self._begin_next()

    def collect(self, message: Message) -> None:
        """Add an answer to GET or SET; the last one of a kind completes this part of the evolution."""
        evolution_round = self._round
        if evolution_round is None or message.get("ROOT_ID") != evolution_round.root_id:
            return
        if (genomes := Genomes.read(message, evolution_round.n_weights)) is not None:
            evolution_round.add_genomes(genomes)
        elif (report := Contribution.read(message)) is not None:
            evolution_round.add_contribution(report)
        elif (done := SetDone.read(message)) is not None:
            evolution_round.confirmed.update(done.names)
        self._pulse()
        self._proceed(evolution_round)

    def handle_disconnect(self, message: Message) -> None:
        """Continue without the models of a process that has left; if none is left, begin again once one is present."""
        evolution_round = self._round
        if evolution_round is None:
            return
        rooms = self.client.rooms()
        evolution_round.remove(strings(message, "COMPONENTS"), rooms.members.keys())
        if evolution_round.has_models:
            # the last aggregation is waited for: without its report, the contributions are not known
            evolution_round.n_aggregations = max(1, len(self.aggregations.components(rooms)))
            self._proceed(evolution_round)
        else:
            self._round = None
            self._requests.put_back(evolution_round.request)
            self._begin_next()

    def handle_join(self, message: Message) -> None:
        """Ask or tell an aggregation that joins during an evolution, since it was not there when all others were."""
        evolution_round = self._round
        if evolution_round is None or not has_value(message, "ROOM", self.aggregations.room):
            return
        newcomer = text(message, "SENT_BY")
        if self.aggregations.has(self.client.rooms(), newcomer):
            request = (
                GetRequest() if evolution_round.generation is None else SetRequest({}, parents=evolution_round.parents)
            )
            self._send(evolution_round, request.fields(), TO=newcomer)

    # --- an evolution

    def _begin_next(self) -> None:
        request = self._requests.next() if self._round is None else None
        if request is None:
            return
        self._pulse.begin()
        self.models.wait(self.client, 1, self.timeout)
        rooms = self.client.rooms()
        self._round = EvolutionRound.of(request, self.models.members(rooms), self.aggregations.members(rooms))
        self._send(self._round, GetRequest().fields(), TO_ROOM=self.evolution_room)

    def _proceed(self, evolution_round: EvolutionRound) -> None:
        if evolution_round.has_all_answers:
            self._breed(evolution_round)
        if evolution_round.is_confirmed:
            self._finish(evolution_round)

    def _breed(self, evolution_round: EvolutionRound) -> None:
        """Make the next generation, and hand it out."""
        names = evolution_round.names
        evolution_round.generation = generation = self._next_generation(evolution_round)
        self._pulse()
        self._offspring = frozenset(name for name, new in zip(names, generation.is_offspring, strict=True) if new)
        genomes, moments, hyperparameters = (
            {} if array is None else dict(zip(names, array, strict=True))
            for array in (generation.genomes, generation.moments, generation.hyperparameters)
        )
        bytes_of_one = sum(array.nbytes for array in (genomes[names[0]], *list(moments.values())[:1]))
        for some in in_groups(len(names), bytes_of_one):
            request = SetRequest(
                {name: genomes[name] for name in names[some]},
                {name: moments[name] for name in names[some] if moments},
                {name: hyperparameters[name] for name in names[some] if hyperparameters},
                evolution_round.parents,
            )
            self._send(evolution_round, request.fields(), TO_ROOM=self.evolution_room)
            self._pulse()

    def _next_generation(self, evolution_round: EvolutionRound) -> Generation:
        genomes = np.stack([evolution_round.genomes[name] for name in evolution_round.names])
        moments = evolution_round.all_moments if self.options.inherit_moments else None
        hyperparameters = evolution_round.all_hyperparameters(len(self.hyperparameters))
        if self.options.kind == "genetic":
            return self._genetic_step(evolution_round, genomes, moments)
        if self.schedule is not None:
            names = evolution_round.names
            parents = self.schedule.parents_after(self._n_done, names)
            return copies(genomes, moments, self.schedule.before(self._n_done + 1, names), parents)
        parents = np.arange(len(genomes))
        if self.options.kind == "pbt":
            parents = parents_of(evolution_round.model_worth(), self.options)
        if hyperparameters is not None:
            keys, factor = (self.hyperparameters, self.evolving), self.options.perturbation
            hyperparameters = inherited(hyperparameters, parents, *keys, factor, self.rng)
        return copies(genomes, moments, hyperparameters, parents)

    def _genetic_step(self, evolution_round: EvolutionRound, genomes: Floats, moments: Floats | None) -> Generation:
        fitness = evolution_round.fitness(self.options.fitness)
        was_offspring = np.array([name in self._offspring for name in evolution_round.names])
        self.sigma = adapt_sigma(self.sigma, self.options, fitness, was_offspring)
        is_too_alike = evolution_round.diversity < self.options.min_diversity
        return next_generation(
            genomes,
            fitness,
            self.options,
            self.rng,
            moments=moments,
            layers=self._layers(evolution_round),
            sigma=self.sigma * (2 if is_too_alike else 1),
        )

    def _layers(self, evolution_round: EvolutionRound) -> tuple[Layer, ...]:
        """Return where the layers' genes lie; they are not known of models of another size, as others may bring."""
        return self.architecture.layers if evolution_round.n_weights == self.architecture.n_weights else ()

    def _finish(self, evolution_round: EvolutionRound) -> None:
        generation = evolution_round.generation
        assert generation is not None
        contribution = evolution_round.contribution
        result = EvolutionResult(
            **generation.counts(),
            contribution={name: contribution[name] for name in sorted(contribution, key=component_order)},
            diversity=evolution_round.diversity,
            parents=evolution_round.parents,
            hyperparameters={
                name: dict(zip(self.hyperparameters, evolution_round.hyperparameters[name].tolist(), strict=True))
                for name in evolution_round.names
                if name in evolution_round.hyperparameters
            },
        )
        done: Message = {
            "TYPE": MESSAGE_TYPE.DATA.CUSTOM.id,
            "ROOT_ID": evolution_round.root_id,
            "TO_ROOM": self.control_room,
            **EvolutionDone(result).fields(),
        }
        self._requests.remember(evolution_round.root_id, done)
        self._round = None
        self._n_done += 1
        self.store.write(self.state())
        self.client.send(done)
        self._begin_next()

    def _send(self, evolution_round: EvolutionRound, fields: Fields, **address: str) -> None:
        message = {"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "ROOT_ID": evolution_round.root_id, **fields, **address}
        self.client.send(message)
