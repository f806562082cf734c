"""Settings of learning and evolution; the defaults are those of the preset `default`."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from swarmsim.settings import setting

MIN_NEW_TRANSITIONS = 8  # between two updates of PPO, however few there have been
SHORT_TRAINING = 5_000  # steps, in which most of the learning is done

Credit = Literal["joint", "own"]
EvolutionKind = Literal["pbt", "genetic", "none"]
LeaderChoice = Literal["uniform", "thompson"]
Fitness = Literal["contribution", "advantage", "return"]
Crossover = Literal["two_point", "layer", "neuron"]

HIDDEN = "units of each hidden layer, in the actor and in the critic, each"
LEARNING_RATE = "Adam's step size α (Kingma and Ba 2014)"
ENT_COEF = "entropy bonus coefficient β, of each model's own policy"
GAE_LAMBDA = "GAE λ, bias (0) against variance (1) of the advantage (Schulman et al. 2015, eq. 16)"


def at_least_0(default: float, help: str) -> Any:
    return setting(default, f"{help}, ≥ 0", minimum=0)


def at_least_1(default: float | tuple[int, ...], help: str) -> Any:
    return setting(default, f"{help}, ≥ 1", minimum=1)


def fraction(default: float, help: str) -> Any:
    return setting(default, f"{help}, 0 to 1", minimum=0, maximum=1)


@dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """Settings of every learner, named as in Stable-Baselines3."""

    hidden: tuple[int, ...] = at_least_1((16, 16), HIDDEN)
    learning_rate: float = at_least_0(7e-4, LEARNING_RATE)
    adam_eps: float = at_least_0(1e-5, "Adam's ε (Kingma and Ba 2014)")
    gamma: float = fraction(0.99, "discount γ per step")
    max_grad_norm: float = at_least_0(0.5, "gradient norm clip, of each model (a2c) or of each actor and critic (ppo)")

    of_each_model: ClassVar[tuple[str, ...]] = ("learning_rate",)  # these may differ by model

    @property
    def is_joint(self) -> bool:
        """Whether models improve the swarm's policy by their contributions, not each its own."""
        return False

    @property
    def replayed_per_step(self) -> float:
        """Transitions that a model replays for each step of its environments, after SHORT_TRAINING steps."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class ActorCriticSettings(LearningSettings):
    """Settings of the learners whose critics estimate the values of states."""

    n_steps: int = at_least_1(5, "rollout length T, steps of each environment per update")
    gae_lambda: float = fraction(1.0, f"{GAE_LAMBDA}; 1 is the n-step return")
    vf_coef: float = at_least_0(0.5, "value loss coefficient")
    ent_coef: float = at_least_0(0.0, ENT_COEF)
    credit: Credit = setting(
        "joint", "whose policy a model improves: joint (the swarm's, in proportion to its contribution) or own"
    )
    of_each_model: ClassVar[tuple[str, ...]] = "learning_rate", "ent_coef", "gae_lambda"

    @property
    def is_joint(self) -> bool:
        return self.credit == "joint"


@dataclass(frozen=True, kw_only=True)
class A2CSettings(ActorCriticSettings):
    """Advantage actor-critic (Mnih et al. 2016, section 4); the defaults are the reference system's."""


@dataclass(frozen=True, kw_only=True)
class PPOSettings(ActorCriticSettings):
    """Proximal policy optimisation (Schulman et al. 2017) on replayed experience, corrected by V-trace."""

    hidden: tuple[int, ...] = at_least_1((32, 32), HIDDEN)
    learning_rate: float = at_least_0(1e-3, LEARNING_RATE)
    n_steps: int = at_least_1(1024, "maximum steps of each environment between two updates")
    gae_lambda: float = fraction(0.95, GAE_LAMBDA)
    ent_coef: float = at_least_0(0.05, ENT_COEF)
    ent_decay_start: int = at_least_1(5000, "steps after which the entropy bonus falls, with the root of all steps")
    replay_size: int = at_least_1(8192, "replay buffer size, transitions of all environments together")
    new_fraction: float = at_least_0(0.016, "new steps that make an update due, as a fraction of all steps so far")
    n_batches: int = at_least_1(32, "minibatches per update, drawn anew for each model")
    batch_size: int = at_least_1(128, "minibatch size, transitions drawn with replacement")
    clip_range: float = at_least_0(0.2, "clip range ε of the probability ratio (Schulman et al. 2017, eq. 7)")
    rho_clip: float = at_least_0(1.0, "importance-weight clip ρ̄ (Espeholt et al. 2018, eq. 1)")
    min_advantage_std: float = fraction(
        0.1, "minimum divisor of normalised advantages, relative to their largest standard deviation so far"
    )
    normalize_rewards: bool = setting(True, "whether rewards are divided by their root mean square so far")
    of_each_model: ClassVar[tuple[str, ...]] = *ActorCriticSettings.of_each_model, "clip_range"

    def steps_between_updates(self, n_seen: float, n_envs: int = 1) -> int:
        """Return the new steps of each environment that make an update due after `n_seen` transitions of them all."""
        n_new = max(self.new_fraction * n_seen, MIN_NEW_TRANSITIONS)
        return min(self.n_steps, max(round(n_new / n_envs), 1))

    def entropy_decay(self, n_seen: float) -> float:
        """Return the part of `ent_coef` that counts after `n_seen` transitions in all."""
        return min(1.0, self.ent_decay_start / max(n_seen, 1)) ** 0.5

    @property
    def replayed_per_step(self) -> float:
        return self.n_batches * self.batch_size / self.steps_between_updates(SHORT_TRAINING)


@dataclass(frozen=True, kw_only=True)
class SACSettings(LearningSettings):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), for continuous actions."""

    hidden: tuple[int, ...] = at_least_1((64, 64), "units of each hidden layer, in the actor and in each critic")
    learning_rate: float = at_least_0(1e-3, LEARNING_RATE)
    max_grad_norm: float = at_least_0(10.0, "gradient norm clip, of each actor and of each model's critics")
    replay_size: int = at_least_1(100_000, "replay buffer size, transitions of all environments together")
    learning_starts: int = at_least_0(500, "transitions before the first update")
    batch_size: int = at_least_1(64, "minibatch size, transitions drawn with replacement")
    train_freq: int = at_least_1(2, "new transitions that make an update due")
    gradient_steps: int = at_least_1(1, "minibatches per update, drawn anew for each model")
    tau: float = fraction(0.02, "Polyak coefficient τ by which the target critics follow the critics")
    ent_coef: float | Literal["auto"] = setting(
        "auto",
        "entropy coefficient α, the temperature; auto: learned by each model (Haarnoja et al. 2018, section 5)",
        minimum=0,
    )
    target_entropy: float | Literal["auto"] = setting(
        "auto", "entropy in nats to which a learned temperature leads; auto: minus the number of action dimensions"
    )
    n_critics: int = at_least_1(2, "critics of each model, whose minimum is its target (Fujimoto et al. 2018)")
    normalize_rewards: bool = setting(True, "whether rewards are divided by their root mean square so far")

    @property
    def replayed_per_step(self) -> float:
        return self.gradient_steps * self.batch_size / self.train_freq


@dataclass(frozen=True)
class EvolutionSettings:
    """Settings of population-based training, and of the genetic step, in DEAP's words."""

    kind: EvolutionKind = setting(
        "pbt", "how models evolve: pbt (population-based training, Jaderberg et al. 2017), genetic, or none"
    )
    hyperparameters: tuple[str, ...] = setting(
        ("learning_rate",),
        "hyperparameters that differ by model, and evolve: learning_rate, ent_coef, gae_lambda, clip_range (kind pbt)",
    )
    spread: float = at_least_0(
        0.5, "decades to each side of its setting in which a model's own hyperparameter is drawn"
    )
    perturbation: float = at_least_1(1.4, "factor by which a copy's hyperparameters grow or shrink (kind pbt)")
    copied_fraction: float = fraction(
        0.2, "fraction of models that can become copies of as many better ones (kind pbt)"
    )
    min_difference: float = at_least_0(
        0.5, "standard errors by which the returns of a pair must differ, for the worse to become a copy (kind pbt)"
    )
    schedule: str | None = setting(
        None, "metrics.jsonl of a run whose copies and hyperparameters are repeated (kind pbt)", is_path=True
    )
    leader: LeaderChoice = setting(
        "uniform", "who leads: uniform (in turn) or thompson (Thompson sampling by the returns of led episodes)"
    )
    fitness: Fitness = setting(
        "advantage",
        "fitness of a model: contribution (share of decisions), advantage (sum of the actions' normalised advantages "
        "by its critic, weighted by ρ), or return (mean return of the episodes that it led)",
    )
    led_fraction: float = fraction(
        0.3, "fraction of training episodes that one model leads (kind genetic: only if fitness is return)"
    )
    elite_fraction: float = fraction(0.9, "elitism: fraction of models, the fittest, that survive unchanged")
    tournament_size: int = at_least_1(3, "models drawn for each tournament selection")
    crossover: Crossover = setting(
        "neuron", "crossover operator: two_point, or whole layers (layer) or neurons (neuron)"
    )
    crossover_probability: float = fraction(0.0, "probability that a pair is crossed (DEAP's cxpb)")
    mutation_probability: float = fraction(1.0, "probability that an offspring mutates (DEAP's mutpb)")
    gene_probability: float = fraction(1.0, "probability that a gene of a mutating genome changes (DEAP's indpb)")
    mutation_sigma: float = at_least_0(0.02, "standard deviation σ of the Gaussian mutation")
    inherit_moments: bool = setting(True, "whether genes are inherited with Adam's moments")
    relative_sigma: bool = setting(True, "whether σ is relative to the standard deviation of the gene's layer")
    adaptive_sigma: bool = setting(True, "whether σ follows the 1/5 success rule (Rechenberg 1973)")
    min_diversity: float = fraction(0.02, "diversity (mean pairwise total variation distance) below which σ is doubled")

    def evolving(self, learning: LearningSettings) -> tuple[str, ...]:
        """Return the hyperparameters that differ by model under such a learner; those it does not have are left out."""
        return () if self.kind == "genetic" else tuple(n for n in self.hyperparameters if n in learning.of_each_model)
