"""Soft actor-critic: its losses by Stable-Baselines3's definitions; the same for every packing and restart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution

from swarmsim.learning.decision import highest_rated
from swarmsim.learning.hyperparameters import SACSettings
from swarmsim.learning.learner import Transition
from swarmsim.learning.rating import rate
from swarmsim.learning.sac import SAC
from swarmsim.learning.sac_loss import FIRST_TEMPERATURE, TEMPERATURE_SPEED, Members, Room, loss_gradient
from swarmsim.learning.sac_networks import SACArchitecture
from swarmsim.learning.seeding import generator
from swarmsim.learning.squash import SQUASHED_LOG_STD_BOUNDS
from swarmsim.learning.transitions import TransitionBuffer, Transitions
from tests.learning.test_perceptron import as_torch

N_INPUTS, D, B = 3, 2, 16
SHAPE = SACArchitecture(N_INPUTS, D, (8, 8))
NAMES = [f"model{i}" for i in range(10)]  # more than a block


def learner(names=NAMES, **changed):
    small = {"hidden": (8, 8), "replay_size": 64, "batch_size": B, "learning_starts": 20, "train_freq": 5}
    return SAC(SHAPE, SACSettings(**small | changed), [generator(0, name) for name in names])


def a_transition(rng, n_envs):
    truncated = rng.random(n_envs) < 0.1
    return Transition(
        rng.uniform(-1, 1, (n_envs, D)).astype(np.float32),
        rng.standard_normal(n_envs).astype(np.float32),
        ~truncated & (rng.random(n_envs) < 0.1),
        truncated,
        rng.standard_normal((n_envs, N_INPUTS)).astype(np.float32) if truncated.any() else None,
        rng.random(n_envs) < 0.9,
    )


def played(models, steps, n_envs=3, restarted_at=None):
    rng = np.random.default_rng(1)
    for step in range(steps):
        models.act(rng.standard_normal((n_envs, N_INPUTS)).astype(np.float32))
        models.learn()
        if step == restarted_at:
            state, models = models.state(), learner()
            models.restore(state)
        models.record(a_transition(rng, n_envs))
    models.finish(rng.standard_normal((n_envs, N_INPUTS)).astype(np.float32))
    return vars(models.training_state)


# --- the loss


def torch_losses(genome, row, settings, scale=1.0):
    """Return the losses that Stable-Baselines3's `SAC.train` sums up for one model, as it writes them."""
    batch, noise = row
    frozen = genome.detach()
    observations, next_observations = torch.tensor(batch.observations), torch.tensor(batch.next_observations)
    log_ent_coef = np.log(FIRST_TEMPERATURE) + TEMPERATURE_SPEED * genome[SHAPE.log_temperature.start]
    ent_coef = log_ent_coef.exp().detach() if settings.ent_coef == "auto" else settings.ent_coef

    def action_log_prob(weights, shown, drawn):
        outputs = as_torch(weights, SHAPE.actor, shown)
        means, log_stds = outputs[:, :D], outputs[:, D:].clamp(*SQUASHED_LOG_STD_BOUNDS)
        distribution = SquashedDiagGaussianDistribution(D).proba_distribution(means, log_stds)
        raw = means + log_stds.exp() * torch.tensor(drawn)
        return torch.tanh(raw), distribution.log_prob(torch.tanh(raw), raw)

    def values(weights, critics, shown, actions):
        inputs = torch.cat((shown, actions), dim=1)
        return torch.stack([as_torch(weights, critic, inputs)[:, 0] for critic in critics])

    with torch.no_grad():
        next_actions, next_log_prob = action_log_prob(frozen, next_observations, noise[B:])
        next_q = values(frozen, SHAPE.targets, next_observations, next_actions).min(dim=0).values
        next_q = next_q - ent_coef * next_log_prob
        goes_on = torch.tensor(~batch.terminated).float()
        target_q = torch.tensor(batch.rewards) * scale + goes_on * settings.gamma * next_q
    current = values(genome, SHAPE.critics, observations, torch.tensor(batch.actions))
    critic_loss = 0.5 * sum(torch.nn.functional.mse_loss(q, target_q) for q in current)
    actions, log_prob = action_log_prob(genome, observations, noise[:B])
    lowest = values(frozen, SHAPE.critics, observations, actions).min(dim=0).values
    actor_loss = (ent_coef * log_prob - lowest).mean()
    target_entropy = -D if settings.target_entropy == "auto" else settings.target_entropy
    # by the gene, whose unit Adam's step is measured in, instead of by the logarithm itself
    ent_coef_loss = -(genome[SHAPE.log_temperature.start] * (log_prob + target_entropy).detach()).mean()
    return critic_loss, actor_loss, ent_coef_loss if settings.ent_coef == "auto" else 0.0 * ent_coef_loss


@pytest.mark.parametrize("changed", [{}, {"ent_coef": 0.2}, {"target_entropy": -0.5, "gamma": 0.9}], ids=str)
def test_losses_and_gradient_are_those_of_stable_baselines3(changed):
    rng = np.random.default_rng(3)
    settings = SACSettings(hidden=(8, 8), batch_size=B, **changed)
    weights = rng.normal(0, 0.5, (2, SHAPE.n_weights)).astype(np.float32)
    weights[:, : SHAPE.actor[-1].end] *= 0.3  # no action is so near to ±1 that the reference's ε of 1e-6 matters
    weights[:, SHAPE.log_temperature.start] = 0.1, -0.1
    batch = Transitions(
        rng.standard_normal((2, B, N_INPUTS)).astype(np.float32),
        rng.uniform(-1, 1, (2, B, D)).astype(np.float32),
        rng.standard_normal((2, B)).astype(np.float32),
        rng.standard_normal((2, B, N_INPUTS)).astype(np.float32),
        rng.random((2, B)) < 0.2,
    )
    noise = rng.standard_normal((2, 2 * B, D)).astype(np.float32)
    gradient = np.full((2, SHAPE.n_learned), np.nan, np.float32)
    members = Members(SHAPE, weights, slice(0, 2), gradient)
    losses = loss_gradient(members, Room.of(members, B), batch, noise, settings)
    for model in range(2):
        genome = torch.tensor(weights[model], requires_grad=True)
        parts = torch_losses(genome, (batch[model], noise[model]), settings)
        sum(parts).backward()
        assert losses.value_loss[model] == pytest.approx(parts[0].item(), rel=1e-4)
        assert losses.policy_loss[model] == pytest.approx(parts[1].item(), rel=1e-4)
        np.testing.assert_allclose(gradient[model], genome.grad[: SHAPE.n_learned], rtol=2e-3, atol=1e-5)
        assert not genome.grad[SHAPE.n_learned :].any()


# --- learning


def test_models_learn_the_same_however_they_are_packed():
    together, alone = played(learner(), 60), [played(learner([name]), 60) for name in NAMES]
    for key in ("weights", "first_moment", "second_moment"):
        assert np.array_equal(together[key], np.concatenate([training_state[key] for training_state in alone])), key
    assert not np.array_equal(together["weights"], learner().weights)


@pytest.mark.parametrize("step", [3, 8, 30, 55])
def test_models_continue_exactly_from_a_saved_state(step):
    whole, restarted = played(learner(), 60), played(learner(), 60, restarted_at=step)
    assert all(np.array_equal(whole[key], restarted[key]) for key in whole)


def test_targets_begin_as_the_critics_and_follow_them_by_tau():
    models = learner(tau=0.25, train_freq=1, learning_starts=0)
    models.act(np.zeros((1, N_INPUTS), np.float32))
    before = models.weights.copy()
    models.record(replace_active(a_transition(np.random.default_rng(0), 1)))
    models.act(np.ones((1, N_INPUTS), np.float32))
    models.learn()
    genes = slice(SHAPE.critics[0][0].start, SHAPE.log_temperature.start)
    old, new = before[:, genes], models.weights[:, genes]
    assert (old != new).any()
    np.testing.assert_allclose(models.weights[:, SHAPE.n_learned :], 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-7)
    assert not models.training_state.first_moment[:, SHAPE.n_learned :].any()


@pytest.mark.parametrize(("n_envs", "train_freq"), [(1, 1), (1, 4), (3, 4), (8, 4)])
def test_updates_are_as_many_as_transitions_give_however_many_environments_there_are(n_envs, train_freq):
    models = learner(NAMES[:1], train_freq=train_freq, learning_starts=0)
    rng = np.random.default_rng(0)
    for _ in range(24):
        models.act(rng.standard_normal((n_envs, N_INPUTS)).astype(np.float32))
        models.learn()
        models.record(replace_active(a_transition(rng, n_envs)))
    models.finish(np.zeros((n_envs, N_INPUTS), np.float32))
    assert models.training_state.n_updates[0] == 24 * n_envs // train_freq


def replace_active(transition):
    return replace(transition, active=np.ones_like(transition.active))


def test_before_learning_starts_nothing_is_learned_and_later_it_is_not_made_up_for():
    models = learner(NAMES[:1], learning_starts=30, train_freq=1)
    rng = np.random.default_rng(0)
    n_updates = []
    for _ in range(33):
        models.act(rng.standard_normal((1, N_INPUTS)).astype(np.float32))
        models.learn()
        n_updates.append(int(models.training_state.n_updates[0]))
        models.record(replace_active(a_transition(rng, 1)))
    assert n_updates == [0] * 31 + [1, 2]


def test_what_follows_a_step_is_recorded_whether_the_episode_goes_on_ends_or_is_broken_off():
    models = learner(NAMES[:1], learning_starts=1000)
    shown = np.arange(4, dtype=np.float32)[:, None] * np.ones(N_INPUTS, np.float32)
    final = np.full((4, N_INPUTS), 9, np.float32)
    no, rewards = np.zeros(4, np.bool_), np.arange(4, dtype=np.float32)
    ended, cut_off = np.array([1, 0, 0, 0], np.bool_), np.array([0, 1, 0, 0], np.bool_)
    active = np.array([1, 1, 1, 0], np.bool_)
    actions = np.zeros((4, D), np.float32)
    models.act(shown)
    models.record(Transition(actions, rewards, ended, cut_off, final, active))
    models.act(shown + 10)
    models.record(Transition(actions, rewards, ended, no, None, active))
    models.break_off()  # what follows is known of the ended one alone
    rows = models.state()["buffer"]
    assert rows["n_added"] == 4
    assert rows["rewards"].tolist() == [0, 1, 2, 0]
    assert rows["observations"][:, 0].tolist() == [0, 1, 2, 10]
    assert rows["next_observations"][1:3, 0].tolist() == [9, 12]
    assert rows["terminated"].tolist() == [True, False, False, True]


def test_a_full_buffer_has_the_latest_transitions_also_once_it_is_restored():
    def rows(first):
        numbers = np.arange(first, first + 3, dtype=np.float32)
        wide = numbers[:, None]
        return Transitions(wide * np.ones(N_INPUTS), wide * np.ones(D), numbers, wide * np.ones(N_INPUTS), numbers < 0)

    buffer = TransitionBuffer(SHAPE, 7)
    for first in range(0, 12, 3):
        buffer.add(rows(first))
        restored = TransitionBuffer(SHAPE, 7)
        restored.restore(buffer.state())
        buffer = restored
    assert len(buffer) == 7
    assert sorted(buffer[np.arange(7)].rewards) == list(range(5, 12))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["rewards", "observations"])
def test_what_is_not_finite_is_named_and_not_learned_from(what, bad):
    models = learner(NAMES[:1])
    models.act(np.full((1, N_INPUTS), bad if what == "observations" else 0, np.float32))
    reward = np.array([bad if what == "rewards" else 0], np.float32)
    no = np.zeros(1, np.bool_)
    with pytest.raises(FloatingPointError, match=f"^{what} to learn from are not finite"):
        models.record(Transition(np.zeros((1, D), np.float32), reward, no, no, None, ~no))
        models.finish(np.zeros((1, N_INPUTS), np.float32))
    assert np.isfinite(models.weights).all()


# --- rating


def test_a_model_rates_alike_whoever_rates_beside_it_and_whatever_else_is_proposed():
    models, rng = learner(), np.random.default_rng(5)
    observations = rng.standard_normal((4, N_INPUTS)).astype(np.float32)
    proposals = rng.uniform(-1, 1, (6, 4, D)).astype(np.float32)
    ratings = models.rate(observations, proposals)
    assert ratings.shape == (10, 6, 4)
    for number, name in enumerate(NAMES):
        assert np.array_equal(learner([name]).rate(observations, proposals)[0], ratings[number])
    inputs = torch.tensor(np.concatenate((observations, proposals[2]), axis=1))
    genome = torch.tensor(models.weights[3])
    expected = sum(as_torch(genome, critic, inputs)[:, 0] for critic in SHAPE.critics) / 2
    np.testing.assert_allclose(ratings[3, 2], expected, rtol=1e-4, atol=1e-6)


def test_the_value_of_an_observation_is_that_of_the_models_own_mean_action():
    models, rng = learner(), np.random.default_rng(6)
    observations = rng.standard_normal((4, N_INPUTS)).astype(np.float32)
    evaluated = models.evaluate(observations)
    own = np.tanh(evaluated.logits[..., :D])
    assert np.array_equal(evaluated.values[7, :, 0], models.rate(observations, own[7:8])[7, 0])
    assert np.array_equal(evaluated.logits, models.act(observations))


def test_the_proposal_with_the_highest_mean_rating_is_taken_in_each_environment():
    proposals = np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    ratings = np.zeros((2, 3, 2))
    ratings[0, 1, 0], ratings[1, 2, 0] = 1.0, 3.0
    ratings[:, 0, 1] = 0.5
    assert highest_rated(proposals, ratings).tolist() == [[4.0], [1.0]]


def test_one_critic_each_is_enough():
    shape = SACArchitecture(N_INPUTS, D, (8,), n_critics=1)
    models = SAC(shape, SACSettings(hidden=(8,), n_critics=1), [generator(0, name) for name in NAMES])
    observations = np.zeros((1, N_INPUTS), np.float32)
    assert models.rate(observations, np.zeros((1, 1, D), np.float32)).shape == (10, 1, 1)
    assert rate(models._members[0].critics, observations, np.zeros((2, 1, D), np.float32)).shape == (8, 2, 1)
