"""Environments with known optima, for tests: Gymnasium's API, and nothing else of ours."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Bandit(gymnasium.Env):
    """Two arms and one pull: arm 1 pays 1 with probability 0.9, arm 0 with 0.1."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action):
        pays = self.np_random.random() < (0.9 if action == 1 else 0.1)
        return np.ones(1, np.float32), float(pays), True, False, {}


class Corridor(gymnasium.Env):
    """Five cells in a row, start in the first, 1 at the last, −0.1 a step: 4 steps right are the optimum, 0.7."""

    LENGTH, STEP_COST, MAX_STEPS = 5, 0.1, 50
    OPTIMUM = 1 - 3 * STEP_COST

    observation_space = spaces.Box(0.0, 1.0, (LENGTH,), np.float32)
    action_space = spaces.Discrete(2, start=1)  # 1 left, 2 right: not counted from 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.n_steps = 0, 0
        return self._seen(), {}

    def step(self, action):
        self.cell = max(self.cell + (1 if action == 2 else -1), 0)
        self.n_steps += 1
        there = self.cell == self.LENGTH - 1
        return self._seen(), 1.0 if there else -self.STEP_COST, there, self.n_steps >= self.MAX_STEPS, {}

    def _seen(self):
        seen = np.zeros(self.LENGTH, np.float32)
        seen[self.cell] = 1.0
        return seen


class Counting(gymnasium.Env):
    """Tells its step number and pays it; episodes last as long as their seed says, and are then cut off."""

    observation_space = spaces.Box(0.0, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length, self.n_steps = seed, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.n_steps += 1
        return np.full(1, self.n_steps, np.float32), float(self.n_steps), False, self.n_steps >= self.length, {}


class Breaking(Bandit):
    """Raises at its third step."""

    BREAKS_AT = 3
    n_steps = 0

    def step(self, action):
        self.n_steps += 1
        if self.n_steps == self.BREAKS_AT:
            raise RuntimeError("the pole is broken")
        return super().step(action)


class Broken(Bandit):
    """Raises at its first step."""

    def step(self, action):
        raise RuntimeError("the pole is broken")


for name in ("Broken", "Bandit", "Corridor", "Counting", "Breaking"):
    gymnasium.register(f"{name}-v0", entry_point=f"tests.environments:{name}")


class Still(gymnasium.Env):
    """Ends at its first step, pays 1 and remembers the action; a kind of its own has the spaces to be tried."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.action = action
        return self.observation_space.sample(), 1.0, True, False, {}


class Wordy(Still):
    observation_space = spaces.Sequence(spaces.Discrete(2))


class Paired(Still):
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))


class Manifold(Still):
    action_space = spaces.MultiDiscrete([100, 100, 100])


class Composed(Still):
    """Observations of several kinds, and several choices at once."""

    observation_space = spaces.Dict(
        {"room": spaces.Discrete(3), "at": spaces.Tuple((spaces.Box(-1, 1, (2, 2)), spaces.MultiBinary(2)))}
    )
    action_space = spaces.MultiDiscrete([2, 3], start=[0, 1])


class Switches(Still):
    action_space = spaces.MultiBinary(3)


class Levers(Still):
    """A matrix of numbers within bounds that are not those of the models."""

    action_space = spaces.Box(np.array([[0, 10]], np.float32), np.array([[1, 30]], np.float32))
