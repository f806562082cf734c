"""Environment: plays the episodes that control asks for, with the actions that the swarm decides."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.admin import changed
from swarmsim.components.fields import actions_taken, by_environment, flag, has_value, integer, text
from swarmsim.components.job import Run
from swarmsim.components.membership import SET, MemberKind, acknowledges
from swarmsim.components.persistence import StateStore
from swarmsim.envs.episodes import Episodes, Step
from swarmsim.envs.make import make_env, shape_of_spaces
from swarmsim.learning.networks import Floats
from swarmsim.learning.normalize import Normalizer
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, MODEL_STATUS, Message, root_id
from swarmsim.settings import setting

PROGRESS_SECONDS, SAVE_SECONDS = 0.25, 0.1


@dataclass(frozen=True)
class Patience:
    """What of an environment can change while it runs."""

    timeout: float = setting(60.0, "seconds to wait for the models, and for an aggregation", minimum=0.1)


class Environment:
    """Plays one run at a time; a run asked for meanwhile follows it.

    Training and evaluation have environments and episode seeds of their own, so neither changes the other.
    The episodes that had ended, up to `SAVE_SECONDS` ago, are taken up by the process that follows its own; those that
    ran then are lost, and played again.

    Args:
        env_id: of Gymnasium.
        n_envs: episodes side by side.
        n_models: models that must be present before the first observation.
        seed: of the run.
        timeout: seconds to wait for the models, and for an aggregation.
        models, aggregations, control_room: who gets observations, whose presence is waited
            for besides, and who is told that a run is done.
        normalize_observations: whether the models see observations in standard deviations from their mean, as
            training has shown both so far.
    """

    def __init__(
        self,
        client: Client,
        store: StateStore,
        env_id: str,
        n_envs: int,
        n_models: int,
        seed: int,
        timeout: float,
        models: MemberKind,
        aggregations: MemberKind,
        control_room: str,
        normalize_observations: bool = False,
    ) -> None:
        self.client = client
        self.store = store
        self.env_id = env_id
        self.n_envs = n_envs
        self.n_models = n_models
        self.seed = seed
        self.timeout = timeout
        self.models = models
        self.aggregations = aggregations
        self.control_room = control_room
        self._envs = {mode: [make_env(env_id) for _ in range(n_envs)] for mode in ("train", "evaluate")}
        self._shape = shape_of_spaces(self._envs["train"][0])
        self._normalizer = Normalizer(self._shape.n_inputs) if normalize_observations else None
        self._n_trained = 0
        self._asked: deque[Message] = deque()
        self._run: Run | None = None
        self._done: Message = {}
        self._pause: Message | None = None
        earlier = store.read()
        self._saved_at = time.monotonic()
        if earlier is not None:
            self._take_up(earlier, replay=False)
            self._save_state()  # the number of this attempt, in case that it is not the last

    def state(self) -> dict[str, Any]:
        """Return where it stands between two steps."""
        return {
            "n_trained": self._n_trained,
            "asked": list(self._asked),
            "done": self._done,
            "run": None if self._run is None else self._run.state(),
            "normalizer": None if self._normalizer is None else self._normalizer.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was told, once control asks for the same run again."""
        self._take_up(state, replay=True)

    def _take_up(self, state: Mapping[str, Any], *, replay: bool) -> None:
        self._n_trained, self._asked, self._done = state["n_trained"], deque(state["asked"]), state["done"]
        if self._normalizer is not None and state["normalizer"] is not None:
            self._normalizer.restore(state["normalizer"])
        told = state["run"]
        if told is None:
            return
        mode = "evaluate" if told["asked"].get("DETERMINISTIC") else "train"
        episodes = Episodes(self._envs[mode], ())
        if not episodes.restore(told["episodes"], replay=replay):
            what = "playing an episode's actions again came to something else: the run goes on, but not exactly"
            self.client.log_rejected("does not keep to its seeds", what)
        self._run = Run(told["asked"], episodes, told["step"], told["seconds"], told["attempt"], told["first_episode"])
        self._run.wait(told["untold"] if replay else None)
        if not replay:
            self._run.attempt += 1
            self._run.step = 0

    def settings(self) -> dict[str, Any]:
        """Return what it was made with, as it stands now."""
        return {"env": self.env_id, "envs": self.n_envs, "seed": self.seed, "timeout": self.timeout}

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Wait longer from now on, or less long.

        Raises:
            SettingsError: one of `values` cannot be used; nothing has changed.
        """
        self.timeout = changed(Patience(self.timeout), values, fixed=("env", "envs", "seed")).timeout

    def ask(self, message: Message) -> None:
        """Begin the run of NR_OF_EPISODE episodes that control asks for, once those before it are done.

        Asked for once more, a run that waits goes on, and one that is done is told to be so.
        """
        if "NR_OF_EPISODE" not in message:
            return
        integer(message, "NR_OF_EPISODE", minimum=1)
        for key in ("DETERMINISTIC", "PROGRESS"):
            flag(message, key, default=False)
        text(message, "SENT_BY")
        run = self._run
        if run is not None and run.root_id == root_id(message):
            if run.waits:
                self._await_the_swarm()
                self._tell(run, run.go_on())
            return
        if self._done and self._done["ROOT_ID"] == root_id(message):
            self.client.send(self._done)
            return
        if run is not None and run.waits:
            self._run = None  # whoever asked for it has other wishes now
        self._asked.append(message)
        self._begin_next()

    def _begin_next(self) -> None:
        if self._run is not None or not self._asked:
            return
        asked = self._asked.popleft()
        self._await_the_swarm()
        mode = "evaluate" if asked.get("DETERMINISTIC") else "train"
        first_episode = self._n_trained
        episodes = Episodes(self._envs[mode], self._episode_seeds(mode, asked["NR_OF_EPISODE"]))
        self._run = Run(asked, episodes, first_episode=first_episode)
        self._count(self._run)
        self._save_state()
        self._tell(self._run, {})

    def _count(self, run: Run) -> None:
        """Have what training has just shown count for how observations are normalised."""
        if self._normalizer is not None and not run.deterministic:
            self._normalizer.count(run.episodes.observations[run.episodes.active])

    def _as_seen(self, observations: Floats) -> Floats:
        return observations if self._normalizer is None else self._normalizer.normalized(observations)

    def _await_the_swarm(self) -> None:
        self.models.wait(self.client, self.n_models, self.timeout)
        self.aggregations.wait(self.client, 1, self.timeout)
        self.n_models = 1  # from now on, those that are lost for good are not waited for

    def _episode_seeds(self, mode: str, n_episodes: int) -> list[int]:
        """Return the seeds of a run: training numbers its episodes through.

        Evaluations that no training lies between see the same episodes, lest luck be taken for what evolution did.
        """
        begun = self._n_trained
        if mode == "train":
            self._n_trained += n_episodes
            return [episode_seed(self.seed, mode, begun + i) for i in range(n_episodes)]
        return [episode_seed(self.seed, mode, begun, i) for i in range(n_episodes)]

    def act(self, message: Message) -> None:
        """Take the swarm's ACTION, and tell what came of it."""
        run = self._run
        if run is None or run.waits or message.get("ROOT_ID") != run.conversation:
            return  # an answer that came too late
        if integer(message, "STEP", default=run.step) != run.step:
            return
        n_envs = len(run.episodes.active)
        actions = actions_taken(message, n_envs, self._shape.distribution)
        log_probs = by_environment(message, "LOG_PROB", np.float64, n_envs) if "LOG_PROB" in message else None
        active = run.episodes.active.copy()
        came = run.episodes.step(actions)
        run.step += 1
        self._count(run)
        untold = self._told(actions, log_probs, came, active)
        if self._pause is None:
            self._tell(run, untold)
        else:
            run.wait(untold)
            self._tell_paused(self._pause)

    def pause(self, message: Message) -> None:
        """Stop after the step that is being made, until control asks for the run once more."""
        if not has_value(message, "CMD", "PAUSE"):
            return
        if self._run is None or self._run.waits:
            self._tell_paused(message)
        else:
            self._pause = message

    def _tell_paused(self, asked: Message) -> None:
        self._pause = None
        self._say(root_id(asked), TO=text(asked, "SENT_BY"), STATUS="PAUSED")

    def welcome(self, message: Message) -> None:
        """Show a newcomer among the models where the run stands; all of them, where there is a new aggregation.

        A model that may not bear to be shown it alone hears the next one, and this one where nobody else could answer.
        """
        run = self._run
        if run is None or run.waits or run.episodes.done:
            return
        newcomer, rooms = text(message, "SENT_BY"), self.client.rooms()
        if has_value(message, "ROOM", self.models.room) and self.models.has(rooms, newcomer):
            models = self.models.members(rooms)
            if all(acknowledges(member, SET) for member in models if member.name == newcomer):
                self._observe(run, TO=newcomer)
            elif len(models) == 1:
                self._observe(run, TO_ROOM=self.models.room)
        elif has_value(message, "ROOM", self.aggregations.room) and self.aggregations.has(rooms, newcomer):
            self._observe(run, TO_ROOM=self.models.room)

    def _tell(self, run: Run, untold: Mapping[str, object]) -> None:
        """Show the models where the run stands, and what brought it there."""
        self._observe(run, TO_ROOM=self.models.room, **untold)
        if run.episodes.done:
            self._end(run)
            return
        now = time.monotonic()
        if run.asked.get("PROGRESS") and now - run.told_at > PROGRESS_SECONDS:
            self._tell_progress(run)
        if now - self._saved_at > SAVE_SECONDS:
            self._save_state()

    def _save_state(self) -> None:
        self.store.write(self.state())
        self._saved_at = time.monotonic()

    def _observe(self, run: Run, **fields: object) -> None:
        """Show the run's observations; nobody answers once its last episode has ended."""
        observations = self._as_seen(run.episodes.observations)
        shown = {
            "MODEL_STATUS": (MODEL_STATUS.VALIDATE if run.deterministic else MODEL_STATUS.TRAIN).id,
            "OBSERVATION": observations[0] if len(observations) == 1 else observations,
            "DETERMINISTIC": run.deterministic,
            "STEP": run.step,
            **fields,
        }
        if len(observations) > 1:
            shown["ACTIVE"] = run.episodes.active
        if not run.deterministic:
            numbers = run.first_episode + run.episodes.numbers
            shown["EPISODE"] = int(numbers[0]) if len(numbers) == 1 else numbers
        if run.episodes.done:
            shown["LAST"] = True
        self._say(run.conversation, **shown)

    def _tell_progress(self, run: Run) -> None:
        """Tell the asker which episodes have ended since it was told last."""
        ended = run.episodes.ended[run.told :]
        run.told, run.told_at = len(run.episodes.ended), time.monotonic()
        self._say(
            run.root_id,
            TO=run.asked["SENT_BY"],
            STATUS="ENV_PROGRESS",
            RETURNS=[run.episodes.returns[n] for n in ended],
            STEPS=run.episodes.n_steps,
        )

    def _end(self, run: Run) -> None:
        returns = run.episodes.returns
        self._done = {
            "TYPE": MESSAGE_TYPE.DATA.CUSTOM.id,
            "ROOT_ID": run.root_id,
            "TO_ROOM": self.control_room,
            "STATUS": "ENV_DONE",
            "AVG_SCORE": float(np.mean(returns)),
            "RETURNS": returns,
            "LENGTHS": run.episodes.lengths,
            "SECONDS": run.seconds,
        }
        if not run.deterministic:
            self._done["EPISODES"] = [run.first_episode + number for number in range(len(returns))]
        self._run = None
        self._save_state()  # before it is told: whoever follows can tell it again, but not undo it
        self.client.send(self._done)
        if self._pause is not None:
            self._tell_paused(self._pause)
        self._begin_next()

    def _told(
        self, actions: NDArray[Any], log_probs: NDArray[np.float64] | None, came: Step, active: NDArray[np.bool_]
    ) -> dict[str, Any]:
        """Return a transition's keys: single values for one environment, arrays (N, …) for several."""
        done = came.terminated | came.truncated
        told: dict[str, NDArray[Any]] = {"ACTION": actions, "REWARD": came.rewards, "DONE": done}
        if log_probs is not None:
            told["LOG_PROB"] = log_probs
        if came.final_observations is not None and came.truncated.any():
            told["TRUNCATED"] = came.truncated
            told["FINAL_OBSERVATION"] = self._as_seen(came.final_observations)
        if active.size > 1:
            return told | {"ACTED": active}
        return {key: value[0].tolist() if value.ndim == 1 else value[0] for key, value in told.items()}

    def _say(self, conversation: object, **fields: object) -> None:
        self.client.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "ROOT_ID": conversation, **fields})


def episode_seed(seed: int, mode: str, *number: int) -> int:
    """Return what an episode is reset with, by its number; in evaluation also by how many were trained on before."""
    return int(generator(seed, "episodes", mode, *number).integers(2**31))
