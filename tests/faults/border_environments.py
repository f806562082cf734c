"""Environments that break one habit each of a textbook environment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Base(gymnasium.Env):
    """Ten steps of reward 1; VALUES replaces what step BAD_STEP of the class's BAD_EPISODE returns."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)
    LENGTH, BAD_EPISODE, BAD_STEP = 10, 1, 3
    VALUES: ClassVar = {}
    episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.n, self.episode = 0, self.episode + 1
        return self.obs(), {}

    def obs(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def step(self, action):
        self.n += 1
        result = {"observation": self.obs(), "reward": 1.0, "terminated": self.n >= self.LENGTH, "truncated": False}
        if (self.episode, self.n) == (self.BAD_EPISODE, self.BAD_STEP):
            result |= self.VALUES
        return *result.values(), {}


class BadReward(Base):
    VALUES: ClassVar = {"reward": float("nan")}


class BadObservation(Base):
    VALUES: ClassVar = {"observation": np.array([np.inf, 0], np.float32)}


class BadFirst(Base):
    """The first observation of its second episode has a NaN."""

    def obs(self):
        return super().obs() * (np.float32(np.nan) if (self.episode, self.n) == (2, 0) else 1)


class AlwaysBad(Base):
    def obs(self):
        return np.full(2, np.nan, np.float32)


class Endless(Base):
    LENGTH = 10**12


class NoSeed(Base):
    def reset(self):
        return self.obs(), {}


class NeedsArgument(Base):
    def __init__(self, size):
        self.size = size


class InitRaises(Base):
    def __init__(self):
        raise RuntimeError("no licence\nserver")


class InitExits(Base):
    def __init__(self):
        sys.exit(3)


class NoActions(Base):
    action_space = None


class NoObservations(Base):
    observation_space = None


class NothingToSee(Base):
    observation_space = spaces.Box(-1, 1, (0,), np.float32)


class SpaceRaises(Base):
    @property
    def observation_space(self):
        raise OSError("no map")


class CloseRaises(Base):
    def close(self):
        raise RuntimeError("already closed")


class CloseHangs(Base):
    def close(self):
        time.sleep(600)


class Mission(spaces.Space[str]):
    """Text of any length, as MiniGrid has it."""

    def __init__(self):
        super().__init__(dtype=str)

    def contains(self, x):
        return isinstance(x, str)


class Grid(Base):
    observation_space = spaces.Dict(
        image=spaces.Box(0, 255, (2, 2), np.uint8), mission=Mission(), way=spaces.Discrete(3)
    )

    def obs(self):
        return {"image": np.ones((2, 2), np.uint8), "mission": "go", "way": 2}


class Single(Base):
    """A simulator that runs only once, and whose helper ends with it alone; it notes both in the file LOG."""

    def __init__(self):
        self.log = Path(os.environ["LOG"])
        self.lock = self.log.with_name("lock")
        self.lock.touch(exist_ok=False)
        self.helper = subprocess.Popen(["sleep", "600"])
        self._write(f"opened {self.helper.pid}")

    def _write(self, line):
        with self.log.open("a") as log:
            log.write(f"{line}\n")

    def close(self):
        self.helper.kill()
        self.helper.wait()
        self.lock.unlink()
        self._write(f"closed {self.helper.pid}")


class Helped(Single):
    """It has a helper too, but any number of it run."""

    FAILS_AT = 0
    HANGS_AT = 0

    def __init__(self):
        self.lock = Path(os.environ["LOG"]).with_name(f"lock-{os.urandom(8).hex()}")
        self.log = Path(os.environ["LOG"])
        self.lock.touch()
        self.helper = subprocess.Popen(["sleep", "600"])
        self._write(f"opened {self.helper.pid}")

    def step(self, action):
        if self.n + 1 == self.FAILS_AT:
            raise RuntimeError("sensor lost")
        if self.n + 1 == self.HANGS_AT:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(action)


class Failing(Helped):
    FAILS_AT = 3


class Terminated(Helped):
    HANGS_AT = 3


class Drawing(Base):
    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    picture = np.zeros((4, 6, 3), np.uint8)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def render(self):
        return self.picture


class Floats(Drawing):
    picture = np.zeros((4, 6, 3))


class Nothing(Drawing):
    picture = None


class Lists(Drawing):
    picture: ClassVar = [np.zeros((4, 6, 3), np.uint8)]


class Grey(Drawing):
    picture = np.zeros((4, 6), np.uint8)


class Transparent(Drawing):
    picture = np.zeros((4, 6, 4), np.uint8)


class Growing(Drawing):
    def render(self):
        return np.zeros((4 + self.n, 6, 3), np.uint8)


class RenderRaises(Drawing):
    def render(self):
        raise RuntimeError("no GL context")


class NoMode(Base):
    metadata: ClassVar = {"render_modes": ["rgb_array"]}
