"""The main job's training without its swarm: the same learning, step by step in one process, with no messages.

It draws from the same generators in the same order, so it gives the very returns that a swarm of the same
settings gives; a test holds that.
"""

import time

from threadpoolctl import threadpool_limits

from swarmsim.components.environment import episode_seed
from swarmsim.components.episodes import Episodes
from swarmsim.components.gym import make_env, shape_of
from swarmsim.components.ledger import Ledger
from swarmsim.config import Config
from swarmsim.learning.a2c import A2C
from swarmsim.learning.aggregate import chosen, softmax, summed
from swarmsim.learning.policy import Architecture
from swarmsim.learning.rollout import Transition
from swarmsim.learning.seeding import generator


def serial_steps_per_second(config: Config) -> float:
    """Return the steps per second of `train`."""
    return train(config)[1]


def train(config: Config) -> tuple[list[float], float]:
    """Return the returns of a first round's training episodes, and the steps per second that they took."""
    names = tuple(f"model{i}" for i in range(config.population))
    shape = shape_of(config.env)
    architecture = Architecture(shape.n_inputs, shape.n_actions, config.a2c.hidden)
    learner = A2C(architecture, config.a2c, [generator(config.seed, "weights", name) for name in names])
    rng = generator(config.seed, "aggregation")
    ledger = Ledger()
    envs = [make_env(config.env) for _ in range(config.envs)]
    with threadpool_limits(1):
        began = time.perf_counter()
        episodes = Episodes(envs, [episode_seed(config.seed, "train", i) for i in range(config.episodes)])
        while not episodes.done:
            active = episodes.active.copy()
            logits = learner.act(episodes.observations)
            probabilities = softmax(logits.astype(float))
            actions = chosen(summed(probabilities), deterministic=False, rng=rng)
            ledger.add(names, probabilities[:, active], actions[active])
            ledger.reckon_up_if_due()
            came = episodes.step(actions)
            learner.record(
                Transition(actions, came.rewards, came.terminated, came.truncated, came.final_observations, active)
            )
        learner.finish(episodes.observations)
        ledger.shares()
        elapsed = time.perf_counter() - began
    return episodes.returns, episodes.n_steps / elapsed
