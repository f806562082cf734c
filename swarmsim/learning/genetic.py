"""The genetic step: selection, crossover and mutation on genomes, the rows of (P, G) weights.

The operators are those that DEAP calls `selTournament`, `cxTwoPoint` and `mutGaussian`, in the order of
its simplest algorithm: select P parents, cross neighbours, mutate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.hyperparameters import GeneticSettings
from swarmsim.learning.policy import Floats


@dataclass(frozen=True)
class Generation:
    """The genomes (P, G) that follow, and what made them.

    Attributes:
        parents_kept: how many of the old genomes have any descendant.
        crossovers: pairs that exchanged genes.
        mutations: genomes that mutated.
    """

    genomes: Floats
    parents_kept: int
    crossovers: int
    mutations: int


def evolved(
    genomes: Floats, fitness: NDArray[np.float64], settings: GeneticSettings, rng: np.random.Generator
) -> Generation:
    """Return the generation after `genomes` (P, G), whose `fitness` (P,) is the higher the better."""
    parents = tournaments(fitness, len(genomes), settings.tournament_size, rng)
    offspring = genomes[parents]
    crossovers = mutations = 0
    for first in range(0, len(offspring) - 1, 2):
        if rng.random() < settings.crossover_probability:
            cross_two_point(offspring[first], offspring[first + 1], rng)
            crossovers += 1
    for genome in offspring:
        if rng.random() < settings.mutation_probability:
            mutate_gaussian(genome, settings.gene_probability, settings.mutation_sigma, rng)
            mutations += 1
    return Generation(offspring, len(np.unique(parents)), crossovers, mutations)


def tournaments(
    fitness: NDArray[np.float64], n_winners: int, tournament_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the winners' indices (n_winners,): each the fittest of `tournament_size` drawn with replacement."""
    entrants = rng.integers(len(fitness), size=(n_winners, tournament_size))
    return entrants[np.arange(n_winners), fitness[entrants].argmax(axis=1)]


def cross_two_point(first: Floats, second: Floats, rng: np.random.Generator) -> None:
    """Exchange, in place, the genes of two genomes (G,) between two distinct points drawn from 1 … G."""
    low, high = np.sort(rng.choice(np.arange(1, len(first) + 1), size=2, replace=False))
    first[low:high], second[low:high] = second[low:high].copy(), first[low:high].copy()


def mutate_gaussian(genome: Floats, gene_probability: float, sigma: float, rng: np.random.Generator) -> None:
    """Add, in place, N(0, sigma²) to each gene of `genome` (G,) with the given probability."""
    changes = rng.random(len(genome)) < gene_probability
    genome[changes] += rng.normal(0.0, sigma, int(changes.sum())).astype(np.float32)
