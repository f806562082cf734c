"""Aggregation: the models' opinions become the swarm's action, and each model's share in it is kept."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import by_environment, component_ids, component_order
from swarmsim.learning.aggregate import chosen, contributions, diversity, softmax, summed
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import Message

Names = tuple[str, ...]
Probabilities = NDArray[np.float64]


class Aggregation:
    """Answers a step once every model that was present when the run began has spoken.

    Args:
        models_room: the room whose members are the models.
        seed: of the run; actions are drawn by a generator of this component's own.
    """

    def __init__(self, client: Client, models_room: str, seed: int) -> None:
        self.client = client
        self.models_room = models_room
        self.rng = generator(seed, "aggregation")
        self.ledger = Ledger()
        self._run: object = None
        self._decided = -1
        self._expected = 0
        self._logits: dict[Names, NDArray[np.float64]] = {}
        self._order = Order(())
        self._asked: Message = {}

    def collect(self, message: Message) -> Message | None:
        """Keep a process's logits; answer with the action when none is missing any more."""
        if message.get("ROOT_ID") != self._run:
            self._run, self._decided = message.get("ROOT_ID"), -1
            self._expected = len(self.client.components_in(self.models_room))
            self._logits = {}
        if message.get("STEP", self._decided + 1) <= self._decided:
            return None  # the step went on without it
        names, logits = _opinions(message)
        self._logits[names] = logits
        self._asked = message
        return self._action_when_complete()

    def keep_account(self, message: Message) -> None:
        """Reckon up who contributed, when no action is waited for."""
        self.ledger.reckon_up_if_due()

    def leave(self, message: Message) -> Message | None:
        """Go on without the components of a process that has gone; the others may have waited for it alone."""
        self._expected = min(self._expected, len(self.client.components_in(self.models_room)))
        gone = frozenset(message.get("COMPONENTS", ()))
        for names in [names for names in self._logits if not gone.isdisjoint(names)]:
            logits = self._logits.pop(names)
            left = [row for row, name in enumerate(names) if name not in gone]
            if left:
                self._logits[tuple(names[row] for row in left)] = logits[left]
        return self._action_when_complete()

    def _action_when_complete(self) -> Message | None:
        if not self._logits or sum(map(len, self._logits)) < self._expected:
            return None
        spoken = tuple(sorted(self._logits, key=lambda names: component_order(names[0])))
        if self._order.spoken != spoken:
            self._order = Order(spoken)
        if len(self._order.names) < self._expected:
            return None  # two processes spoke for one component
        probabilities = softmax(self._order.of([self._logits[names] for names in spoken]))
        deterministic = bool(self._asked["DETERMINISTIC"])
        actions = chosen(summed(probabilities), deterministic, self.rng)
        if not deterministic:
            active = by_environment(self._asked["ACTIVE"], np.bool_) if "ACTIVE" in self._asked else slice(None)
            self.ledger.add(self._order.names, probabilities[:, active], actions[active])
        self._logits = {}
        self._decided = self._asked.get("STEP", self._decided + 1)
        carried: Message = {key: self._asked[key] for key in ("ROOT_ID", "MODEL_STATUS") if key in self._asked}
        return {"ACTION": int(actions[0]) if actions.size == 1 else actions, "STEP": self._decided, **carried}

    def report(self, message: Message) -> Message | None:
        """Answer an evolution's GET with what each model contributed since the last one, and begin anew."""
        if message.get("CMD") != "GET":
            return None
        ledger, self.ledger = self.ledger, Ledger()
        return {"CONTRIBUTION": ledger.shares(), "DIVERSITY": ledger.diversity(), "TO": message["SENT_BY"]}


class Ledger:
    """Who contributed how much, and how far opinions differed, since it was opened."""

    BLOCK = 2000  # opinions reckoned up at once: fewer are not worth the calls, more take long at a time

    def __init__(self) -> None:
        self._names: Names = ()
        self._block: list[tuple[Probabilities, NDArray[np.int64]]] = []
        self._n_opinions = 0
        self._sums: NDArray[np.float64] = np.zeros(0)
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._distance = 0.0
        self._n_decisions = 0

    def add(self, names: Names, probabilities: Probabilities, actions: NDArray[np.int64]) -> None:
        """Take in what the models `names` (P) thought, (P, B, A), and the actions (B,) that came of it."""
        if names != self._names:
            self._close_account()
            self._names, self._sums = names, np.zeros(len(names))
        self._block.append((probabilities, actions))
        self._n_opinions += len(names) * actions.size

    def reckon_up_if_due(self) -> None:
        """Take time for what has been added, once there is enough of it."""
        if self._n_opinions >= self.BLOCK:
            self._reckon_up()

    def _reckon_up(self) -> None:
        if not self._block:
            return
        probabilities = np.concatenate([p for p, _ in self._block], axis=1)
        actions = np.concatenate([a for _, a in self._block])
        self._block, self._n_opinions = [], 0
        self._sums += contributions(probabilities, actions).sum(axis=1)
        self._distance += float(diversity(probabilities).sum())
        self._n_decisions += actions.size

    def _close_account(self) -> None:
        """Book what these models have, before others come."""
        self._reckon_up()
        for name, total in zip(self._names, self._sums.tolist(), strict=True):
            self._totals[name] += total
        self._sums[:] = 0

    def shares(self) -> dict[str, float]:
        """Return each model's part of all decisions; the parts sum to 1. Empty where none was made."""
        self._close_account()
        names = sorted(self._totals, key=component_order)
        return {name: self._totals[name] / self._n_decisions for name in names}

    def diversity(self) -> float:
        """Return the mean over all decisions of the models' mean pairwise distance; 0 where none was made."""
        self._reckon_up()
        return self._distance / self._n_decisions if self._n_decisions else 0.0


class Order:
    """The order by component id of what several processes have spoken.

    Attributes:
        spoken: the components that each process spoke for.
        names: all of them, in their order; where two processes spoke for one, the second counts.
    """

    def __init__(self, spoken: tuple[Names, ...]) -> None:
        self.spoken = spoken
        row_of = {name: row for row, name in enumerate(chain.from_iterable(spoken))}
        self.names = tuple(sorted(row_of, key=component_order))
        self._rows = [row_of[name] for name in self.names]
        self._is_as_spoken = self._rows == list(range(sum(map(len, spoken))))

    def of(self, parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the parts (each a process's models first) as one array, its models in their order."""
        together = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return together if self._is_as_spoken else together[self._rows]


def _opinions(message: Message) -> tuple[Names, NDArray[np.float64]]:
    """Return the components that a LOGITS message speaks for, and their logits (k, B, A).

    Raises:
        ValueError: they are not finite, or not one set for each component.
    """
    names = tuple(component_ids(message))
    logits = np.asarray(message["LOGITS"], np.float64)
    if logits.size == 0 or logits.size % (len(names) * logits.shape[-1]):
        raise ValueError(f"{message.get('SENT_BY')} sent logits of shape {logits.shape} for {len(names)} component(s)")
    if not np.isfinite(logits).all():
        raise ValueError(f"{message.get('SENT_BY')} sent logits that are not finite: its learning has diverged")
    return names, logits.reshape(len(names), -1, logits.shape[-1])
