"""Population-based training: the worst models become copies of the best, with other hyperparameters.

Jaderberg et al. 2017, "Population Based Training of Neural Networks" (arXiv 1711.09846), algorithm 1, with the copied
weights, optimiser state and hyperparameters of SEARL (Franke et al. 2021, arXiv 2009.01555, section 3).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.genetic import Generation
from swarmsim.learning.hyperparameters import EvolutionSettings, LearningSettings
from swarmsim.learning.led_returns import Worth
from swarmsim.learning.networks import Floats

UP_TO_1 = "gae_lambda", "clip_range"
FROM_1 = "gae_lambda"  # its distance from 1 is what matters: 1 / (1 − λ) is the horizon


def initial_hyperparameters(
    learning: LearningSettings, evolution: EvolutionSettings, generators: Sequence[np.random.Generator]
) -> NDArray[np.float64]:
    """Return the hyperparameters of models at their beginning, (P, H), in the order of `of_each_model`.

    Those that evolve are drawn around their setting, log-uniformly within `spread` decades to each side.
    """
    names = learning.of_each_model
    values = np.array([[getattr(learning, name) for name in names] for _ in generators], float)
    evolve = [names.index(name) for name in evolution.evolving(learning)]
    for row, rng in zip(values, generators, strict=True):
        factors = 10 ** rng.uniform(-evolution.spread, evolution.spread, len(names))
        row[evolve] = scaled(row, factors, names)[evolve]
    return values


def scaled(values: NDArray[np.float64], factors: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """Return hyperparameters (…, H) times `factors`, within their bounds; of λ, the distance from 1 is multiplied."""
    from_1 = np.array([name == FROM_1 for name in names])
    result = np.where(from_1, 1 - (1 - values) * factors, values * factors)
    return np.clip(result, 0, np.where([name in UP_TO_1 for name in names], 1.0, np.inf))


def parents_of(worth: Worth, settings: EvolutionSettings) -> NDArray[np.int64]:
    """Return whose copy each model becomes, (P,): itself, or one of the best for one of the worst.

    The worst and the best make pairs. A pair acts only if it differs by more than luck may explain (`min_difference`).
    """
    n_models = len(worth.returns)
    parents = np.arange(n_models)
    order = np.argsort(-worth.returns, kind="stable")
    number = min(round(settings.copied_fraction * n_models) or 1, n_models // 2)
    for better, worse in zip(order[:number], order[::-1][:number], strict=True):
        if worth.differs(better, worse, settings.min_difference):
            parents[worse] = better
    return parents


def inherited(
    values: NDArray[np.float64],
    parents: NDArray[np.int64],
    names: Sequence[str],
    evolving: Sequence[str],
    perturbation: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the next hyperparameters (P, H): a copy's are its parent's, each of the `evolving` ones larger or smaller.

    Args:
        values: (P, H), of the models now.
        perturbation: the factor; half of the values are divided by it.
    """
    result = values[parents].copy()
    evolve = [names.index(name) for name in evolving]
    for child in np.flatnonzero(parents != np.arange(len(parents))):
        factors = perturbation ** rng.choice((-1.0, 1.0), len(names))
        result[child, evolve] = scaled(result[child], factors, names)[evolve]
    return result


def copies(
    genomes: Floats,
    moments: Floats | None,
    hyperparameters: NDArray[np.float64] | None,
    parents: NDArray[np.int64],
) -> Generation:
    """Return the generation in which each of P models has the genome (P, G) and the moments (P, K, G) of its parent.

    Args:
        hyperparameters: (P, H), of the next generation already.
        parents: (P,).
    """
    is_copy = parents != np.arange(len(parents))
    return Generation(
        parents_kept=len(np.unique(parents)),
        crossovers=0,
        mutations=0 if hyperparameters is None else int(is_copy.sum()),
        genomes=genomes[parents],
        moments=None if moments is None else moments[parents],
        is_offspring=is_copy,
        parents=parents,
        hyperparameters=hyperparameters,
    )
