"""Contributions: how much each model contributed to the swarm's decisions, and how diverse the models were."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order
from swarmsim.components.quorum import Names
from swarmsim.learning.aggregate import ActionProbabilities, contributions, diversity


class ContributionTracker:
    """Each model's contribution to the decisions since its creation, and the models' mean diversity in them."""

    BLOCK = 2000  # action distributions computed at once: fewer are not worth the calls, more take long at a time

    def __init__(self) -> None:
        self._names: Names = ()
        self._block: list[tuple[ActionProbabilities, NDArray[np.float64]]] = []
        self._block_size = 0
        self._sums: NDArray[np.float64] = np.zeros(0)
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._distance = 0.0
        self._n_decisions = 0

    def state(self) -> dict[str, Any]:
        """Return its state; what is not computed yet stays so, since sums depend on their order to the last bit."""
        distributions, support = self._concatenated() if self._block else (None, None)
        return {
            "names": list(self._names),
            "sums": self._sums.copy(),
            "totals": dict(self._totals),
            "distance": self._distance,
            "n_decisions": self._n_decisions,
            "opinions": distributions,
            "given": support,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._names, self._sums = tuple(state["names"]), np.array(state["sums"])
        self._totals = defaultdict(float, state["totals"])
        self._distance, self._n_decisions = state["distance"], state["n_decisions"]
        self._block, self._block_size = [], 0
        if state["given"] is not None:
            self._block.append((np.asarray(state["opinions"]), np.asarray(state["given"])))
            self._block_size = np.size(state["given"])

    def add(self, names: Names, distributions: ActionProbabilities, support: NDArray[np.float64]) -> None:
        """Add the decisions of P models in N environments.

        Args:
            distributions: (P, N, A), each model's action probabilities.
            support: (P, N), of each model for the action that was taken.
        """
        if names != self._names:
            self._close_block()
            self._names, self._sums = names, np.zeros(len(names))
        self._block.append((distributions, support))
        self._block_size += support.size

    def update_if_due(self) -> None:
        """Compute the contributions of the last decisions, if there are enough of them."""
        if self._block_size >= self.BLOCK:
            self._update()

    def _update(self) -> None:
        if not self._block:
            return
        # in one memory layout, whatever that of the parts: sums are then the same to the last bit after a restart
        distributions, support = map(np.ascontiguousarray, self._concatenated())
        self._block, self._block_size = [], 0
        self._sums += contributions(support).sum(axis=1)
        self._distance += float(diversity(distributions).sum())
        self._n_decisions += support.shape[1]

    def _concatenated(self) -> tuple[ActionProbabilities, NDArray[np.float64]]:
        distributions, support = zip(*self._block, strict=True)
        return np.concatenate(distributions, axis=1), np.concatenate(support, axis=1)

    def _close_block(self) -> None:
        """Add the sums of the present models to the totals, before other models follow."""
        self._update()
        for name, total in zip(self._names, self._sums.tolist(), strict=True):
            self._totals[name] += total
        self._sums[:] = 0

    def contribution(self) -> dict[str, float]:
        """Return each model's contribution to all decisions; they sum to 1, or are empty without a decision."""
        self._close_block()
        return self.contribution_so_far()

    def contribution_so_far(self) -> dict[str, float]:
        """Return the same as far as it is computed; nothing changes by that, not even the order of sums."""
        totals = dict(self._totals)
        for name, total in zip(self._names, self._sums.tolist(), strict=True):
            totals[name] = totals.get(name, 0.0) + total
        n_decisions = max(self._n_decisions, 1)
        return {name: totals[name] / n_decisions for name in sorted(totals, key=component_order)}

    def diversity(self) -> float:
        """Return the models' mean pairwise total variation distance over all decisions; 0 without a decision."""
        self._update()
        return self._distance / self._n_decisions if self._n_decisions else 0.0
