"""Critics rate actions, and the swarm takes the one that all of them rate highest."""

import numpy as np

from swarmsim.learning.aggregate import Rule
from swarmsim.learning.decision import decide_squashed, highest_rated, mean_actions
from swarmsim.learning.networks import Floats
from swarmsim.learning.perceptron import Perceptrons
from swarmsim.learning.sac_networks import SACArchitecture


def rate(critics: Perceptrons, observations: Floats, actions: Floats) -> Floats:
    """Return the mean value (P, Q, N) that each model's critics give `actions` (Q, N, D) for `observations`."""
    n_actions, n_envs, _ = actions.shape
    signals = critics.signals(n_actions * n_envs, are_shared=True)
    repeated = np.broadcast_to(observations, (n_actions, *observations.shape)).reshape(n_actions * n_envs, -1)
    signals.write(repeated, actions.reshape(n_actions * n_envs, -1))
    return mean_value(critics.forward(signals)).reshape(-1, n_actions, n_envs)


def mean_value(values: Floats) -> Floats:
    """Return the mean (P, B, 1) of the values (P, K, B, 1) by each model's K critics."""
    return np.add.reduce(values, axis=1) / np.float32(values.shape[1])


def select_sac_actions(
    architecture: SACArchitecture,
    weights: Floats,
    observations: Floats,
    rule: Rule,
    rng: np.random.Generator | None,
) -> Floats:
    """Return the action (B, D) of models with these `weights` (P, G) for each of `observations` (B, n_inputs).

    Without `rng`, it is the one of their mean actions that all critics rate highest.
    """
    actors = Perceptrons([architecture.actor], weights)
    signals = actors.signals(len(observations), are_shared=True)
    signals.write(observations)
    outputs = actors.forward(signals)[:, 0].astype(np.float64)
    gaussian = architecture.distribution
    if rng is not None:
        return decide_squashed(outputs, gaussian, rule, rng).actions
    proposals = mean_actions(outputs, gaussian)
    ratings = rate(Perceptrons(architecture.critics, weights), observations, proposals)
    return highest_rated(proposals, ratings.astype(np.float64))
