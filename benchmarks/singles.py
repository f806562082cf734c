"""Single learners of Stable-Baselines3, with the settings that RL Baselines3 Zoo has for an environment.

`falling` names settings that go to 0 at the last step, and `normalize` has observations and rewards divided by their
running standard deviations. What the zoo does not set is Stable-Baselines3's default.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from trials import EVAL_EPISODES, Outcome, Trial

SINGLES = "single PPO", "single A2C", "single DQN", "single SAC"

ZOO: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "single PPO": {
        "CartPole-v1": {
            "n_envs": 8,
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "learning_rate": 0.001,
            "falling": ("learning_rate", "clip_range"),
        },
        "Acrobot-v1": {"normalize": True, "n_envs": 16, "n_steps": 256, "gae_lambda": 0.94, "n_epochs": 4},
        "Pendulum-v1": {
            "n_envs": 4,
            "n_steps": 1024,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "learning_rate": 0.001,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
        "LunarLander-v3": {
            "n_envs": 16,
            "n_steps": 1024,
            "gae_lambda": 0.98,
            "gamma": 0.999,
            "n_epochs": 4,
            "ent_coef": 0.01,
        },
    },
    "single A2C": {
        "CartPole-v1": {"n_envs": 8},
        "Acrobot-v1": {"normalize": True, "n_envs": 16},
        "Pendulum-v1": {
            "normalize": True,
            "n_envs": 8,
            "n_steps": 8,
            "gae_lambda": 0.9,
            "vf_coef": 0.4,
            "use_sde": True,
            "learning_rate": 7e-4,
            "falling": ("learning_rate",),
            "policy_kwargs": {"log_std_init": -2, "ortho_init": False},
        },
        "LunarLander-v3": {
            "n_envs": 8,
            "gamma": 0.995,
            "learning_rate": 0.00083,
            "ent_coef": 0.00001,
            "falling": ("learning_rate",),
        },
    },
    "single DQN": {
        name: {
            "learning_rate": rate,
            "batch_size": batch_size,
            "buffer_size": 100_000,
            "learning_starts": 0,
            "target_update_interval": interval,
            "train_freq": 16,
            "gradient_steps": gradient_steps,
            "exploration_fraction": exploration,
            "exploration_final_eps": eps,
            **more,
        }
        for name, rate, batch_size, interval, gradient_steps, exploration, eps, more in (
            ("CartPole-v1", 2.5e-4, 512, 5_000, 4, 0.06, 0.11, {}),
            ("Acrobot-v1", 2.5e-4, 512, 5_000, 4, 0.06, 0.11, {}),
            ("LunarLander-v3", 8.8e-4, 32, 10_000, -1, 0.2, 0.1, {"policy_kwargs": {"net_arch": [256, 256]}}),
        )
    },
    "single SAC": {"Pendulum-v1": {"learning_rate": 1e-3}},
}


def play_single(trial: Trial) -> Outcome:
    """Return the outcome of one learner of Stable-Baselines3, evaluated by its best action after each of the looks."""
    import stable_baselines3
    import torch
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import VecNormalize, sync_envs_normalization

    torch.set_num_threads(1)
    settings = dict(trial.settings)
    env = make_vec_env(trial.env, n_envs=settings.pop("n_envs", 1), seed=trial.seed)
    is_normalized = settings.pop("normalize", False)
    if is_normalized:
        env = VecNormalize(env, gamma=settings.get("gamma", 0.99))
    falling = {key: _falling(settings.get(key, 0.2)) for key in settings.pop("falling", ())}
    policy = getattr(stable_baselines3, trial.variant.removeprefix("single "))
    learner = policy("MlpPolicy", env, seed=trial.seed, **settings | falling)

    def score(number: int) -> float:
        evaluated = make_vec_env(trial.env, seed=evaluation_seed(trial.seed, number))
        if is_normalized:
            evaluated = VecNormalize(evaluated, training=False, norm_reward=False)
            sync_envs_normalization(env, evaluated)
        return float(np.mean(evaluate_policy(learner, evaluated, EVAL_EPISODES)[0]))

    scores: list[float] = []

    def evaluate_if_due(*_: object) -> bool:
        while len(scores) < len(trial.looks) and learner.num_timesteps >= trial.looks[len(scores)]:
            scores.append(score(len(scores)))
        return True

    began = time.perf_counter()
    learner.learn(trial.steps, evaluate_if_due)
    seconds = time.perf_counter() - began
    return Outcome(trial.env, trial.variant, trial.seed, tuple(trial.looks), tuple(scores), trial.steps / seconds)


def _falling(start: float) -> Callable[[float], float]:
    return lambda progress_remaining: progress_remaining * start


def evaluation_seed(seed: int, number: int) -> int:
    return 1_000_000 + 1000 * seed + number
