"""Actions squashed by tanh: log-probabilities, and gradients through the draw (Haarnoja et al. 2018, appendix C).

`outputs` (…, 2 D) are a Gaussian's means, then the logarithms of its deviations; `noise` (…, D) is standard normal.
"""

from math import log, pi

import numpy as np

from swarmsim.learning.distributions import Array, Gaussian

SQUASHED_LOG_STD_BOUNDS = -20.0, 2.0  # those of Stable-Baselines3's SAC


def squashed_gaussian(n: int) -> Gaussian:
    """Return the distribution of `n` numbers before tanh."""
    return Gaussian(n, SQUASHED_LOG_STD_BOUNDS)


def draw(gaussian: Gaussian, outputs: Array, noise: Array) -> tuple[Array, Array]:
    """Return actions tanh(μ + σ ε) of the shape (…, D), and their log-probabilities (…).

    log π(a) = Σ_i (log N(u_i) − log(1 − tanh² u_i)) (arXiv 1801.01290, eq. 21), where the last logarithm is
    2 (log 2 − u − log(1 + exp(−2u))), so that none is taken of 0.
    """
    means, stds = gaussian.means_and_stds(outputs)
    raw = means + stds * noise
    log_derivatives = 2 * (log(2) - raw - np.logaddexp(0, -2 * raw, dtype=raw.dtype))
    terms = 0.5 * noise * noise + np.log(stds) + log(2 * pi) / 2 + log_derivatives
    return np.tanh(raw), -terms.sum(axis=-1, dtype=raw.dtype)


def draw_gradient(
    gaussian: Gaussian, outputs: Array, noise: Array, actions: Array, by_actions: Array, by_log_probs: Array
) -> Array:
    """Return a loss's gradient by the outputs, (…, 2 D), given those by what `draw` returned.

    With u = μ + σ ε and a = tanh u: ∂a / ∂u = 1 − a², and ∂ log π / ∂u = 2a; besides, ∂ log π / ∂ log σ = −1.

    Args:
        by_actions: (…, D).
        by_log_probs: (…).
    """
    by_log_probs = by_log_probs[..., None]
    by_raw = by_actions * (1 - actions * actions) + by_log_probs * 2 * actions
    _, stds = gaussian.means_and_stds(outputs)
    by_log_stds = (by_raw * stds * noise - by_log_probs) * gaussian.is_within_bounds(outputs)
    return np.concatenate((by_raw, by_log_stds), axis=-1)
