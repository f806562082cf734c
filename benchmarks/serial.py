"""The main job's training without its swarm: the same learning, step by step in one process, with no messages.

It draws from the same generators in the same order, so it gives the very returns that a swarm of the same
settings gives; a test holds that.
"""

import time

import numpy as np
from threadpoolctl import threadpool_limits

from swarmsim.components.contribution_tracker import ContributionTracker
from swarmsim.components.environment import episode_seed
from swarmsim.components.model import LEARNERS
from swarmsim.config import Config
from swarmsim.envs.episodes import Episodes
from swarmsim.envs.make import make_env, shape_of
from swarmsim.learning.decision import decide
from swarmsim.learning.networks import Architecture
from swarmsim.learning.rollout import Transition
from swarmsim.learning.rules import RULES
from swarmsim.learning.seeding import generator


def serial_steps_per_second(config: Config) -> float:
    """Return the steps per second of `train`."""
    return train(config)[1]


def train(config: Config) -> tuple[list[float], float]:
    """Return the returns of a first round's training episodes, and the steps per second that they took."""
    names = tuple(f"model{i}" for i in range(config.population))
    shape = shape_of(config.env)
    architecture = Architecture(shape.n_inputs, shape.n_actions, config.learning.hidden, shape.continuous)
    generators = [generator(config.seed, "weights", name) for name in names]
    learner = LEARNERS[type(config.learning)](architecture, config.learning, generators)
    rng = generator(config.seed, "aggregation")
    ledger = ContributionTracker()
    envs = [make_env(config.env) for _ in range(config.envs)]
    with threadpool_limits(1):
        began = time.perf_counter()
        episodes = Episodes(envs, [episode_seed(config.seed, "train", i) for i in range(config.episodes)])
        while not episodes.done:
            active = episodes.active.copy()
            outputs = learner.act(episodes.observations).astype(float)
            decision = decide(outputs, shape.distribution, RULES["sum"], rng)
            ledger.add(names, decision.opinions[:, active], decision.given[:, active])
            ledger.update_if_due()
            came = episodes.step(decision.actions)
            final = came.final_observations if came.truncated.any() else None
            outcome = decision.actions, came.rewards, came.terminated, came.truncated, final, active
            learner.record(Transition(*outcome, decision.log_probs.astype(np.float32)))
        learner.finish(episodes.observations)
        ledger.contribution()
        elapsed = time.perf_counter() - began
    return episodes.returns, episodes.n_steps / elapsed
