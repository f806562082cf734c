"""An environment: bring a boat through a current to its berth. The best return is 1, for a straight course."""

import gymnasium
import numpy as np
from gymnasium import spaces


class Harbour(gymnasium.Env):
    """The boat observes its offset (−1 to 1) and the current; it steers to port, ahead or to starboard."""

    LENGTH, STEP_COST = 12, 0.02

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        """Place the boat at a random offset from its berth."""
        super().reset(seed=seed)
        self.off = float(self.np_random.uniform(-0.5, 0.5))
        self.current = float(self.np_random.uniform(-0.1, 0.1))
        self.n_steps = 0
        return self._observation(), {}

    def step(self, action):
        """Steer, drift, and pay for the distance; the berth is reached after LENGTH steps, or the boat runs aground."""
        self.n_steps += 1
        self.off += self.current + 0.2 * (int(action) - 1)
        aground, berthed = abs(self.off) >= 1.0, self.n_steps >= self.LENGTH
        reward = -1.0 if aground else 1.0 / self.LENGTH - self.STEP_COST * abs(self.off)
        self.off = float(np.clip(self.off, -1.0, 1.0))
        return self._observation(), reward, aground or berthed, False, {}

    def _observation(self):
        return np.array([self.off, self.current], np.float32)
