"""The whole loop in one process, without messages: observe, act, record, learn.

A swarm runs this loop with each part in its own process. This version draws from the same random generators in
the same order, so it gets exactly the returns of a swarm with the same settings (tests/test_benchmarks.py).
"""

import time

import numpy as np
from threadpoolctl import threadpool_limits

from swarmsim.components.contribution_tracker import ContributionTracker
from swarmsim.components.environment import episode_seed
from swarmsim.components.main_job import hyperparameters_of
from swarmsim.components.model import LEARNERS
from swarmsim.config import Config
from swarmsim.envs.episodes import Episodes
from swarmsim.envs.make import make_env, shape_of
from swarmsim.learning.decision import NO_LEADER, decide, leader_in_turn
from swarmsim.learning.learner import TrainingState, Transition
from swarmsim.learning.networks import Architecture, initial_weights
from swarmsim.learning.rules import RULES
from swarmsim.learning.seeding import generator


def train(config: Config) -> tuple[list[float], float]:
    """Return the returns of the first round's training episodes, and the steps per second."""
    # Models: a population of actor-critic networks. Each has its own generator, so its weights depend on no other.
    names = tuple(f"model{i}" for i in range(config.population))
    shape = shape_of(config.env)
    config = config.with_learner(continuous=shape.continuous)
    architecture = Architecture(shape.n_inputs, shape.n_actions, config.learning.hidden, shape.continuous)
    generators = [generator(config.seed, "weights", name) for name in names]
    state = TrainingState.initial(initial_weights(architecture, generators), config.learning)
    state.hyperparameters[:] = hyperparameters_of(config, names)
    learner = LEARNERS[type(config.learning)](architecture, config.learning, generators, state)

    # Aggregation: draws the swarm's actions, and tracks who contributed to them. A model leads some of the episodes,
    # whose returns tell evolution later what it is worth.
    rng = generator(config.seed, "aggregation")
    tracker = ContributionTracker()

    # Environment: several episodes side by side, each with its own seed.
    envs = [make_env(config.env) for _ in range(config.n_envs)]
    seeds = [episode_seed(config.seed, "train", i) for i in range(config.episodes)]

    with threadpool_limits(1):  # the matrices are too small to be worth a second thread
        start = time.perf_counter()
        episodes = Episodes(envs, seeds)
        while not episodes.done:
            active = episodes.active.copy()  # near the end, some environments have no episode left to play

            # Act: every model answers with logits, and the aggregation makes one action of them.
            outputs = learner.act(episodes.observations).astype(float)
            leaders = [
                leader_in_turn(config.seed, number, len(names), config.led_fraction) if plays else NO_LEADER
                for number, plays in zip(episodes.numbers.tolist(), active.tolist(), strict=True)
            ]
            led = np.array(leaders) if config.led_fraction else None
            decision = decide(outputs, shape.distribution, RULES["sum"], rng, led)
            tracker.add(names, decision.probabilities[:, active], decision.support[:, active])
            tracker.update_if_due()

            # Step: the environment takes the swarm's action.
            step = episodes.step(decision.actions)

            # Learn: every model gets the swarm's transition, and updates once enough of them are new. The action's
            # probabilities go with it, the leader's and the swarm's: they show how much each model contributed to it.
            learner.record(
                Transition(
                    decision.actions,
                    step.rewards,
                    step.terminated,
                    step.truncated,
                    step.final_observations if step.truncated.any() else None,
                    active,
                    decision.log_probs,
                    decision.swarm_log_probs,
                )
            )
        learner.finish(episodes.observations)
        tracker.contribution()
        seconds = time.perf_counter() - start
    return episodes.returns, episodes.n_steps / seconds


def serial_steps_per_second(config: Config) -> float:
    """Return the steps per second of `train`."""
    return train(config)[1]
