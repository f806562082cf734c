"""Advantages and value targets: GAE for on-policy rollouts, V-trace for another policy's experience."""

import numpy as np
from numpy.typing import NDArray

from swarmsim.learning.networks import Floats


def gae(
    rewards: Floats,
    values: Floats,
    dones: NDArray[np.bool_],
    last_values: Floats,
    gamma: float,
    gae_lambda: float | NDArray[np.float64],
) -> tuple[Floats, Floats]:
    """Return advantages and returns, both (P, T, N), of P models over T steps of N environments.

    Generalised advantage estimation (Schulman et al. 2015, arXiv 1506.02438, eq. 16):
    A_t = δ_t + γλ A_{t+1}, with δ_t = r_t + γ V(s_{t+1}) − V(s_t), both cut where an episode ended.
    The return is A_t + V(s_t), the TD(λ) target.

    Args:
        rewards: (T, N), or (P, T, N) where they differ by model.
        values: (P, T, N), V(s_t).
        dones: (T, N), whether step t ended its episode.
        last_values: (P, N), the values of the states after the last step.
        gae_lambda: one λ, or each model's own, (P,).
    """
    discount = np.where(dones, np.float32(0), np.float32(gamma))
    next_values = np.concatenate((values[:, 1:], last_values[:, None]), axis=1)
    advantages = discount * next_values + rewards - values
    carried = discount * _column(gae_lambda)
    for t in range(len(dones) - 2, -1, -1):
        advantages[:, t] += carried[..., t, :] * advantages[:, t + 1]
    return advantages, advantages + values


def vtrace(
    rewards: Floats,
    values: Floats,
    next_values: Floats,
    ends: NDArray[np.bool_],
    ratios: Floats,
    gamma: float,
    gae_lambda: float | NDArray[np.float64],
    rho_clip: float,
) -> tuple[Floats, Floats]:
    """Return advantages and value targets, both (P, T, N), of P models over T steps of N environments.

    V-trace (Espeholt et al. 2018, "IMPALA", arXiv 1802.01561, eq. 1): v_t = V_t + Σ_k γ^k (Π c_i) ρ_k δ_k, with
    δ_t = r_t + γ V_{t+1} − V_t, ρ = min(ρ̄, π/μ) and c = λ min(1, π/μ). The advantage is r_t + γ v'_{t+1} − V_t, where
    v' = V + λ (v − V), so that it equals GAE (Schulman et al. 2015, arXiv 1506.02438, eq. 16) if π = μ.

    Args:
        rewards: (T, N).
        values: (P, T, N), V(s_t).
        next_values: (P, T, N), V(s_{t+1}); 0 where the episode terminated.
        ends: (T, N), whether the trajectory ends at step t.
        ratios: (P, T, N), importance weights π/μ of the actions: each model's probability over the swarm's.
        gae_lambda: one λ, or each model's own, (P,).
        rho_clip: ρ̄.
    """
    continues = (~ends).astype(np.float32)
    errors = rewards + np.float32(gamma) * next_values - values
    discount = _column(gamma * gae_lambda)
    traces = discount * np.minimum(ratios, np.float32(1)) * continues
    corrections = discounted_sums(np.minimum(ratios, np.float32(rho_clip)) * errors, traces)
    advantages = errors
    advantages[:, :-1] += discount * continues[:-1] * corrections[:, 1:]
    return advantages, values + corrections


def _column(by_model: float | NDArray[np.float64]) -> NDArray[np.float32]:
    """Return one number, or each model's own, as an array (1 or P, 1, 1)."""
    return np.asarray(by_model, np.float32).reshape(-1, 1, 1)


def discounted_sums(terms: Floats, discounts: Floats) -> Floats:
    """Return x with x_t = terms_t + discounts_t x_{t+1}, along the second axis of (P, T, N).

    A parallel suffix sum by doubling (Hillis and Steele 1986, "Data Parallel Algorithms"): log₂ T passes, not T.
    """
    sums, reach = terms.copy(), discounts.copy()
    distance = 1
    while distance < sums.shape[1]:
        sums[:, :-distance] += reach[:, :-distance] * sums[:, distance:]
        reach[:, :-distance] *= reach[:, distance:]
        reach[:, -distance:] = 0
        distance *= 2
    return sums
