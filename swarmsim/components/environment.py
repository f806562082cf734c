"""Environment: plays the episodes that control asks for, with the actions that the swarm decides."""

import time
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.episodes import Episodes, Step, make_env
from swarmsim.components.fields import by_environment
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, MODEL_STATUS, Message, root_id

PROGRESS_SECONDS = 0.25


@dataclass
class Run:
    """The episodes that one message of control asked for."""

    asked: Message
    episodes: Episodes
    step: int = 0
    began: float = field(default_factory=time.monotonic)
    told: int = 0
    told_at: float = field(default_factory=time.monotonic)

    @cached_property
    def root_id(self) -> str:
        return str(root_id(self.asked))

    @property
    def deterministic(self) -> bool:
        return bool(self.asked.get("DETERMINISTIC", False))


class Environment:
    """Plays one run at a time; a run asked for meanwhile follows it.

    Training and evaluation have environments and episode seeds of their own, so neither changes the other.

    Args:
        env_id: of Gymnasium.
        n_envs: episodes side by side.
        n_models: models that must be present before the first observation.
        seed: of the run.
        timeout: seconds to wait for the models, and for an aggregation.
        models_room, aggregation_room, control_room: who gets observations, whose presence is waited
            for besides, and who is told that a run is done.
    """

    def __init__(
        self,
        client: Client,
        env_id: str,
        n_envs: int,
        n_models: int,
        seed: int,
        timeout: float,
        models_room: str,
        aggregation_room: str,
        control_room: str,
    ) -> None:
        self.client = client
        self.n_models = n_models
        self.seed = seed
        self.timeout = timeout
        self.models_room = models_room
        self.aggregation_room = aggregation_room
        self.control_room = control_room
        self._envs = {mode: [make_env(env_id) for _ in range(n_envs)] for mode in ("train", "evaluate")}
        self._n_begun = {"train": 0, "evaluate": 0}
        self._asked: deque[Message] = deque()
        self._run: Run | None = None

    def ask(self, message: Message) -> None:
        """Begin the run of NR_OF_EPISODE episodes that control asks for, once those before it are done."""
        if "NR_OF_EPISODE" not in message:
            return
        if not isinstance(message["NR_OF_EPISODE"], int) or message["NR_OF_EPISODE"] < 1:
            raise ValueError(f"NR_OF_EPISODE is a number of episodes from 1, not {message['NR_OF_EPISODE']!r}")
        self._asked.append(message)
        self._begin_next()

    def _begin_next(self) -> None:
        if self._run is not None or not self._asked:
            return
        asked = self._asked.popleft()
        self.client.await_components(self.models_room, self.n_models, self.timeout)
        self.client.await_components(self.aggregation_room, 1, self.timeout)
        mode = "evaluate" if asked.get("DETERMINISTIC") else "train"
        self._run = Run(asked, Episodes(self._envs[mode], self._episode_seeds(mode, asked["NR_OF_EPISODE"])))
        self._observe(self._run)

    def _episode_seeds(self, mode: str, n_episodes: int) -> list[int]:
        """Return the seeds of a run; training numbers its episodes through, evaluation its runs."""
        begun = self._n_begun[mode]
        self._n_begun[mode] += 1 if mode == "evaluate" else n_episodes
        keys = [(begun, i) if mode == "evaluate" else (begun + i,) for i in range(n_episodes)]
        return [episode_seed(self.seed, mode, *key) for key in keys]

    def act(self, message: Message) -> None:
        """Take the swarm's ACTION, and tell what came of it."""
        run = self._run
        if run is None or message.get("ROOT_ID") != run.root_id or message.get("STEP", run.step) != run.step:
            return  # an answer that came too late
        actions = by_environment(message["ACTION"], np.int64)
        active = run.episodes.active.copy()
        came = run.episodes.step(actions)
        run.step += 1
        self._observe(run, **_told(actions, came, active))
        if run.episodes.done:
            self._end(run)
        elif run.asked.get("PROGRESS"):
            self._tell_progress(run)

    def _observe(self, run: Run, **transition: object) -> None:
        """Show the models where the run stands; nobody answers once its last episode has ended."""
        observations = run.episodes.observations
        shown = {
            "TO_ROOM": self.models_room,
            "MODEL_STATUS": (MODEL_STATUS.VALIDATE if run.deterministic else MODEL_STATUS.TRAIN).id,
            "OBSERVATION": observations[0] if len(observations) == 1 else observations,
            "DETERMINISTIC": run.deterministic,
            "STEP": run.step,
            **transition,
        }
        if len(observations) > 1:
            shown["ACTIVE"] = run.episodes.active
        if run.episodes.done:
            shown["LAST"] = True
        self._say(run, **shown)

    def _tell_progress(self, run: Run) -> None:
        """Tell the asker, now and then, which episodes have ended since."""
        now = time.monotonic()
        if now - run.told_at < PROGRESS_SECONDS:
            return
        ended = run.episodes.ended[run.told :]
        run.told, run.told_at = len(run.episodes.ended), now
        self._say(
            run,
            TO=run.asked["SENT_BY"],
            STATUS="ENV_PROGRESS",
            RETURNS=[run.episodes.returns[n] for n in ended],
            STEPS=run.episodes.n_steps,
        )

    def _end(self, run: Run) -> None:
        self._run = None
        returns = run.episodes.returns
        self._say(
            run,
            TO_ROOM=self.control_room,
            STATUS="ENV_DONE",
            AVG_SCORE=float(np.mean(returns)),
            RETURNS=returns,
            LENGTHS=run.episodes.lengths,
            SECONDS=time.monotonic() - run.began,
        )
        self._begin_next()

    def _say(self, run: Run, **fields: object) -> None:
        self.client.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "ROOT_ID": run.root_id, **fields})


def episode_seed(seed: int, mode: str, *number: int) -> int:
    """Return what an episode is reset with: of training by its number, of evaluation by its run's and its own."""
    return int(generator(seed, "episodes", mode, *number).integers(2**31))


def _told(actions: NDArray[np.int64], came: Step, active: NDArray[np.bool_]) -> dict[str, object]:
    """Return a transition's keys: single values for one environment, arrays (N,) for several."""
    done = came.terminated | came.truncated
    told: dict[str, object]
    if active.size == 1:
        told = {"ACTION": int(actions[0]), "REWARD": float(came.rewards[0]), "DONE": bool(done[0])}
    else:
        told = {"ACTION": actions, "REWARD": came.rewards, "DONE": done, "ACTED": active}
    if came.final_observations is not None and came.truncated.any():
        single = active.size == 1
        told["TRUNCATED"] = True if single else came.truncated
        told["FINAL_OBSERVATION"] = came.final_observations[0] if single else came.final_observations
    return told
