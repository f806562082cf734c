"""CartPole-v1 that notes when its first step is taken: `--env first_step:FirstStep-v0`."""

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

NOTE = "SWARMSIM_FIRST_STEP"  # names the file; it gets the time by the clock that all processes of a machine share


class FirstStep(CartPoleEnv):
    """CartPole whose first step writes its time."""

    noted = False

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Step as CartPole does."""
        if not self.noted:
            self.noted = True
            Path(os.environ[NOTE]).write_text(str(time.monotonic()), encoding="utf-8")
        return super().step(action)


gymnasium.register("FirstStep-v0", entry_point=f"{__name__}:{FirstStep.__name__}", max_episode_steps=500)
