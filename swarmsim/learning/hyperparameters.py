"""The numbers that learning and evolution are tuned by, with those of the preset `default` as defaults."""

from dataclasses import dataclass
from typing import Literal

from swarmsim.settings import setting

LEAST_STEPS = 8  # between two updates that replay, however little there is to learn from
SHORT_TRAINING = 10_000  # steps

Fitness = Literal["contribution", "advantage", "return"]
Crossover = Literal["two_point", "layer", "neuron"]


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """What every way of learning has, named as in Stable-Baselines3."""

    hidden: tuple[int, ...] = setting((16, 16), "units of each hidden layer, of the actor and of the critic", minimum=1)
    learning_rate: float = setting(7e-4, "step size of Adam", minimum=0)
    adam_eps: float = setting(1e-5, "epsilon of Adam, as Stable-Baselines3 sets it", minimum=0)
    n_steps: int = setting(5, "steps of each environment between two updates", minimum=1)
    gamma: float = setting(0.99, "discount of the return", minimum=0, maximum=1)
    gae_lambda: float = setting(
        1.0, "trade-off of bias and variance of the advantage; 1 is the n-step return", minimum=0, maximum=1
    )
    vf_coef: float = setting(0.5, "weight of the value loss", minimum=0)
    ent_coef: float = setting(0.0, "weight of the entropy bonus", minimum=0)
    max_grad_norm: float = setting(0.5, "largest norm of each model's gradient", minimum=0)

    @property
    def replayed_per_step(self) -> float:
        """Transitions that each model learns from once more for each step of its environments, in a short training."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class A2CSettings(LearningSettings):
    """Advantage actor-critic (Mnih et al. 2016, section 4); the defaults are the reference system's."""


@dataclass(frozen=True, kw_only=True)
class PPOSettings(LearningSettings):
    """Proximal policy optimisation (Schulman et al. 2017) on replayed experience, corrected by V-trace."""

    hidden: tuple[int, ...] = setting((32, 32), "units of each hidden layer, of the actor and of the critic", minimum=1)
    learning_rate: float = setting(2e-3, "step size of Adam", minimum=0)
    n_steps: int = setting(1024, "most steps of each environment between two updates", minimum=1)
    gae_lambda: float = setting(0.98, "trade-off of bias and variance of the advantage", minimum=0, maximum=1)
    replay_size: int = setting(8192, "latest transitions that are learnt from, all environments together", minimum=1)
    new_fraction: float = setting(
        0.008, "part of all steps so far that is new at an update: updates are the rarer the more is known", minimum=0
    )
    n_batches: int = setting(32, "minibatches of an update, each drawn anew for each model", minimum=1)
    batch_size: int = setting(128, "transitions of a minibatch, drawn with replacement", minimum=1)
    clip_range: float = setting(0.2, "how far an update may move an action's probability, as a part of it", minimum=0)
    rho_clip: float = setting(1.0, "most that an action counts which the model likes better than the swarm", minimum=0)
    min_advantage_std: float = setting(
        0.1, "least deviation that advantages are divided by, as a part of the largest so far", minimum=0, maximum=1
    )
    normalize_rewards: bool = setting(True, "whether values are counted in units of the rewards' root mean square")

    def steps_between_updates(self, n_seen: float) -> int:
        """Return how many steps of each environment are new at an update, once it has seen `n_seen` in all."""
        return min(self.n_steps, max(round(self.new_fraction * n_seen), LEAST_STEPS))

    @property
    def replayed_per_step(self) -> float:
        return self.n_batches * self.batch_size / self.steps_between_updates(SHORT_TRAINING)


@dataclass(frozen=True)
class GeneticSettings:
    """The genetic step, named as DEAP's operators are described."""

    fitness: Fitness = setting(
        "advantage", "what models are selected by: contribution, advantage-weighted contribution, or return"
    )
    led_fraction: float = setting(
        0.5, "part of the training episodes that one model leads, where fitness is return", minimum=0, maximum=1
    )
    elite_fraction: float = setting(
        0.9, "part of the models, the fittest, that live on unchanged; the others are replaced", minimum=0, maximum=1
    )
    tournament_size: int = setting(3, "models drawn for each tournament, of which the fittest wins", minimum=1)
    crossover: Crossover = setting("neuron", "what pairs exchange: genes between two_point, whole layers, or neurons")
    crossover_probability: float = setting(0.0, "chance of a pair to exchange genes", minimum=0, maximum=1)
    mutation_probability: float = setting(1.0, "chance of a genome to mutate", minimum=0, maximum=1)
    gene_probability: float = setting(1.0, "chance of each gene of a mutating genome to change", minimum=0, maximum=1)
    mutation_sigma: float = setting(0.02, "standard deviation of what is added to a changing gene", minimum=0)
    inherit_moments: bool = setting(True, "whether what the optimiser remembers of a gene goes where the gene goes")
    relative_sigma: bool = setting(True, "whether sigma counts in standard deviations of the gene's own layer")
    adaptive_sigma: bool = setting(True, "whether sigma grows where mutants do well, and shrinks where they do not")
    min_diversity: float = setting(
        0.02, "below it sigma is doubled; 0 is agreement in all, 1 is none", minimum=0, maximum=1
    )
