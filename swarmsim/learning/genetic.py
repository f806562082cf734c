"""The genetic step: selection, crossover and mutation on genomes, the rows of (P, G) weights.

With no elite, the operators are those that DEAP calls `selTournament`, `cxTwoPoint` and `mutGaussian`, in the order
of its simplest algorithm: select P parents, cross neighbours, mutate. An elite lives on unchanged, and only the others
give way to offspring (De Jong 1975); what an optimiser remembers of a gene goes wherever the gene goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.hyperparameters import GeneticSettings
from swarmsim.learning.networks import Floats, Layer

SUCCESS_RATE, GROWTH = 1 / 5, 1.5  # Rechenberg 1973, "Evolutionsstrategie": the 1/5 success rule
SIGMA_BOUNDS = 0.25, 4.0  # of an adapted sigma, in parts of the setting


@dataclass(frozen=True)
class GeneticCounts:
    """What a genetic step did.

    Attributes:
        parents_kept: old genomes that have a descendant in the new generation, survivors included.
        crossovers: pairs that exchanged genes.
        mutations: genomes that mutated.
    """

    parents_kept: int
    crossovers: int
    mutations: int

    def counts(self) -> dict[str, int]:
        """Return these numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(GeneticCounts)}


@dataclass(frozen=True)
class Generation(GeneticCounts):
    """The next generation, and what produced it."""

    genomes: Floats
    moments: Floats
    is_offspring: NDArray[np.bool_]


def evolved(
    genomes: Floats,
    fitness: NDArray[np.float64],
    settings: GeneticSettings,
    rng: np.random.Generator,
    *,
    moments: Floats | None = None,
    layers: Sequence[Layer] = (),
    sigma: float | None = None,
) -> Generation:
    """Return the generation after `genomes` (P, G), whose `fitness` (P,) is the higher the better.

    Args:
        moments: (P, K, G), what optimisers remember of each gene; it goes where the gene goes.
        layers: where the genes of each layer lie; without them all genes are one layer.
        sigma: in the place of the settings' own.
    """
    n_models, n_genes = genomes.shape
    layers = layers or (Layer(n_genes - 1, 1, 1.0, 0),)
    sigma = settings.mutation_sigma if sigma is None else sigma
    n_elite = min(round(settings.elite_fraction * n_models), n_models)
    is_offspring = np.ones(n_models, np.bool_)
    is_offspring[np.argsort(-fitness, kind="stable")[:n_elite]] = False

    parents = tournaments(fitness, n_models - n_elite, settings.tournament_size, rng)
    source = np.repeat(parents[:, None], n_genes, axis=1)
    crossovers = 0
    for first in range(0, len(parents) - 1, 2):
        if rng.random() < settings.crossover_probability:
            exchanged = _EXCHANGES[settings.crossover](n_genes, layers, rng)
            source[first : first + 2, exchanged] = source[first : first + 2, exchanged][::-1]
            crossovers += 1

    genes = np.arange(n_genes)
    offspring = genomes[source, genes]
    remembered = np.zeros((n_models, 0, n_genes), np.float32) if moments is None else moments.copy()
    remembered[is_offspring] = remembered.swapaxes(1, 2)[source, genes].swapaxes(1, 2)
    mutations = 0
    for genome in offspring:
        if rng.random() < settings.mutation_probability:
            sigmas = sigma * _spread(genome, layers) if settings.relative_sigma else sigma
            mutate_gaussian(genome, settings.gene_probability, sigmas, rng)
            mutations += 1

    following = genomes.copy()
    following[is_offspring] = offspring
    lives_on = np.flatnonzero(~is_offspring)
    parents_kept = len(np.union1d(parents, lives_on))
    return Generation(parents_kept, crossovers, mutations, following, remembered, is_offspring)


def tournaments(
    fitness: NDArray[np.float64], n_winners: int, tournament_size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the winners' indices (n_winners,): each the fittest of `tournament_size` drawn with replacement."""
    entrants = rng.integers(len(fitness), size=(n_winners, tournament_size))
    return entrants[np.arange(n_winners), fitness[entrants].argmax(axis=1)]


def two_points(n_genes: int, _: Sequence[Layer], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which genes two genomes exchange: those between two distinct points drawn from 1 … G."""
    low, high = np.sort(rng.choice(np.arange(1, n_genes + 1), size=2, replace=False))
    exchanged = np.zeros(n_genes, np.bool_)
    exchanged[low:high] = True
    return exchanged


def whole_layers(n_genes: int, layers: Sequence[Layer], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which genes two genomes exchange: those of each layer, or none of it, at even chances."""
    exchanged = np.zeros(n_genes, np.bool_)
    for layer in layers:
        exchanged[layer.start : layer.end] = rng.random() < 0.5
    return exchanged


def whole_neurons(n_genes: int, layers: Sequence[Layer], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which genes two genomes exchange: those that lead into a neuron, or none of them, at even chances.

    After Montana and Davis 1989, "Training Feedforward Neural Networks Using Genetic Algorithms", section 4.2
    (crossover-nodes).
    """
    exchanged = np.zeros(n_genes, np.bool_)
    for layer in layers:
        neurons = rng.random(layer.n_outputs) < 0.5
        exchanged[layer.start : layer.end] = np.tile(neurons, layer.n_inputs + 1)
    return exchanged


_EXCHANGES = {"two_point": two_points, "layer": whole_layers, "neuron": whole_neurons}


def mutate_gaussian(genome: Floats, gene_probability: float, sigma: float | Floats, rng: np.random.Generator) -> None:
    """Add, in place, N(0, sigma²) to each gene of `genome` (G,) with the given probability.

    Args:
        sigma: of all genes, or of each, (G,).
    """
    changes = rng.random(len(genome)) < gene_probability
    drawn = rng.normal(0.0, 1.0, int(changes.sum()))
    genome[changes] += (drawn * np.broadcast_to(sigma, genome.shape)[changes]).astype(np.float32)


def _spread(genome: Floats, layers: Sequence[Layer]) -> Floats:
    """Return of each gene the standard deviation of its layer's, (G,)."""
    spread = np.zeros_like(genome)
    for layer in layers:
        spread[layer.start : layer.end] = genome[layer.start : layer.end].std()
    return spread


def adapted(
    sigma: float, settings: GeneticSettings, fitness: NDArray[np.float64], was_offspring: NDArray[np.bool_]
) -> float:
    """Return the sigma of the next generation, given how the last one's offspring did among the others.

    The 1/5 success rule (Rechenberg 1973): where more than a fifth of them are fitter than the median of those that
    lived on, mutations may be stronger; else they are too strong already.

    Args:
        fitness: (P,), of the models as they are now.
        was_offspring: (P,) booleans, which of them came by the last generation.
    """
    if not settings.adaptive_sigma or not was_offspring.any() or was_offspring.all():
        return sigma
    successes = fitness[was_offspring] > np.median(fitness[~was_offspring])
    factor = GROWTH if successes.mean() > SUCCESS_RATE else GROWTH**-0.25
    low, high = (bound * settings.mutation_sigma for bound in SIGMA_BOUNDS)
    return float(np.clip(sigma * factor, low, high))
