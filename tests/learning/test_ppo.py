"""Learning from replay: V-trace and the loss by their definitions; the same for every packing and restart."""

import numpy as np
import pytest
import torch

from swarmsim.learning import ppo
from swarmsim.learning.advantages import gae, vtrace
from swarmsim.learning.distributions import LOG_STD_BOUNDS
from swarmsim.learning.hyperparameters import MIN_NEW_TRANSITIONS, PPOSettings
from swarmsim.learning.learner import Transition
from swarmsim.learning.networks import ACTORS, CRITICS, Activations, Architecture, Networks, forward
from swarmsim.learning.ppo import DUAL_CLIP, PPO, Minibatch, loss_gradient, losses
from swarmsim.learning.seeding import generator

CARTPOLE = Architecture(n_inputs=4, n_actions=2, hidden=(8, 8))
NAMES = [f"model{i}" for i in range(5)]


def learner(names=NAMES, architecture=CARTPOLE, **changed):
    small = {"hidden": (8, 8), "n_steps": 8, "replay_size": 64, "batch_size": 16, "n_batches": 4}
    return PPO(architecture, PPOSettings(**small | changed), [generator(0, name) for name in names])


def played(models, steps, n_envs=3, restarted_at=None, pool=False):
    rng = np.random.default_rng(1)
    for step in range(steps):
        models.act(rng.standard_normal((n_envs, 4)).astype(np.float32))
        models.learn()
        if step == restarted_at:
            state, models = models.state(), learner()
            models.restore(state)
        truncated = rng.random(n_envs) < 0.1
        models.record(
            Transition(
                rng.integers(2, size=n_envs),
                rng.standard_normal(n_envs).astype(np.float32),
                ~truncated & (rng.random(n_envs) < 0.1),
                truncated,
                rng.standard_normal((n_envs, 4)).astype(np.float32) if truncated.any() else None,
                rng.random(n_envs) < 0.9,
                np.full(n_envs, -0.7, np.float32),
                swarm_probabilities=np.full((n_envs, 2), 0.5, np.float32) if pool else None,
            )
        )
    return vars(models.training_state)


def test_models_learn_the_same_however_they_are_packed():
    together, alone = played(learner(), 60), [played(learner([name]), 60) for name in NAMES]
    for key in ("weights", "first_moment", "second_moment", "largest_advantage_std", "cumulative_advantage"):
        assert np.array_equal(together[key], np.concatenate([training_state[key] for training_state in alone])), key
    assert not np.array_equal(together["weights"], learner().weights)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("step", [3, 8, 30, 55])
def test_models_continue_exactly_from_a_saved_state(step, pool):
    whole, restarted = played(learner(), 60, pool=pool), played(learner(), 60, restarted_at=step, pool=pool)
    assert all(np.array_equal(whole[key], restarted[key]) for key in whole)


def test_a_state_of_the_first_version_which_knew_no_credit_is_continued():
    models, other = learner(), learner()
    played(models, 20)
    state = models.state()
    del state["hyperparameters"], state["answered"]
    state["replay"] = {
        name: value
        for name, value in state["replay"].items()
        if name not in ("behaviour", "credit", "swarm_probabilities")
    }
    other.restore(state)
    assert np.isfinite(played(other, 20)["weights"]).all()
    assert not np.array_equal(other.weights, models.weights)


def test_what_is_learned_does_not_depend_on_how_many_rows_are_evaluated_at_once(monkeypatch):
    whole = played(learner(), 60)["weights"]
    monkeypatch.setattr(ppo, "ROWS_PER_PASS", 7)
    np.testing.assert_allclose(played(learner(), 60)["weights"], whole, atol=1e-3)


def test_updates_become_rarer_the_more_has_been_seen():
    models = learner(n_steps=40, new_fraction=0.1, n_batches=1)
    steps = [step for step in range(1, 800) if counts_an_update(models)]
    gaps = np.diff(steps)
    assert gaps[0] == MIN_NEW_TRANSITIONS
    assert (np.diff(gaps) >= 0).all()
    assert all(gap <= max(MIN_NEW_TRANSITIONS, round(0.1 * step)) for gap, step in zip(gaps, steps[1:], strict=True))
    assert gaps[-1] == 40


@pytest.mark.parametrize(("n_seen", "n_envs", "due"), [(0, 1, 8), (0, 4, 2), (0, 16, 1), (4000, 1, 40), (4000, 8, 5)])
def test_environments_side_by_side_make_an_update_due_after_as_many_transitions_as_one(n_seen, n_envs, due):
    assert PPOSettings(new_fraction=0.01).steps_between_updates(n_seen, n_envs) == due


def test_the_entropy_bonus_is_whole_at_first_and_falls_with_the_root_of_the_steps():
    settings = PPOSettings(ent_decay_start=100)
    assert [settings.entropy_decay(n) for n in (0, 1, 100, 400, 10_000)] == pytest.approx([1, 1, 1, 0.5, 0.1])


def test_each_update_is_measured_once_and_reading_the_statistics_changes_nothing():
    models, unseen = learner(), learner()
    models.stats.pop_sums()
    played(models, 60)
    n_updates = models.training_state.n_updates[0] // models.settings.n_batches
    sums, number = models.stats.pop_sums()
    assert number == n_updates * len(NAMES)
    assert 0 < sums["entropy"] / number < np.log(2) + 1e-6
    assert min(sums["value_loss"], sums["gradient_norm"]) > 0
    assert models.stats.pop_sums() == (dict.fromkeys(sums, 0.0), 0)
    assert np.array_equal(played(unseen, 60)["weights"], models.weights)


def counts_an_update(models) -> bool:
    before = models.training_state.n_updates[0]
    models.act(np.zeros((1, 4), np.float32))
    models.learn()
    nothing = np.zeros(1, np.bool_)
    models.record(
        Transition(
            np.zeros(1, np.int64), np.ones(1, np.float32), nothing, nothing, None, ~nothing, np.zeros(1, np.float32)
        )
    )
    return models.training_state.n_updates[0] > before


@pytest.fixture
def experience():
    rng = np.random.default_rng(0)
    rewards, ends = rng.standard_normal((11, 2)), rng.random((11, 2)) < 0.2
    values, next_values = rng.standard_normal((2, 3, 11, 2))
    next_values[:, :-1] = values[:, 1:]
    next_values[:, ends] = 0
    return [array.astype(np.float32) for array in (rewards, values, next_values)], ends


def test_on_policy_vtrace_is_generalised_advantage_estimation(experience):
    (rewards, values, next_values), ends = experience
    ratios = np.ones_like(values)
    advantages, targets = vtrace(rewards, values, next_values, ends, ratios, 0.9, 0.8, 1.0)
    expected, returns = gae(rewards, values, ends, next_values[:, -1], 0.9, 0.8)
    assert np.allclose(advantages, expected, atol=1e-5)
    assert np.allclose(targets, returns, atol=1e-5)


def test_vtrace_targets_follow_their_definition(experience):
    (rewards, values, next_values), ends = experience
    ratios = np.exp(np.random.default_rng(1).standard_normal(values.shape)).astype(np.float32)
    _, targets = vtrace(rewards, values, next_values, ends, ratios, 0.9, 0.8, 1.5)
    following = np.zeros_like(values[:, 0])
    for t in reversed(range(11)):
        error = np.minimum(ratios[:, t], 1.5) * (rewards[t] + 0.9 * next_values[:, t] - values[:, t])
        following = error + 0.9 * 0.8 * np.minimum(ratios[:, t], 1) * ~ends[t] * following
        assert np.allclose(targets[:, t], values[:, t] + following, atol=1e-4)


def stable_baselines_loss(policy, batch, weights, settings):
    """Return what Stable-Baselines3's PPO minimises (its `train`), each row weighted, with the dual clip added."""
    values, log_prob, entropy = policy
    observed = {key: torch.tensor(batch[key]) for key in ("log_probs", "advantages", "value_targets")}
    ratio = torch.exp(log_prob - observed["log_probs"])
    clipped = torch.clamp(ratio, 1 - settings.clip_range, 1 + settings.clip_range)
    gained = torch.min(ratio * observed["advantages"], clipped * observed["advantages"])
    bounded = torch.max(gained, DUAL_CLIP * observed["advantages"])
    gained = torch.where(observed["advantages"] < 0, bounded, gained)
    policy_loss = -(torch.tensor(weights) * gained).mean()
    return (
        policy_loss
        - settings.ent_coef * entropy.mean()
        + settings.vf_coef * torch.nn.functional.mse_loss(observed["value_targets"], values)
    )


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("ent_coef", [0.0, 0.05])
def test_the_loss_is_the_clipped_one_and_the_gradient_its_own(continuous, ent_coef):
    rng = np.random.default_rng(4)
    settings = PPOSettings(ent_coef=ent_coef)
    architecture = Architecture(3, 2, (5, 4), continuous)
    weights = rng.normal(0, 0.6, (2, architecture.n_weights)).astype(np.float32)
    observations = rng.normal(size=(2, 40, 3)).astype(np.float32)
    actions = rng.normal(size=(2, 40, 2)).astype(np.float32) if continuous else rng.integers(2, size=(2, 40))
    networks, seen = Networks(architecture, weights), Activations.empty(architecture, 2, 40, per_model=True)
    seen.outputs[0][:, 0] = observations
    for who in (ACTORS, CRITICS):
        forward(who, networks, seen)
    before = architecture.distribution.log_prob(seen.logits, actions) + rng.normal(0, 0.7, (2, 40))
    parts = {
        "log_probs": before.astype(np.float32),
        "advantages": rng.normal(size=(2, 40)).astype(np.float32),
        "value_targets": rng.normal(size=(2, 40)).astype(np.float32),
    }
    counts = rng.uniform(0, 1, (2, 40)).astype(np.float32)
    found = np.zeros_like(weights)
    own = (np.full((2, 1), value, np.float32) for value in (settings.clip_range, settings.ent_coef))
    minibatch = Minibatch(actions, **parts, weights=counts, **dict(zip(("clip_range", "ent_coef"), own, strict=True)))
    loss_gradient(networks, seen, minibatch, settings.vf_coef, Networks(architecture, found))
    terms = losses(architecture.distribution, seen, minibatch)
    total = terms.policy_loss - settings.ent_coef * terms.entropy + settings.vf_coef * terms.value_loss

    for model in range(2):
        genome = torch.tensor(weights[model], requires_grad=True)
        outputs, values = (
            torch_network(genome, layers, torch.tensor(observations[model]))
            for layers in (architecture.actor, architecture.critic)
        )
        if continuous:
            deviations = outputs[:, 2:].clamp(*LOG_STD_BOUNDS).exp()
            policy_distribution = torch.distributions.Independent(
                torch.distributions.Normal(outputs[:, :2], deviations), 1
            )
        else:
            policy_distribution = torch.distributions.Categorical(logits=outputs)
        policy = values[:, 0], policy_distribution.log_prob(torch.tensor(actions[model])), policy_distribution.entropy()
        batch = {key: part[model] for key, part in parts.items()}
        loss = stable_baselines_loss(policy, batch, counts[model], settings)
        loss.backward()
        assert total[model] == pytest.approx(loss.item(), rel=1e-4)
        np.testing.assert_allclose(found[model], genome.grad.numpy(), rtol=1e-3, atol=2e-6)


def torch_network(genome, layers, signal):
    for number, layer in enumerate(layers):
        matrix = genome[layer.start : layer.end].reshape(layer.n_inputs + 1, layer.n_outputs)
        signal = signal @ matrix[:-1] + matrix[-1]
        signal = torch.tanh(signal) if number < len(layers) - 1 else signal
    return signal
