"""The population's A2C against Stable-Baselines3's and torch's."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from swarmsim.learning import learner as learner_module
from swarmsim.learning.a2c import A2C, Batch, loss_gradient, losses
from swarmsim.learning.advantages import gae
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.learner import Adam, TrainingState, Transition, clip
from swarmsim.learning.networks import ACTORS, CRITICS, Activations, Architecture, Networks, forward
from swarmsim.learning.seeding import generator
from tests.learning.test_networks import CARTPOLE, as_torch, flat_gradient, population

SETTINGS = A2CSettings(credit="own")


@pytest.mark.parametrize("gae_lambda", [1.0, 0.95, 0.0])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_advantages_and_returns_are_those_of_the_rollout_buffer(gae_lambda, n_envs):
    rng = np.random.default_rng(0)
    n_models, n_steps = 4, 9
    rewards = rng.standard_normal((n_models, n_steps, n_envs)).astype(np.float32)
    values = rng.standard_normal((n_models, n_steps, n_envs)).astype(np.float32)
    last_values = rng.standard_normal((n_models, n_envs)).astype(np.float32)
    dones = rng.random((n_steps, n_envs)) < 0.3

    advantages, returns = gae(rewards, values, dones, last_values, 0.99, gae_lambda)

    for i in range(n_models):
        box, discrete = spaces.Box(-1, 1, (1,)), spaces.Discrete(2)
        buffer = RolloutBuffer(n_steps, box, discrete, "cpu", gae_lambda=gae_lambda, gamma=0.99, n_envs=n_envs)
        episode_starts = np.zeros(n_envs)
        for t in range(n_steps):
            value = torch.tensor(values[i, t])
            unused = np.zeros((n_envs, 1)), np.zeros(n_envs)
            buffer.add(*unused, rewards[i, t], episode_starts, value, torch.zeros(n_envs))
            episode_starts = dones[t].astype(np.float32)
        buffer.compute_returns_and_advantage(torch.tensor(last_values[i]), dones[-1])
        assert np.allclose(advantages[i], buffer.advantages, atol=1e-5)
        assert np.allclose(returns[i], buffer.returns, atol=1e-5)


def genome_of(policy) -> np.ndarray:
    """Return the weights of a Stable-Baselines3 policy in our order."""
    actor = [m for m in policy.mlp_extractor.policy_net if isinstance(m, torch.nn.Linear)] + [policy.action_net]
    critic = [m for m in policy.mlp_extractor.value_net if isinstance(m, torch.nn.Linear)] + [policy.value_net]
    parts = [part for layer in actor + critic for part in (layer.weight.detach().T.ravel(), layer.bias.detach())]
    return torch.cat(parts).numpy().copy()


OTHER_SETTINGS = A2CSettings(credit="own", ent_coef=0.01, gae_lambda=0.9, n_steps=40, max_grad_norm=0.05)


@pytest.mark.parametrize("settings", [SETTINGS, OTHER_SETTINGS])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_update_is_that_of_stable_baselines3_on_the_same_weights_and_data(settings, seed):
    model = stable_baselines3.A2C(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        learning_rate=settings.learning_rate,
        n_steps=settings.n_steps,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        ent_coef=settings.ent_coef,
        vf_coef=settings.vf_coef,
        max_grad_norm=settings.max_grad_norm,
        use_rms_prop=False,
        policy_kwargs={"net_arch": list(settings.hidden), "activation_fn": torch.nn.Tanh},
        seed=seed,
        device="cpu",
    )
    assert model.policy.optimizer.defaults["eps"] == settings.adam_eps
    before = genome_of(model.policy)
    model.learn(settings.n_steps)
    after = genome_of(model.policy)
    buffer = model.rollout_buffer

    learner = A2C(CARTPOLE, settings, [generator(0, "x")])
    learner.weights[0] = before
    ends = np.append(buffer.episode_starts[1:, 0], model._last_episode_starts[0]).astype(bool)
    for t in range(settings.n_steps):
        learner.act(buffer.observations[t].reshape(1, 4))
        action = buffer.actions[t].astype(np.int64).ravel()
        no = np.array([False])
        learner.record(Transition(action, buffer.rewards[t], ends[t : t + 1], no, None, ~no))
    learner.finish(model._last_obs)

    assert np.abs(after - before).max() > 1e-4
    assert np.allclose(learner.weights[0], after, atol=1e-5)


def test_the_loss_and_its_gradient_are_torchs_of_the_loss_as_written():
    rng = np.random.default_rng(0)
    settings = replace(SETTINGS, ent_coef=0.02)
    weights = population(CARTPOLE, 3) + rng.normal(0, 0.2, (3, 755)).astype(np.float32)
    row_weights = rng.random(8).astype(np.float32)
    row_weights[3] = 0.0
    batch = Batch(
        actions=rng.integers(2, size=8),
        row_weights=row_weights / row_weights.sum(),
        advantages=rng.standard_normal((3, 8)).astype(np.float32),
        returns=rng.standard_normal((3, 8)).astype(np.float32),
        ent_coef=np.full((3, 1), settings.ent_coef, np.float32),
    )
    seen = rng.standard_normal((8, 4)).astype(np.float32)
    networks, gradient = Networks(CARTPOLE, weights), np.empty_like(weights)
    activations = Activations.empty(CARTPOLE, n_models=3, n_rows=8)
    activations.outputs[0][:] = seen
    forward(ACTORS, networks, activations)
    forward(CRITICS, networks, activations)
    loss_gradient(networks, activations, batch, settings.vf_coef, Networks(CARTPOLE, gradient))
    terms = losses(CARTPOLE.distribution, activations, batch)
    total = terms.policy_loss - settings.ent_coef * terms.entropy + settings.vf_coef * terms.value_loss
    for i in range(3):
        actor, critic = as_torch(CARTPOLE, weights[i])
        observations = torch.tensor(seen)
        distribution = torch.distributions.Categorical(logits=actor(observations))
        loss = (
            torch.tensor(batch.row_weights)
            * (
                -torch.tensor(batch.advantages[i]) * distribution.log_prob(torch.tensor(batch.actions))
                - settings.ent_coef * distribution.entropy()
                + settings.vf_coef * (torch.tensor(batch.returns[i]) - critic(observations)[:, 0]) ** 2
            )
        ).sum()
        loss.backward()
        assert np.isclose(total[i], loss.item(), rtol=1e-4)
        assert np.allclose(gradient[i], flat_gradient((actor, critic)), rtol=1e-4, atol=1e-6)


def test_adam_and_clipping_are_torchs():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2, 30)).astype(np.float32)
    adam = Adam(TrainingState.initial(weights, SETTINGS), np.full(2, 0.01), 1e-5)
    theirs = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
    optimizers = [torch.optim.Adam([w], lr=0.01, eps=1e-5) for w in theirs]
    for size in (0.01, 1.0, 10.0, 0.1):
        gradient = size * rng.standard_normal((2, 30)).astype(np.float32)
        ours = gradient.copy()
        clip(ours, 0.5)
        adam.begin_update()
        adam.step(slice(0, 1), ours[:1])
        adam.step(slice(1, 2), ours[1:])
        for parameter, optimizer, g in zip(theirs, optimizers, gradient, strict=True):
            parameter.grad = torch.tensor(g)
            torch.nn.utils.clip_grad_norm_([parameter], 0.5)
            optimizer.step()
    assert np.allclose(weights, torch.stack(theirs).detach().numpy(), atol=1e-6)


def transitions(n_steps, n_envs=1, seed=0, truncated_at=None):
    rng = np.random.default_rng(seed)
    for t in range(n_steps):
        cut = np.full(n_envs, t == truncated_at)
        yield (
            rng.standard_normal((n_envs, 4)).astype(np.float32),
            Transition(
                rng.integers(2, size=n_envs),
                rng.standard_normal(n_envs).astype(np.float32),
                np.zeros(n_envs, bool),
                cut,
                rng.standard_normal((n_envs, 4)).astype(np.float32) if cut.any() else None,
                np.ones(n_envs, bool),
            ),
        )


def trained(names, n_steps=23, **kwargs):
    learner = A2C(CARTPOLE, SETTINGS, [generator(0, name) for name in names])
    for observations, transition in transitions(n_steps, **kwargs):
        learner.act(observations)
        learner.record(transition)
    learner.finish(observations)
    return learner.weights


@pytest.mark.parametrize("kwargs", [{}, {"n_envs": 3}, {"truncated_at": 7}])
def test_training_is_bit_identical_however_the_population_is_split(kwargs):
    names = [f"model{i}" for i in range(6)]
    whole = trained(names, **kwargs)
    assert not np.array_equal(whole, A2C(CARTPOLE, SETTINGS, [generator(0, name) for name in names]).weights)
    for width in (1, 2, 5):
        for start in range(0, 6, width):
            assert np.array_equal(whole[start : start + width], trained(names[start : start + width], **kwargs))


@pytest.mark.parametrize("kwargs", [{}, {"n_envs": 3}, {"truncated_at": 7}])
def test_a_population_learns_as_each_of_its_models_would_alone(monkeypatch, kwargs):
    names = [f"model{i}" for i in range(7)]
    alone = np.concatenate([trained([name], **kwargs) for name in names])
    assert np.allclose(trained(names, **kwargs), alone, atol=1e-5)
    monkeypatch.setattr(learner_module, "MODELS_PER_BLOCK", 3)
    assert np.array_equal(trained(names, **kwargs), alone)


def test_a_truncated_episodes_last_reward_carries_the_value_of_its_last_state():
    learner = A2C(CARTPOLE, SETTINGS, [generator(0, "a"), generator(0, "b")])
    (observations, transition), *_ = transitions(1, truncated_at=0)
    learner.act(observations)
    learner.record(transition)
    values = learner.evaluate(transition.final_observations).values[..., 0].copy()
    forward(CRITICS, learner._networks, learner._rollout.first_steps(2))
    acted = learner.evaluate(observations).values[..., 0].copy()
    learner.settings = replace(SETTINGS, gae_lambda=0.0)
    batch = learner._batch(learner._rollout.first_steps(1).values)
    assert np.allclose(batch.advantages, transition.rewards + SETTINGS.gamma * values - acted, atol=1e-6)
    assert values.std() > 0


def test_rows_of_idle_environments_teach_nothing():
    def learned(noise):
        learner = A2C(CARTPOLE, SETTINGS, [generator(0, "a")])
        for observations, transition in transitions(5, n_envs=2):
            observations[1] += noise
            learner.act(observations)
            learner.record(replace(transition, active=np.array([True, False])))
        learner.finish(observations)
        return learner.weights

    assert np.allclose(learned(0.0), learned(100.0), atol=1e-7)


def test_evaluating_changes_nothing():
    learner = A2C(CARTPOLE, SETTINGS, [generator(0, "a")])
    before = learner.weights.copy()
    for observations, _ in transitions(20):
        learner.evaluate(observations)
    assert np.array_equal(before, learner.weights)
    assert learner.rollout_length == 0
    assert not learner.awaits_outcome


def test_an_action_that_was_never_taken_is_forgotten():
    learner = A2C(Architecture(4, 2, (3,)), SETTINGS, [generator(0, "a")])
    (first, transition), (second, _) = list(transitions(2))
    learner.act(first)
    learner.act(second)
    learner.record(transition)
    assert np.array_equal(learner._rollout.steps[0].inputs[0][0, :-1], second[0])
    assert learner.rollout_length == 1


def test_learning_comes_after_the_action_and_no_later_than_the_next_record():
    first, second = (A2C(CARTPOLE, SETTINGS, [generator(0, "a")]) for _ in range(2))
    for number, (observations, transition) in enumerate(transitions(12)):
        before = first.weights.copy()
        logits = first.act(observations).copy()
        assert np.array_equal(logits, second.act(observations))
        assert np.array_equal(first.weights, before)
        assert np.array_equal(logits, first.evaluate(observations).logits)
        first.learn()
        is_due = number > 0 and number % SETTINGS.n_steps == 0
        assert np.array_equal(first.weights, before) is not is_due
        for learner in (first, second):
            learner.record(transition)
        assert np.array_equal(first.weights, second.weights)


@pytest.mark.parametrize("n_steps", [0, 1, 3, 5, 7])
def test_models_restored_from_the_state_of_others_continue_as_these_do(n_steps):
    rng = np.random.default_rng(1)

    def transition():
        truncated = rng.random(2) < 0.3
        return Transition(
            rng.integers(2, size=2),
            rng.random(2).astype(np.float32),
            np.zeros(2, np.bool_),
            truncated,
            rng.random((2, 4)).astype(np.float32) if truncated.any() else None,
            np.ones(2, np.bool_),
        )

    first = A2C(CARTPOLE, SETTINGS, [generator(0, "a"), generator(0, "b")])
    story = [(rng.random((2, 4)).astype(np.float32), transition()) for _ in range(20)]

    def live(learner, story):
        answers = []
        for observations, transition in story:
            answers.append(learner.act(observations).copy())
            learner.record(transition)
        return answers

    live(first, story[:n_steps])
    first.act(story[n_steps][0])
    first.learn()
    second = A2C(CARTPOLE, SETTINGS, [generator(9, "c"), generator(9, "d")])
    second.restore(first.state())
    assert second.awaits_outcome
    for learner in (first, second):
        learner.record(story[n_steps][1])
    for ours, theirs in zip(live(second, story[n_steps + 1 :]), live(first, story[n_steps + 1 :]), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(first.weights, second.weights)
