"""The ledger: who contributed how much to the swarm's decisions, and how far opinions differed."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order
from swarmsim.learning.aggregate import Opinions, contributions, diversity

Names = tuple[str, ...]


class ContributionTracker:
    """Who contributed how much, and how far opinions differed, since it was opened."""

    BLOCK = 2000  # opinions reckoned up at once: fewer are not worth the calls, more take long at a time

    def __init__(self) -> None:
        self._names: Names = ()
        self._block: list[tuple[Opinions, NDArray[np.float64]]] = []
        self._n_opinions = 0
        self._sums: NDArray[np.float64] = np.zeros(0)
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._distance = 0.0
        self._n_decisions = 0

    def state(self) -> dict[str, Any]:
        """Return all that it holds, to the last bit: so what is not reckoned up yet stays so."""
        return {
            "names": list(self._names),
            "sums": self._sums.copy(),
            "totals": dict(self._totals),
            "distance": self._distance,
            "n_decisions": self._n_decisions,
            "opinions": np.concatenate([opinions for opinions, _ in self._block], axis=1) if self._block else None,
            "given": np.concatenate([given for _, given in self._block], axis=1) if self._block else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` told."""
        self._names, self._sums = tuple(state["names"]), np.array(state["sums"])
        self._totals = defaultdict(float, state["totals"])
        self._distance, self._n_decisions = state["distance"], state["n_decisions"]
        self._block, self._n_opinions = [], 0
        if state["given"] is not None:
            self._block.append((np.asarray(state["opinions"]), np.asarray(state["given"])))
            self._n_opinions = np.size(state["given"])

    def add(self, names: Names, opinions: Opinions, given: NDArray[np.float64]) -> None:
        """Take in what the models `names` (P) thought, (P, B, A), and gave to the actions that came of it, (P, B)."""
        if names != self._names:
            self._close_account()
            self._names, self._sums = names, np.zeros(len(names))
        self._block.append((opinions, given))
        self._n_opinions += given.size

    def update_if_due(self) -> None:
        """Take time for what has been added, once there is enough of it."""
        if self._n_opinions >= self.BLOCK:
            self._update()

    def _update(self) -> None:
        if not self._block:
            return
        # in one layout, whatever that of the blocks: sums come out the same to the last bit, also after a restart
        opinions = np.ascontiguousarray(np.concatenate([opinions for opinions, _ in self._block], axis=1))
        given = np.ascontiguousarray(np.concatenate([given for _, given in self._block], axis=1))
        self._block, self._n_opinions = [], 0
        self._sums += contributions(given).sum(axis=1)
        self._distance += float(diversity(opinions).sum())
        self._n_decisions += given.shape[1]

    def _close_account(self) -> None:
        """Book what these models have, before others come."""
        self._update()
        for name, total in zip(self._names, self._sums.tolist(), strict=True):
            self._totals[name] += total
        self._sums[:] = 0

    def shares(self) -> dict[str, float]:
        """Return each model's part of all decisions; the parts sum to 1. Empty where none was made."""
        self._close_account()
        names = sorted(self._totals, key=component_order)
        return {name: self._totals[name] / self._n_decisions for name in names}

    def standing(self) -> dict[str, float]:
        """Return the same as far as it is reckoned up; nothing changes by it, not even the order of sums."""
        totals = dict(self._totals)
        for name, total in zip(self._names, self._sums.tolist(), strict=True):
            totals[name] = totals.get(name, 0.0) + total
        decisions = max(self._n_decisions, 1)
        return {name: totals[name] / decisions for name in sorted(totals, key=component_order)}

    def diversity(self) -> float:
        """Return the mean over all decisions of the models' mean pairwise distance; 0 where none was made."""
        self._update()
        return self._distance / self._n_decisions if self._n_decisions else 0.0
