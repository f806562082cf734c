"""The genetic step on genomes, the rows of (P, G) weights: elitism, tournament selection, crossover, mutation.

Without an elite, the operators are DEAP's `selTournament`, `cxTwoPoint` and `mutGaussian`, in the order of its
`eaSimple`: select P parents, cross neighbours, mutate. With elitism (De Jong 1975), the fittest genomes survive
unchanged, and offspring replace only the others. The optimiser's moments of a gene go wherever the gene goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.hyperparameters import EvolutionSettings
from swarmsim.learning.networks import Floats, Layer

SUCCESS_RATE, GROWTH = 1 / 5, 1.5  # the 1/5 success rule: Rechenberg 1973, "Evolutionsstrategie"
SIGMA_BOUNDS = 0.25, 4.0  # of an adapted sigma, relative to `mutation_sigma`


@dataclass(frozen=True)
class GeneticCounts:
    """What a genetic step did."""

    parents_kept: int  # old genomes that have a descendant in the new generation, survivors included
    crossovers: int  # pairs that exchanged genes
    mutations: int  # genomes that mutated

    def counts(self) -> dict[str, int]:
        """Return these numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(GeneticCounts)}


@dataclass(frozen=True)
class Generation(GeneticCounts):
    """The next generation, and what produced it.

    A gene's moments are inherited with it, also if it mutated: an optimiser without them would take steps that undo
    what was inherited.
    """

    genomes: Floats  # (P, G)
    moments: Floats | None  # (P, K, G), if they are inherited
    is_offspring: NDArray[np.bool_]  # (P,), False for genomes that survived unchanged
    parents: NDArray[np.int64] | None = None  # (P,), whose copy each model is, in population-based training
    hyperparameters: NDArray[np.float64] | None = None  # (P, H), if they evolve


def next_generation(
    genomes: Floats,
    fitness: NDArray[np.float64],
    settings: EvolutionSettings,
    rng: np.random.Generator,
    *,
    moments: Floats | None = None,
    layers: Sequence[Layer] = (),
    sigma: float | None = None,
) -> Generation:
    """Return the generation that follows `genomes` (P, G) with their `fitness` (P,), higher being better.

    Args:
        moments: (P, K, G), the optimiser's moments of each gene.
        layers: where each layer's genes lie; by default all genes are one layer.
        sigma: standard deviation of the mutation; by default `mutation_sigma`.
    """
    n_models, n_genes = genomes.shape
    layers = layers or (Layer(n_genes - 1, 1, 1.0, 0),)
    sigma = settings.mutation_sigma if sigma is None else sigma
    n_elite = min(round(settings.elite_fraction * n_models), n_models)
    is_offspring = np.ones(n_models, np.bool_)
    is_offspring[np.argsort(-fitness, kind="stable")[:n_elite]] = False

    parents = tournament_selection(fitness, n_models - n_elite, settings.tournament_size, rng)
    source = np.repeat(parents[:, None], n_genes, axis=1)  # the parent that each gene of each offspring comes from
    crossovers = 0
    for first in range(0, len(parents) - 1, 2):
        if rng.random() < settings.crossover_probability:
            exchanged = _CROSSOVERS[settings.crossover](n_genes, layers, rng)
            source[first : first + 2, exchanged] = source[first : first + 2, exchanged][::-1]
            crossovers += 1

    genes = np.arange(n_genes)
    offspring = genomes[source, genes]
    new_moments = np.zeros((n_models, 0, n_genes), np.float32) if moments is None else moments.copy()
    new_moments[is_offspring] = new_moments.swapaxes(1, 2)[source, genes].swapaxes(1, 2)
    mutations = 0
    for genome in offspring:
        if rng.random() < settings.mutation_probability:
            sigmas = sigma * _layer_stds(genome, layers) if settings.relative_sigma else sigma
            gaussian_mutation(genome, settings.gene_probability, sigmas, rng)
            mutations += 1

    new_genomes = genomes.copy()
    new_genomes[is_offspring] = offspring
    n_parents_kept = len(np.union1d(parents, np.flatnonzero(~is_offspring)))
    inherited = None if moments is None else new_moments
    return Generation(n_parents_kept, crossovers, mutations, new_genomes, inherited, is_offspring)


def tournament_selection(
    fitness: NDArray[np.float64], n_winners: int, tournament_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the winners' indices (n_winners,): each the fittest of `tournament_size` drawn with replacement."""
    entrants = rng.integers(len(fitness), size=(n_winners, tournament_size))
    return entrants[np.arange(n_winners), fitness[entrants].argmax(axis=1)]


def two_point_crossover(n_genes: int, _: Sequence[Layer], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which genes (G,) a pair exchanges: those between two distinct points drawn from 1 … G."""
    low, high = np.sort(rng.choice(np.arange(1, n_genes + 1), size=2, replace=False))
    genes = np.arange(n_genes)
    return (low <= genes) & (genes < high)


def layer_crossover(n_genes: int, layers: Sequence[Layer], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which genes (G,) a pair exchanges: each layer as a whole, with probability ½."""
    exchanged = np.zeros(n_genes, np.bool_)
    for layer in layers:
        exchanged[layer.start : layer.end] = rng.random() < 0.5
    return exchanged


def neuron_crossover(n_genes: int, layers: Sequence[Layer], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which genes (G,) a pair exchanges: all that lead into a neuron together, with probability ½.

    Montana and Davis 1989, "Training Feedforward Neural Networks Using Genetic Algorithms", section 4.2.
    """
    exchanged = np.zeros(n_genes, np.bool_)
    for layer in layers:
        neurons = rng.random(layer.n_outputs) < 0.5
        exchanged[layer.start : layer.end] = np.tile(neurons, layer.n_inputs + 1)
    return exchanged


_CROSSOVERS = {"two_point": two_point_crossover, "layer": layer_crossover, "neuron": neuron_crossover}


def gaussian_mutation(genome: Floats, gene_probability: float, sigma: float | Floats, rng: np.random.Generator) -> None:
    """Add N(0, sigma²), in place, to each gene of `genome` (G,) with the given probability; `sigma` may be (G,)."""
    mutates = rng.random(len(genome)) < gene_probability
    drawn = rng.normal(0.0, 1.0, int(mutates.sum()))
    genome[mutates] += (drawn * np.broadcast_to(sigma, genome.shape)[mutates]).astype(np.float32)


def _layer_stds(genome: Floats, layers: Sequence[Layer]) -> Floats:
    """Return, for each gene, the standard deviation of its layer's genes, (G,)."""
    stds = np.zeros_like(genome)
    for layer in layers:
        stds[layer.start : layer.end] = genome[layer.start : layer.end].std()
    return stds


def adapt_sigma(
    sigma: float, settings: EvolutionSettings, fitness: NDArray[np.float64], was_offspring: NDArray[np.bool_]
) -> float:
    """Return the next generation's sigma by the 1/5 success rule (Rechenberg 1973).

    An offspring is a success if its `fitness` (P,) exceeds the survivors' median. Sigma grows if more than a fifth of
    the last genetic step's offspring (P,) are successes, and else shrinks.
    """
    if not settings.adaptive_sigma or not was_offspring.any() or was_offspring.all():
        return sigma
    successes = fitness[was_offspring] > np.median(fitness[~was_offspring])
    factor = GROWTH if successes.mean() > SUCCESS_RATE else GROWTH**-0.25
    low, high = (bound * settings.mutation_sigma for bound in SIGMA_BOUNDS)
    return float(np.clip(sigma * factor, low, high))
