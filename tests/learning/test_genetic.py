"""The genetic operators against DEAP's, in distribution, and the generation that they make."""

import random
from dataclasses import replace

import numpy as np
import pytest
from deap import base, creator, tools

from swarmsim.config import make_config
from swarmsim.learning.genetic import (
    SIGMA_BOUNDS,
    adapt_sigma,
    gaussian_mutation,
    next_generation,
    tournament_selection,
    two_point_crossover,
)
from swarmsim.learning.hyperparameters import EvolutionSettings
from swarmsim.learning.networks import Layer

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
    ours = np.bincount(tournament_selection(fitness, N, 3, np.random.default_rng(0)), minlength=5)

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
        exchanged = two_point_crossover(8, (), rng)
        return np.where(exchanged, 1.0, 0.0), np.where(exchanged, 0.0, 1.0)

    our_genes, our_lengths = swapped_genes(ours)
    their_genes, their_lengths = swapped_genes(lambda: tools.cxTwoPoint([0] * 8, [1] * 8))
    assert same_distribution(our_lengths, their_lengths)
    assert np.abs(our_genes - their_genes).max() < 5 * np.sqrt(N / 4 / 2)


def test_gaussian_mutation_changes_as_deap_does():
    rng = np.random.default_rng(0)
    random.seed(0)
    ours, theirs = np.zeros(N, np.float32), [0.0] * N
    gaussian_mutation(ours, 0.1, 2.0, rng)
    tools.mutGaussian(theirs, mu=0.0, sigma=2.0, indpb=0.1)
    bins = np.array([-100, -4, -2, -1, -0.5, -1e-9, 1e-9, 0.5, 1, 2, 4, 100])
    assert same_distribution(np.histogram(ours, bins)[0], np.histogram(theirs, bins)[0])


def test_a_generation_counts_what_was_done_to_it():
    rng = np.random.default_rng(0)
    genomes = rng.standard_normal((20, 50)).astype(np.float32)
    before = genomes.copy()
    settings = replace(REFERENCE, crossover_probability=0.0, mutation_probability=0.0)
    generation = next_generation(genomes, np.arange(20.0), settings, rng)
    kept = {tuple(genome) for genome in generation.genomes}
    assert generation.parents_kept == len(kept) < 20
    assert kept <= {tuple(genome) for genome in genomes}
    assert generation.counts() == {"parents_kept": len(kept), "crossovers": 0, "mutations": 0}
    assert np.array_equal(genomes, before)


def test_every_pair_crosses_and_every_genome_mutates_where_that_is_certain():
    rng = np.random.default_rng(0)
    genomes = rng.standard_normal((7, 50)).astype(np.float32)
    settings = replace(REFERENCE, crossover_probability=1.0, mutation_probability=1.0, gene_probability=1.0)
    generation = next_generation(genomes, np.zeros(7), settings, rng)
    assert (generation.crossovers, generation.mutations) == (3, 7)
    assert not np.isin(generation.genomes, genomes).any()


def test_the_fittest_spread_and_a_generation_is_the_same_twice():
    genomes = np.arange(20, dtype=np.float32)[:, None] * np.ones((1, 10), np.float32)
    runs = [next_generation(genomes, np.arange(20.0), REFERENCE, np.random.default_rng(3)) for _ in range(2)]
    assert np.array_equal(runs[0].genomes, runs[1].genomes)
    assert runs[0].genomes.mean() > genomes.mean()


def test_a_population_of_one_is_its_own_descendant():
    genome = np.ones((1, 5), np.float32)
    generation = next_generation(
        genome, np.zeros(1), replace(REFERENCE, mutation_probability=0.0), np.random.default_rng(0)
    )
    assert np.array_equal(generation.genomes, genome)


LAYERS = Layer(3, 4, 1.0, 0), Layer(4, 2, 1.0, 16)
N_GENES = LAYERS[-1].end


def generation(seed=0, **settings):
    rng = np.random.default_rng(seed)
    genomes = rng.normal(size=(10, N_GENES)).astype(np.float32)
    moments = np.stack((genomes * 2, genomes * 3), axis=1)
    fitness = rng.permutation(10).astype(float)
    made = next_generation(genomes, fitness, EvolutionSettings(**settings), rng, moments=moments, layers=LAYERS)
    return genomes, fitness, made


def test_an_elite_lives_on_unchanged_and_the_least_fit_give_way():
    genomes, fitness, made = generation(elite_fraction=0.7)
    assert set(np.flatnonzero(made.is_offspring)) == set(np.argsort(fitness)[:3])
    kept = ~made.is_offspring
    np.testing.assert_array_equal(made.genomes[kept], genomes[kept])
    assert not np.equal(made.genomes[~kept], genomes[~kept]).all(axis=1).any()


def test_an_elite_of_all_changes_nothing():
    genomes, _, made = generation(elite_fraction=1.0)
    np.testing.assert_array_equal(made.genomes, genomes)
    assert not made.is_offspring.any()


@pytest.mark.parametrize("crossover", ["two_point", "layer", "neuron"])
def test_what_an_optimiser_remembers_goes_where_the_gene_goes(crossover):
    settings = {"elite_fraction": 0.5, "crossover_probability": 1.0, "mutation_probability": 0.0}
    _, _, made = generation(crossover=crossover, **settings)
    assert made.crossovers == 2
    np.testing.assert_array_equal(made.moments[:, 0], made.genomes * 2)
    np.testing.assert_array_equal(made.moments[:, 1], made.genomes * 3)


def test_a_gene_that_mutates_is_remembered_as_it_was():
    genomes, _, made = generation(elite_fraction=0.5, gene_probability=0.5)
    changed = ~np.isin(made.genomes, genomes)
    assert 0.3 < changed[made.is_offspring].mean() < 0.7
    np.testing.assert_array_equal(made.moments[:, 0][~changed], made.genomes[~changed] * 2)
    assert np.isin(made.moments[:, 0], genomes * 2).all()


@pytest.mark.parametrize(("crossover", "unit"), [("layer", None), ("neuron", 1)])
def test_whole_layers_or_whole_neurons_are_exchanged(crossover, unit):
    settings = {"elite_fraction": 0.0, "crossover_probability": 1.0, "mutation_probability": 0.0}
    genomes, _, made = generation(crossover=crossover, **settings)
    owner = np.array(
        [[int((genomes[:, gene] == row[gene]).argmax()) for gene in range(N_GENES)] for row in made.genomes]
    )
    for layer in LAYERS:
        owners = owner[:, layer.start : layer.end].reshape(10, layer.n_inputs + 1, layer.n_outputs)
        parts = owners if unit else owners.reshape(10, -1, 1)
        assert (parts == parts[:, :1]).all()
    assert any(len(set(row)) > 1 for row in owner)


def test_a_relative_mutation_is_as_strong_as_its_layers_genes_are_spread():
    rng = np.random.default_rng(0)
    layers = Layer(99, 100, 1.0, 0), Layer(99, 100, 1.0, 10_000)
    genome = np.concatenate((rng.normal(0, 5, 10_000), rng.normal(0, 0.1, 10_000))).astype(np.float32)
    settings = EvolutionSettings(elite_fraction=0.0, mutation_sigma=0.2)
    moved = next_generation(genome[None], np.zeros(1), settings, rng, layers=layers).genomes[0] - genome
    assert moved[:10_000].std() == pytest.approx(1.0, rel=0.05)
    assert moved[10_000:].std() == pytest.approx(0.02, rel=0.05)


def test_sigma_grows_where_offspring_do_well_and_shrinks_where_they_do_not():
    settings = EvolutionSettings(mutation_sigma=0.1)
    was_offspring = np.arange(10) < 2
    best, worst = np.where(was_offspring, 1.0, 0.0), np.where(was_offspring, 0.0, 1.0)
    assert adapt_sigma(0.1, settings, best, was_offspring) > 0.1
    assert adapt_sigma(0.1, settings, worst, was_offspring) < 0.1
    assert adapt_sigma(0.1, settings, best, np.zeros(10, bool)) == 0.1
    assert adapt_sigma(0.1, EvolutionSettings(mutation_sigma=0.1, adaptive_sigma=False), best, was_offspring) == 0.1
    sigma = 0.1
    for _ in range(200):
        sigma = adapt_sigma(sigma, settings, best, was_offspring)
    assert sigma == pytest.approx(SIGMA_BOUNDS[1] * 0.1)
