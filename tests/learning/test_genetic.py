"""The genetic operators against DEAP's, in distribution, and the generation that they make."""

import random
from dataclasses import replace

import numpy as np
import pytest
from deap import base, creator, tools

from swarmsim.config import make_config
from swarmsim.learning.genetic import evolved, mutate_gaussian, tournaments, two_points

N = 20_000
REFERENCE = make_config({"preset": "reference"}, "here").evolution


@pytest.fixture(scope="module", autouse=True)
def deap_types():
    creator.create("Fitness", base.Fitness, weights=(1.0,))
    creator.create("Individual", list, fitness=creator.Fitness)
    yield
    del creator.Fitness, creator.Individual


def same_distribution(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Tell whether two histograms of counts differ by no more than chance: each bin within 5 standard errors."""
    p, q = ours / ours.sum(), theirs / theirs.sum()
    error = np.sqrt(p * (1 - p) / ours.sum() + q * (1 - q) / theirs.sum())
    return bool((np.abs(p - q) <= 5 * error + 1e-12).all())


def test_tournaments_choose_as_deap_does():
    fitness = np.array([0.3, 0.1, 0.9, 0.5, 0.7])
    ours = np.bincount(tournaments(fitness, N, 3, np.random.default_rng(0)), minlength=5)

    random.seed(0)
    population = [creator.Individual([i]) for i in range(5)]
    for individual, value in zip(population, fitness, strict=True):
        individual.fitness.values = (value,)
    theirs = np.bincount([winner[0] for winner in tools.selTournament(population, N, 3)], minlength=5)

    assert same_distribution(ours, theirs)
    assert not same_distribution(ours, theirs[::-1])


def test_two_point_crossover_exchanges_as_deap_does():
    def swapped_genes(cross) -> tuple[np.ndarray, np.ndarray]:
        """Return how often each gene, and each number of genes, was exchanged."""
        genes, lengths = np.zeros(8, int), np.zeros(9, int)
        for _ in range(N // 4):
            first, second = cross()
            assert all(sorted(pair) == [0, 1] for pair in zip(first, second, strict=True))
            genes += np.array(first, int)
            lengths[int(sum(first))] += 1
        return genes, lengths

    rng = np.random.default_rng(0)
    random.seed(0)

    def ours():
        exchanged = two_points(8, (), rng)
        return np.where(exchanged, 1.0, 0.0), np.where(exchanged, 0.0, 1.0)

    our_genes, our_lengths = swapped_genes(ours)
    their_genes, their_lengths = swapped_genes(lambda: tools.cxTwoPoint([0] * 8, [1] * 8))
    assert same_distribution(our_lengths, their_lengths)
    assert np.abs(our_genes - their_genes).max() < 5 * np.sqrt(N / 4 / 2)


def test_gaussian_mutation_changes_as_deap_does():
    rng = np.random.default_rng(0)
    random.seed(0)
    ours, theirs = np.zeros(N, np.float32), [0.0] * N
    mutate_gaussian(ours, 0.1, 2.0, rng)
    tools.mutGaussian(theirs, mu=0.0, sigma=2.0, indpb=0.1)
    bins = np.array([-100, -4, -2, -1, -0.5, -1e-9, 1e-9, 0.5, 1, 2, 4, 100])
    assert same_distribution(np.histogram(ours, bins)[0], np.histogram(theirs, bins)[0])


def test_a_generation_counts_what_was_done_to_it():
    rng = np.random.default_rng(0)
    genomes = rng.standard_normal((20, 50)).astype(np.float32)
    before = genomes.copy()
    settings = replace(REFERENCE, crossover_probability=0.0, mutation_probability=0.0)
    generation = evolved(genomes, np.arange(20.0), settings, rng)
    kept = {tuple(genome) for genome in generation.genomes}
    assert generation.parents_kept == len(kept) < 20
    assert kept <= {tuple(genome) for genome in genomes}
    assert (generation.crossovers, generation.mutations) == (0, 0)
    assert np.array_equal(genomes, before)


def test_every_pair_crosses_and_every_genome_mutates_where_that_is_certain():
    rng = np.random.default_rng(0)
    genomes = rng.standard_normal((7, 50)).astype(np.float32)
    settings = replace(REFERENCE, crossover_probability=1.0, mutation_probability=1.0, gene_probability=1.0)
    generation = evolved(genomes, np.zeros(7), settings, rng)
    assert (generation.crossovers, generation.mutations) == (3, 7)
    assert not np.isin(generation.genomes, genomes).any()


def test_the_fittest_spread_and_a_generation_is_the_same_twice():
    genomes = np.arange(20, dtype=np.float32)[:, None] * np.ones((1, 10), np.float32)
    runs = [evolved(genomes, np.arange(20.0), REFERENCE, np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(runs[0].genomes, runs[1].genomes)
    assert runs[0].genomes.mean() > genomes.mean()


def test_a_population_of_one_is_its_own_descendant():
    genome = np.ones((1, 5), np.float32)
    generation = evolved(genome, np.zeros(1), replace(REFERENCE, mutation_probability=0.0), np.random.default_rng(0))
    assert np.array_equal(generation.genomes, genome)
