"""Which components must still answer a step, and what the others have answered."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order

Names = tuple[str, ...]


class Quorum:
    """The answers to one step, complete once every expected component has answered.

    Expected are the components that were present when their job began, and those that have joined since.
    """

    def __init__(self) -> None:
        self._order = ModelOrder(())
        self.begin(())

    def begin(self, present: Iterable[str]) -> None:
        """Expect the components that are `present` when a job begins; several may share a name."""
        self.answers: dict[Names, NDArray[np.float64]] = {}  # outputs (k, N, n_outputs) of each process, by its models
        self._admitted: set[Names] = set()
        self._expected, self._departed = Counter(present), set[str]()
        self._n_places = self._expected.total()

    def state(self) -> dict[str, Any]:
        return {"awaited": dict(self._expected), "gone": sorted(self._departed), "names": list(self.names)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.begin(Counter(state["awaited"]).elements())
        self._departed = set(state["gone"])
        self._order = ModelOrder((tuple(state.get("names", ())),))

    @property
    def names(self) -> Names:
        """All components that the last complete step had answers from, in their order."""
        return self._order.names

    def admit(self, names: Names, sender: str, *, counts_steps: bool) -> bool:
        """Return whether answers for `names` count in this step.

        Newcomers that count no steps are expected from now on; otherwise, what they send late would be taken for an
        answer to the step after. Their first answer counts only if somebody else has answered the step already, or
        nobody else is expected.
        """
        if self._departed:
            returned = self._departed.intersection(names)
            self._departed -= returned
            self._expected.update(returned)
        if names in self._admitted:
            return True
        is_newcomer = sum(map(len, self._admitted)) + len(names) > self._n_places
        if is_newcomer and not counts_steps:
            if self._expected.total() and not self.answers:
                return False
            self._expected[sender] += len(names)
            self._n_places += len(names)
        self._admitted.add(names)
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Continue without components that have left; others may have waited for them alone."""
        departed = {name for name in names if self._expected[name]}
        self._expected.subtract(departed)
        self._departed |= departed
        for answered in [names for names in self.answers if not departed.isdisjoint(names)]:
            outputs = self.answers.pop(answered)
            rows = [row for row, name in enumerate(answered) if name not in departed]
            if rows:
                self.answers[tuple(answered[row] for row in rows)] = outputs[rows]

    def complete_step(self) -> NDArray[np.float64] | None:
        """Return all outputs (P, N, n_outputs) in order, and begin the next step; None if some are still missing."""
        n_expected = self._expected.total()
        if not self.answers or sum(map(len, self.answers)) < n_expected:
            return None
        answered = tuple(sorted(self.answers, key=lambda names: component_order(names[0])))
        if self._order.answered != answered:
            self._order = ModelOrder(answered)
        if len(self._order.names) < n_expected:
            return None  # two processes answered for one component
        outputs = self._order.sorted([self.answers[names] for names in answered])
        self.answers = {}
        return outputs


class ModelOrder:
    """The order of all models by their names, given the models that each process answered for."""

    def __init__(self, answered: tuple[Names, ...]) -> None:
        self.answered = answered
        # Where two processes answered for one model, the second counts.
        row_of = {name: row for row, name in enumerate(chain.from_iterable(answered))}
        self.names = tuple(sorted(row_of, key=component_order))
        self._rows = [row_of[name] for name in self.names]
        self._is_sorted = self._rows == list(range(sum(map(len, answered))))

    def sorted(self, outputs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the processes' outputs, each (k, N, n_outputs), as one array with its models sorted."""
        together = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
        return together if self._is_sorted else together[self._rows]
