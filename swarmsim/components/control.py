"""Control: asks for runs and evolutions, and waits for what came of them."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order
from swarmsim.errors import WaitTimeout
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, Message


@dataclass(frozen=True)
class RunResult:
    """What a run of episodes gave: the return and the length of each, and the seconds that they took."""

    returns: list[float]
    lengths: list[int]
    seconds: float

    @property
    def score(self) -> float:
        """The mean return."""
        return sum(self.returns) / len(self.returns)

    @property
    def n_steps(self) -> int:
        return sum(self.lengths)


@dataclass(frozen=True)
class EvolutionResult:
    """What an evolution was based on (shares by model, which sum to 1; mean distance of opinions), and what it did."""

    contribution: dict[str, float]
    diversity: float
    parents_kept: int
    crossovers: int
    mutations: int


Progress = Callable[[list[float], int], None]  # returns of episodes ended since the last call, steps so far


class Control:
    """Drives a swarm from a client that has joined the control room.

    Every wait is bounded by `timeout` seconds without a word.

    Raises (every method):
        WaitTimeout: the component waited for said nothing for that long.
        ComponentFailed: a component of this launcher failed meanwhile.
    """

    def __init__(self, client: Client, control_room: str, models_room: str, timeout: float) -> None:
        self.client = client
        self.control_room = control_room
        self.models_room = models_room
        self.timeout = timeout
        client.join_room(control_room)

    def run(self, n_episodes: int, *, deterministic: bool, on_progress: Progress | None = None) -> RunResult:
        """Have the swarm play `n_episodes`: learning from them, or `deterministic`."""
        root_id = self._ask(self.control_room, NR_OF_EPISODE=n_episodes, DETERMINISTIC=deterministic, PROGRESS=True)
        what = f"the environment while it {'evaluates' if deterministic else 'trains'}"
        while True:
            message = self._answer(root_id, what)
            if message.get("STATUS") == "ENV_DONE":
                return RunResult(message["RETURNS"], message["LENGTHS"], message["SECONDS"])
            if message.get("STATUS") == "ENV_PROGRESS" and on_progress is not None:
                on_progress(message["RETURNS"], message["STEPS"])

    def evolve(self) -> EvolutionResult:
        """Have the models replaced by their next generation."""
        root_id = self._ask(self.control_room, EVOLUTION=True)
        while True:
            message = self._answer(root_id, "the evolution")
            if message.get("STATUS") == "EVO_DONE":
                return EvolutionResult(
                    contribution=message.get("CONTRIBUTION", {}),
                    diversity=message.get("DIVERSITY", 0.0),
                    parents_kept=message.get("PARENTS_KEPT", 0),
                    crossovers=message.get("CROSSOVERS", 0),
                    mutations=message.get("MUTATIONS", 0),
                )

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return every model's weights (G,), by its name."""
        missing = set(self.client.components_in(self.models_room))
        root_id = self._ask(self.models_room, type_id=MESSAGE_TYPE.COMMAND.SAVEMODELWEIGHTS.id)
        found: dict[str, NDArray[np.float32]] = {}
        while missing:
            message = self._answer(root_id, f"the weights of {', '.join(sorted(missing, key=component_order)[:5])}")
            if message["TYPE"] == MESSAGE_TYPE.LOG.MODELWEIGHTS.id:
                found.update(zip(message["COMPONENT"], message["WEIGHTS"], strict=True))
                missing -= found.keys()
        return {name: found[name] for name in sorted(found, key=component_order)}

    def _ask(self, room: str, type_id: str = MESSAGE_TYPE.DATA.CUSTOM.id, **fields: object) -> str:
        root_id = uuid.uuid4().hex
        self.client.send({"TYPE": type_id, "TO_ROOM": room, "ROOT_ID": root_id, **fields})
        return root_id

    def _answer(self, root_id: str, waited_for: str) -> Message:
        while True:
            try:
                message = self.client.receive(self.timeout)
            except WaitTimeout:
                behind = ", ".join(self.client.behind())
                hint = f"; messages lie unread with {behind}" if behind else ""
                raise WaitTimeout(f"waited {self.timeout:g} s for a word from {waited_for}{hint}") from None
            if message.get("ROOT_ID") == root_id:
                return message
