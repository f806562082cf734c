"""What the tests of users' modules share: folders with modules, whose environment returns the reward that they say."""

from pathlib import Path

import swarmsim

SETTINGS = {"rounds": 1, "population": 2, "episodes": 1, "link": "inprocess", "progress": False}
TASK = """
import gymnasium, numpy as np
from gymnasium import spaces
TOP

class Task(gymnasium.Env):
    observation_space, action_space = spaces.Box(0.0, 1.0, (1,), np.float32), spaces.Discrete(2)

    def __init__(self, scale=1.0, render_mode=None):
        self.scale = scale

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        STEP
        return np.zeros(1, np.float32), REWARD * self.scale, True, False, {}
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_task(path: Path, reward: object = 1, *, top: str = "", step: str = "pass") -> None:
    write(path, TASK.replace("TOP", top).replace("STEP", step).replace("REWARD", str(reward)))


def reward_of(folder: Path | None = None, env: object = "my_task:Task", **settings: object) -> float:
    """Return the reward of an environment whose episodes have one step."""
    modules = None if folder is None else str(folder)
    history = swarmsim.run(**{**SETTINGS, "out": None, "modules": modules, "env": env, **settings})
    return history[-1].train_returns[0]
