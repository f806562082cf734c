"""V-trace: advantages and value targets from experience that another policy made."""

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.networks import Floats


def vtrace(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    ends: NDArray[np.bool_],
    ratios: Floats,
    gamma: float,
    gae_lambda: float,
    rho_clip: float,
) -> tuple[Floats, Floats]:
    """Return advantages and value targets, both (P, T, N), of P models over T steps of N environments.

    Espeholt et al. 2018, "IMPALA" (arXiv 1802.01561), section 4.1: v_t = V_t + Σ_k γ^k (Π c_i) ρ_k δ_k, with
    δ_t = r_t + γ V_{t+1} − V_t, ρ = min(ρ̄, π/μ) and c = λ min(1, π/μ). The advantage is r_t + γ v'_{t+1} − V_t, where
    v' lies between V and v by λ, which makes it that of Schulman et al. 2015 (arXiv 1506.02438) where π = μ.

    Args:
        rewards: (T, N).
        values: (P, T, N), of the states acted in.
        next_values: (P, T, N), of the states that followed; 0 where the episode was over by its task's own rule.
        ends: (T, N), whether what follows step t is of another episode, or not known.
        ratios: (P, T, N), how much more probable a model finds the action than those who took it.
        rho_clip: ρ̄.
    """
    goes_on = (~ends).astype(np.float32)
    errors = rewards + np.float32(gamma) * next_values - values
    traces = np.float32(gamma * gae_lambda) * np.minimum(ratios, np.float32(1)) * goes_on
    corrections = discounted_sums(np.minimum(ratios, np.float32(rho_clip)) * errors, traces)
    advantages = errors
    advantages[:, :-1] += np.float32(gamma * gae_lambda) * goes_on[:-1] * corrections[:, 1:]
    return advantages, values + corrections


def discounted_sums(terms: Floats, discounts: Floats) -> Floats:
    """Return x with x_t = terms_t + discounts_t x_{t+1}, along the second axis of (P, T, N).

    By doubling (Hillis and Steele 1986): as many passes as T has binary digits, in the place of T steps.
    """
    sums, reach = terms.copy(), discounts.copy()
    distance = 1
    while distance < sums.shape[1]:
        sums[:, :-distance] += reach[:, :-distance] * sums[:, distance:]
        reach[:, :-distance] *= reach[:, distance:]
        reach[:, -distance:] = 0
        distance *= 2
    return sums
