"""What models are worth, by the returns of the episodes that they led: estimates that forget, and do not trust luck."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEEP = 0.8  # of what is known of a model, at each episode that it leads
MIN_BETWEEN = 0.05  # the least variance between models, in variances within them


@dataclass(frozen=True, eq=False)  # by identity, so that what follows from it can be cached
class Worth:
    """Each of P models' expected return, and its standard error, both (P,); infinite errors as long as little is known.

    Empirical Bayes (Efron and Morris 1973, "Stein's Estimation Rule and Its Competitors", section 2): a mean of few
    episodes is shrunk towards the mean of all models, the more the larger the variance within models is against that
    between them.
    """

    returns: NDArray[np.float64]
    errors: NDArray[np.float64]

    def differs(self, better: int, worse: int, min_errors: float) -> bool:
        """Return whether one model is better than another by at least `min_errors` standard errors."""
        error = np.hypot(self.errors[better], self.errors[worse])
        return bool(np.isfinite(error) and self.returns[better] - self.returns[worse] > min_errors * error)

    def weights(self) -> NDArray[np.float64]:
        """Return weights of the models' votes, with the mean 1, (P,): a softmax of their returns in their own scale."""
        if not np.isfinite(self.errors).all():
            return np.ones(len(self.returns))
        scale = self.returns.std() + self.errors.mean()
        powers = np.exp((self.returns - self.returns.max()) / scale) if scale else np.ones(len(self.returns))
        return powers / powers.mean()

    def sample(self, rng: np.random.Generator) -> int:
        """Return a model by Thompson sampling (Thompson 1933): the best one in a draw of what each may be worth."""
        drawn = rng.standard_normal(len(self.returns))
        errors = np.where(np.isfinite(self.errors), self.errors, 1.0)
        return int(np.argmax(self.returns + errors * drawn))


class LedReturns:
    """Means of the returns of the episodes that each model led, which forget old episodes exponentially."""

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {}  # of weights, weighted returns, and their weighted squares
        self._worth: dict[tuple[str, ...], Worth] = {}  # as long as no return is added: each step asks for it

    def add(self, name: str, value: float) -> None:
        """Count the return of an episode that a model led."""
        self._worth.clear()
        sums = self._sums.setdefault(name, np.zeros(3))
        sums *= KEEP
        sums += (1.0, value, value * value)

    def inherit(self, child: str, parent: str) -> None:
        """Expect of a copy what is known of its parent, as if from one episode."""
        self._worth.clear()
        if parent in self._sums:
            self._sums[child] = self._sums[parent] / max(self._sums[parent][0], 1.0)

    def means(self) -> dict[str, float]:
        """Return each model's mean return, of those that have led."""
        return {name: float(sums[1] / sums[0]) for name, sums in self._sums.items()}

    def worth(self, names: Sequence[str]) -> Worth:
        """Return what the models `names` are worth."""
        key = tuple(names)
        if key not in self._worth:
            self._worth[key] = self._estimate(key)
        return self._worth[key]

    def _estimate(self, names: Sequence[str]) -> Worth:
        sums = np.array([self._sums.get(name, np.zeros(3)) for name in names]).reshape(-1, 3)
        weights, known = sums[:, 0], sums[:, 0] > 0
        degrees = np.maximum(weights - 1, 0).sum()
        if degrees == 0:
            return Worth(np.zeros(len(names)), np.full(len(names), np.inf))
        means = np.divide(sums[:, 1], weights, out=np.zeros(len(names)), where=known)
        common = sums[:, 1].sum() / weights.sum()
        within = max(float(np.maximum(sums[:, 2] - weights * means**2, 0).sum() / degrees), np.finfo(float).tiny)
        between = max(float(np.var(means[known]) - within / weights[known].mean()), MIN_BETWEEN * within)
        prior = within / between  # the weight of the common mean, in episodes
        return Worth((weights * means + prior * common) / (weights + prior), np.sqrt(within / (weights + prior)))

    def worth_by_name(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return what each model is worth that has led, and the standard error of that; nothing while it is unknown."""
        names = list(self._sums)
        worth = self.worth(names)
        if not np.isfinite(worth.errors).all():
            return {}, {}
        returns, errors = (dict(zip(names, array.tolist(), strict=True)) for array in (worth.returns, worth.errors))
        return returns, errors

    def state(self) -> dict[str, list[float]]:
        return {name: sums.tolist() for name, sums in self._sums.items()}

    def restore(self, state: Mapping[str, Sequence[float]]) -> None:
        self._sums = {name: np.array(sums, float) for name, sums in state.items()}
        self._worth.clear()
