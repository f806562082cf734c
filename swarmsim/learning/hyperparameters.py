"""The numbers that learning and evolution are tuned by, with the reference system's values as defaults."""

from dataclasses import dataclass

from swarmsim.settings import setting


@dataclass(frozen=True)
class A2CSettings:
    """Advantage actor-critic (Mnih et al. 2016, section 4), named as in Stable-Baselines3."""

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


@dataclass(frozen=True)
class GeneticSettings:
    """The genetic step, named as DEAP's operators are described."""

    tournament_size: int = setting(3, "models drawn for each tournament; the one that contributed most wins", minimum=1)
    crossover_probability: float = setting(
        0.5, "chance of a pair to exchange genes between two points", minimum=0, maximum=1
    )
    mutation_probability: float = setting(0.01, "chance of a genome to mutate", minimum=0, maximum=1)
    gene_probability: float = setting(0.01, "chance of each gene of a mutating genome to change", minimum=0, maximum=1)
    mutation_sigma: float = setting(1.0, "standard deviation of what is added to a changing gene", minimum=0)
