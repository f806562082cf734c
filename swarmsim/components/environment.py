"""Environment: plays the episodes that control asks for, with the actions that the swarm decides on."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal

from swarmsim.components.admin import changed
from swarmsim.components.fields import has_value, text
from swarmsim.components.job import Job, restarted
from swarmsim.components.membership import SET, MemberKind, acknowledges
from swarmsim.components.persistence import StateStore
from swarmsim.components.protocol.control import JobDone, JobProgress, JobRequest, Paused, PauseRequest
from swarmsim.components.protocol.step import Action, Observation, transition_fields
from swarmsim.components.requests import RequestQueue
from swarmsim.components.results import JobResult
from swarmsim.envs.episodes import Border, Episodes
from swarmsim.envs.make import EnvSource, shape_of_spaces
from swarmsim.envs.pool import EnvPool, Sharing
from swarmsim.learning.learner import Transition
from swarmsim.learning.networks import Floats
from swarmsim.learning.normalize import Normalizer
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, Message, root_id
from swarmsim.settings import setting

PROGRESS_SECONDS = 0.25


class Phase(Enum):
    """What an environment does."""

    IDLE = auto()  # it has no job
    PLAYING = auto()  # a step of its job waits for the action
    PAUSING = auto()  # its job is paused after this step
    PAUSED = auto()  # its job waits until its request is repeated, or makes way for another one


@dataclass(frozen=True)
class AdjustableSettings:
    """The settings of an environment that can change while it runs."""

    timeout: float = setting(60.0, "seconds to wait for the models and for an aggregation", minimum=0.1)


@dataclass(eq=False, kw_only=True)
class Environment:
    """Plays one job at a time; jobs that are requested meanwhile follow it.

    A training job that is paused is kept aside while evaluations are played, and continues when it is requested again.

    Training and evaluation have episode seeds of their own, and environments too unless they share them, so neither
    changes the other.
    A process that replaces this one continues with the episodes that had ended at the last save; it plays those
    that were running again from their start.

    Args:
        source: what its environments are made from.
        n_envs: episodes side by side.
        fewer_envs: whether there may be fewer: as many as can be made, and one among components that announce nothing.
        n_models: models that must be present before the first observation.
        seed: of the run.
        timeout: seconds to wait for the models, and for an aggregation.
        models, aggregations: which members get observations, and which must be present too.
        control_room: where the end of a job is reported.
        normalize_observations: whether they are sent in standard deviations from their mean in training so far.
        eval_env, on_bad_value: as the settings of these names.

    Raises:
        SettingsError: its environments cannot be made.
        BadValue: one of them returned what cannot be used.
    """

    client: Client = field(kw_only=False)
    store: StateStore = field(kw_only=False)
    source: EnvSource
    n_envs: int
    n_models: int
    seed: int
    timeout: float
    models: MemberKind
    aggregations: MemberKind
    control_room: str
    normalize_observations: bool = False
    fewer_envs: bool = False
    eval_env: Sharing = "auto"
    on_bad_value: Literal["fail", "drop"] = "fail"

    def __post_init__(self) -> None:
        self._envs = EnvPool(self.source, self.n_envs, self.eval_env, at_least=1 if self.fewer_envs else self.n_envs)
        self._shape = shape_of_spaces(self._envs.training[0])
        self._normalizer = Normalizer(self._shape.n_inputs) if self.normalize_observations else None
        self._n_trained = 0
        self._requests = RequestQueue()
        self._phase = Phase.IDLE
        self._job: Job | None = None  # unless IDLE
        self._aside: Job | None = None  # paused training, while an evaluation is the job
        self._pause_request: Message = {}  # while PAUSING
        may_be_endless = self.source.max_episode_steps is None
        self._borders = [
            Border(self.source.id, mode, self.on_bad_value, self.client.log_rejected, may_be_endless)
            for mode in ("training", "evaluation")
        ]
        saved = self.store.read()
        if saved is not None:
            try:
                self.restore(replacement_state(self.store))
            except BaseException:
                self.close()
                raise
            self.store.write(self.state())  # with the number of this attempt, in case that it is not the last

    # --- its state

    def state(self) -> dict[str, Any]:
        """Return its state between two steps."""
        return {
            "n_trained": self._n_trained,
            "asked": self._requests.waiting(),
            "done": self._requests.last_answer,
            "run": None if self._job is None else self._job.state(),
            "aside": None if self._aside is None else self._aside.state(),
            "normalizer": None if self._normalizer is None else self._normalizer.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, once control repeats the request of its job."""
        self._n_trained = state["n_trained"]
        self._requests.restore(state["asked"], state["done"].get("ROOT_ID"), state["done"])
        if self._normalizer is not None and state["normalizer"] is not None:
            self._normalizer.restore(state["normalizer"])
        self._aside = self._restored_job(state.get("aside"))  # earlier versions kept none
        self._job = self._restored_job(state["run"])
        self._phase = Phase.IDLE if self._job is None else Phase.PAUSED

    def _restored_job(self, state: Mapping[str, Any] | None) -> Job | None:
        if state is None:
            return None
        n_envs, is_evaluation = len(state["episodes"]["running"]), bool(state["asked"].get("DETERMINISTIC"))
        episodes = self._episodes((), state["first_episode"], n_envs, is_evaluation=is_evaluation)
        self._replay(episodes, state["episodes"])
        job = Job(state["asked"], episodes, state["step"], state["seconds"], state["attempt"], state["first_episode"])
        job.pause(state["untold"])
        return job

    def _replay(self, episodes: Episodes, state: Mapping[str, Any]) -> None:
        if not episodes.restore(state):
            problem = "playing an episode's actions again led to other observations: the run continues, but not exactly"
            self.client.log_rejected("does not keep to its seeds", problem)

    def close(self) -> None:
        """Close its environments."""
        self._envs.close()

    def settings(self) -> dict[str, Any]:
        """Return its settings as they are now."""
        return {"env": self.source.id, "envs": len(self._envs.training), "seed": self.seed, "timeout": self.timeout}

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Change the timeout.

        Raises:
            SettingsError: one of `values` cannot be used; nothing has changed.
        """
        self.timeout = changed(AdjustableSettings(self.timeout), values, fixed=("env", "envs", "seed")).timeout

    # --- handlers

    def request_job(self, message: Message) -> None:
        """Begin the job that control requests, once those before it are done.

        A repeated request resumes the job if it is paused, and gets the answer again if it is done.
        """
        if JobRequest.read(message) is None:
            return
        text(message, "SENT_BY")  # who gets the reports of progress
        root = root_id(message)
        if self._job is not None and self._job.root_id == root:
            self._resume(self._job, message)
        elif self._aside is not None and self._aside.root_id == root:
            self._resume(self._aside, message)
        elif self._requests.was_answered(message):
            self.client.send(self._requests.last_answer)
        else:
            self._requests.add(message)
            self._begin_next()

    def _resume(self, job: Job, message: Message) -> None:
        """Continue a job whose request is repeated, unless it has still to pause."""
        job.renew(message)
        if job is self._aside and not job.is_due_to_pause:  # control has given up the evaluation
            self._end_job()
        if job is self._aside or (self._phase is Phase.PAUSED and job.is_due_to_pause):
            self._confirm_pause(message, job)
        elif self._phase is Phase.PAUSED:
            self._await_the_swarm()
            self._phase = Phase.PLAYING
            self._show(job, job.resume())

    def act(self, message: Message) -> None:
        """Take the swarm's action in all environments, and show the models the transition."""
        job = self._job
        if job is None or self._phase is Phase.PAUSED or message.get("ROOT_ID") != job.conversation:
            return  # it came too late
        action = Action.read(message, len(job.episodes.active), self._shape.distribution)
        if action.step not in (None, job.step):
            return
        active = job.episodes.active.copy()
        result = job.episodes.step(action.actions)
        if result.dropped is not None:
            active &= ~result.dropped
        job.step += 1
        self._normalizer_update(job)
        final_observations = result.final_observations  # of ended episodes, so there are seldom any
        transition = dict(action.learning) | transition_fields(
            Transition(
                actions=action.actions,
                rewards=result.rewards,
                terminated=result.terminated,
                truncated=result.truncated,
                final_observations=None if final_observations is None else self._normalized(final_observations),
                active=active,
                log_probs=action.log_probs,
            )
        )
        if self._phase is Phase.PAUSING or job.is_due_to_pause:
            job.pause(transition)
            request = self._pause_request if self._phase is Phase.PAUSING else job.message
            self._phase = Phase.PAUSED
            self._confirm_pause(request, job)
        else:
            self._show(job, transition)

    def pause(self, message: Message) -> None:
        """Stop after the current step, until control repeats the job's request."""
        if PauseRequest.read(message) is None:
            return
        if self._phase in (Phase.IDLE, Phase.PAUSED):
            self._confirm_pause(message, self._job)
        else:
            self._phase, self._pause_request = Phase.PAUSING, message

    def handle_join(self, message: Message) -> None:
        """Show a new model the current observation; show it to all models where an aggregation is new.

        A model of the reference system reads only messages to its room: it gets the next observation, or this one if
        it is the only model.
        """
        job = self._job
        if job is None or self._phase is Phase.PAUSED or job.episodes.done:
            return
        newcomer, rooms = text(message, "SENT_BY"), self.client.rooms()
        if has_value(message, "ROOM", self.models.room) and self.models.has(rooms, newcomer):
            models = self.models.members(rooms)
            if all(acknowledges(member, SET) for member in models if member.name == newcomer):
                self._send_observation(job, TO=newcomer)
            elif len(models) == 1:
                self._send_observation(job, TO_ROOM=self.models.room)
        elif has_value(message, "ROOM", self.aggregations.room) and self.aggregations.has(rooms, newcomer):
            self._send_observation(job, TO_ROOM=self.models.room)

    # --- a job

    def _begin_next(self) -> None:
        message = self._requests.next() if self._phase in (Phase.IDLE, Phase.PAUSED) else None
        if message is None:
            return
        request = JobRequest.read(message)
        assert request is not None
        if self._job is not None:
            self._make_way(self._job, request)
        self._await_the_swarm()
        mode, first_episode = "evaluate" if request.deterministic else "train", self._n_trained
        seeds = self._episode_seeds(mode, request.n_episodes)
        episodes = self._episodes(seeds, first_episode, self._n_side_by_side(), is_evaluation=request.deterministic)
        self._job = Job(message, episodes, first_episode=first_episode)
        self._phase = Phase.PLAYING
        self._normalizer_update(self._job)
        self.store.write(self.state())
        self._show(self._job, {})

    def _make_way(self, job: Job, request: JobRequest) -> None:
        """Keep a paused training job aside for an evaluation; otherwise control has given it up."""
        if not request.deterministic:
            self._aside = None
        elif not job.request.deterministic:
            self._aside = job
        self._phase, self._job = Phase.IDLE, None

    def _end_job(self) -> None:
        """Go back to the job that was kept aside, if there is one; it continues when it is requested again."""
        job, self._job, self._aside = self._aside, self._aside, None
        self._phase = Phase.IDLE if job is None else Phase.PAUSED
        if job is not None and self._envs.are_shared:
            self._replay(job.episodes, job.episodes.state())

    def _await_the_swarm(self) -> None:
        self.models.wait(self.client, self.n_models, self.timeout)
        self.aggregations.wait(self.client, 1, self.timeout)
        self.n_models = 1  # from now on, models that are lost for good are not waited for

    def _n_side_by_side(self) -> int:
        rooms, kinds = self.client.rooms(), (self.models, self.aggregations)
        is_one = self.fewer_envs and not all(kind.all_acknowledge(rooms, SET) for kind in kinds)
        return 1 if is_one else len(self._envs.training)

    def _episodes(self, seeds: Sequence[int], first_episode: int, n_envs: int, *, is_evaluation: bool) -> Episodes:
        border = self._borders[is_evaluation]
        border.first_episode = 0 if is_evaluation else first_episode
        return Episodes(self._envs.some(n_envs, is_evaluation=is_evaluation), seeds, border)

    def _episode_seeds(self, mode: str, n_episodes: int) -> list[int]:
        """Return the seeds of a job's episodes: training numbers its episodes from the run's start.

        Evaluations without training in between play the same episodes, so that luck is not mistaken for progress; each
        one within training has its own, by the steps of that training so far.
        """
        n_trained = self._n_trained
        if mode == "train":
            self._n_trained += n_episodes
            return [episode_seed(self.seed, mode, n_trained + i) for i in range(n_episodes)]
        within = () if self._aside is None else (self._aside.episodes.n_steps,)
        return [episode_seed(self.seed, mode, n_trained, i, *within) for i in range(n_episodes)]

    def _normalizer_update(self, job: Job) -> None:
        if self._normalizer is not None and not job.request.deterministic:
            self._normalizer.count(job.episodes.observations[job.episodes.active])

    def _normalized(self, observations: Floats) -> Floats:
        return observations if self._normalizer is None else self._normalizer.normalized(observations)

    def _show(self, job: Job, transition: Mapping[str, Any]) -> None:
        """Show the models the current observation and the transition to it; after the last one, the job is done."""
        self._send_observation(job, transition, TO_ROOM=self.models.room)
        if job.episodes.done:
            self._finish(job)
            return
        if job.request.wants_progress and time.monotonic() - job.reported_at > PROGRESS_SECONDS:
            self._report_progress(job)
        self.store.write_if_due(self.state)

    def _send_observation(self, job: Job, transition: Mapping[str, Any] | None = None, **address: str) -> None:
        episodes = job.episodes
        observation = Observation(
            self._normalized(episodes.observations),
            job.request.deterministic,
            job.step,
            episodes=None if job.request.deterministic else job.first_episode + episodes.numbers,
            active=episodes.active,
            is_last=episodes.done,
            transition=transition or {},
        )
        self._send(job.conversation, **address, **observation.fields())

    def _report_progress(self, job: Job) -> None:
        ended = job.episodes.ended[job.n_reported :]
        job.n_reported, job.reported_at = len(job.episodes.ended), time.monotonic()
        progress = JobProgress([job.episodes.returns[number] for number in ended], job.episodes.n_steps)
        self._send(job.root_id, TO=job.message["SENT_BY"], **progress.fields())

    def _finish(self, job: Job) -> None:
        returns, lengths = job.episodes.returns, job.episodes.lengths
        numbers = [] if job.request.deterministic else [job.first_episode + number for number in range(len(returns))]
        done: Message = {
            "TYPE": MESSAGE_TYPE.DATA.CUSTOM.id,
            "ROOT_ID": job.root_id,
            "TO_ROOM": self.control_room,
            **JobDone(JobResult(returns, lengths, job.seconds), numbers).fields(),
        }
        self._requests.remember(job.root_id, done)
        self._end_job()
        self.store.write(self.state())  # before it is sent: a replacement can send it again, but not take it back
        self.client.send(done)
        self._begin_next()

    def _confirm_pause(self, request: Message, job: Job | None) -> None:
        n_steps = 0 if job is None else job.episodes.n_steps
        self._send(root_id(request), TO=text(request, "SENT_BY"), **Paused(n_steps).fields())

    def _send(self, conversation: object, **fields: object) -> None:
        self.client.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "ROOT_ID": conversation, **fields})


def replacement_state(store: StateStore) -> dict[str, Any]:
    """Return the state from which a process would continue that replaces one which saved its state in `store`."""
    saved = store.read()
    if saved is None:
        return {"n_trained": 0, "asked": [], "done": {}, "run": None, "aside": None, "normalizer": None}
    return {**saved, **{key: saved[key] and restarted(saved[key]) for key in ("run", "aside")}}


def episode_seed(seed: int, mode: str, *number: int) -> int:
    """Return the seed of an episode by its number.

    In evaluation that is the number of training episodes before it, its own number, and within training the number of
    steps since that training began.
    """
    return int(generator(seed, "episodes", mode, *number).integers(2**31))
