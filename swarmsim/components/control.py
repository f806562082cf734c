"""Control: requests jobs and evolutions, and waits for their results."""

import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import component_order
from swarmsim.components.membership import SET, acknowledges
from swarmsim.components.observer import Observer
from swarmsim.components.parts import STATE_PART, StateReader
from swarmsim.components.protocol.command import PING, SNAPSHOT, STATE, Pong, Snapshot
from swarmsim.components.protocol.control import (
    EvolutionDone,
    EvolutionRequest,
    JobDone,
    JobProgress,
    JobRequest,
    Paused,
    PauseRequest,
)
from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.components.supervision import Supervision
from swarmsim.errors import MessageRefused, Stalled, WaitTimeout
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.process_context import running_time
from swarmsim.messaging.rooms import COMMAND_ROOM

Progress = Callable[[list[float], int], None]  # returns of episodes ended since the last call, steps so far
OnPause = Callable[[int], int]  # gets the steps so far, and returns after how many the job pauses next

POLL_SECONDS, EVOLVE_SECONDS = 0.05, 1.0
BOUNDED_BY = "the setting timeout bounds this"

_CUSTOM, _CUSTOM_COMMAND = MESSAGE_TYPE.DATA.CUSTOM.id, MESSAGE_TYPE.COMMAND.CUSTOM.id


class Interrupted(Exception):
    """Control stopped waiting because the observer wants to stop; its request stays open."""


class Control:
    """Drives a swarm, by a client that joins the control room.

    A wait without any message ends after `timeout` seconds in which this process ran. Halfway through it, control asks
    all components for a heartbeat; those that send none until its end are declared dead to `supervision`. After a
    component was restarted, control repeats its request with the same ROOT_ID: components that know it continue, others
    begin.

    Raises (every method that sends a request):
        WaitTimeout: the component that was waited for sent nothing for that long.
        ComponentFailed: a component of this launcher failed, and could not be healed.
    """

    def __init__(
        self,
        client: Client,
        control_room: str,
        models_room: str,
        timeout: float,
        supervision: Supervision | None = None,
    ) -> None:
        self.client = client
        self.control_room = control_room
        self.models_room = models_room
        self.timeout = timeout
        self.supervision = supervision or Supervision([])
        self.observer = Observer()  # of the swarm while control waits
        # for a job or an evolution, then for an evaluation within that job; they stay if the wait for them fails
        self.open_requests: list[Message] = []
        self._request: Message = {}
        client.join_room(control_room)

    # --- requests

    def play(
        self,
        n_episodes: int,
        *,
        deterministic: bool,
        on_progress: Progress | None = None,
        pause_at: int | None = None,
        on_pause: OnPause | None = None,
        request: Message | None = None,
    ) -> JobResult:
        """Have the swarm play `n_episodes`: to learn from them, or `deterministic` to evaluate.

        Args:
            pause_at: steps of all environments together after which the job pauses, and `on_pause` is called; that may
                play evaluations.
            request: of an interrupted job, to resume it.

        Raises:
            Interrupted: the observer wants to stop; `open_requests` has the request that resumes the job.
        """
        awaited = f"the environment while it {'evaluates' if deterministic else 'trains'}"
        began = time.monotonic()
        fields = JobRequest(n_episodes, deterministic, wants_progress=True, pause_at=pause_at).fields()
        request = request or self._message(self.control_room, **fields)
        with self._open(request):
            while True:
                message = self._answer(awaited, stops_after=0.0, can_pause=True)
                paused = None
                with self._ignoring_invalid():
                    if done := JobDone.read(message, seconds=time.monotonic() - began):
                        return done.result
                    paused = Paused.read(message)
                    progress = JobProgress.read(message)
                    if progress is not None and on_progress is not None:
                        on_progress(progress.returns, progress.n_steps)
                if paused is not None and on_pause is not None:
                    request = {**request, "PAUSE_AT": on_pause(paused.n_steps)}
                    self.open_requests[-1] = request
                    self._send_request(request)

    def evolve(self, *, request: Message | None = None) -> EvolutionResult:
        """Replace the models by their next generation; an interrupt waits for its end, unless that takes long.

        Args and raises: as `play`.
        """
        with self._open(request or self._message(self.control_room, **EvolutionRequest().fields())):
            while True:
                message = self._answer("the evolution", stops_after=EVOLVE_SECONDS)
                with self._ignoring_invalid():
                    if done := EvolutionDone.read(message):
                        return done.result

    def pause(self, timeout: float) -> bool:
        """Pause the environment until its job is requested again; return whether it stops within `timeout` seconds."""
        self._send_request(self._message(self.control_room, **PauseRequest().fields()))
        with suppress(WaitTimeout):
            while not Paused.is_in(self._answer("the environment to pause", bound=timeout)):
                pass
            return True
        return False

    def states(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the state of every component by its name; only of those that answer within `timeout`, if given.

        Its arrays may be views of files that are already removed: they last as long as somebody holds them. A part of a
        large state that arrives begins the timeout anew.
        """
        return self._ask_all(STATE, StateReader(self.client).read, timeout)

    def request_snapshots(self) -> None:
        """Have every component send a snapshot to the observer."""
        self._ask_all(SNAPSHOT, lambda message: message.get("TAKEN"), None)

    def _ask_all(self, command: str, read: Callable[[Message], Any], timeout: float | None) -> dict[str, Any]:
        """Return what `read` reads in each component's answer to a command; it returns None for other messages."""
        self._show_itself()
        answers: dict[str, Any] = {}
        deadline = None if timeout is None else running_time() + timeout
        ignored = () if timeout is None else (WaitTimeout,)
        self._send_request(self._message(COMMAND_ROOM, _CUSTOM_COMMAND, CMD=command))
        with suppress(*ignored):
            while missing := [name for name in self.supervision.names if name not in answers]:
                left = None if deadline is None else max(deadline - running_time(), 0.0)
                message = self._answer(f"the state of {', '.join(missing[:5])}", bound=left)
                if timeout is not None and STATE_PART in message:
                    deadline = running_time() + timeout
                with self._ignoring_invalid():
                    if (answer := read(message)) is not None:
                        answers[message["SENT_BY"]] = answer
        return {name: answers[name] for name in self.supervision.names if name in answers}

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights (G,) of every model that acknowledges commands."""
        members = self.client.rooms().in_room(self.models_room)
        missing = {name for member in members if acknowledges(member, SET) for name in member.components}
        weights: dict[str, NDArray[np.float32]] = {}
        self._send_request(self._message(self.models_room, MESSAGE_TYPE.COMMAND.SAVEMODELWEIGHTS.id))
        while missing:
            message = self._answer(f"the weights of {', '.join(sorted(missing, key=component_order)[:5])}")
            if message["TYPE"] == MESSAGE_TYPE.LOG.MODELWEIGHTS.id:
                weights.update(zip(message["COMPONENT"], message["WEIGHTS"], strict=True))
                missing -= weights.keys()
        return {name: weights[name] for name in sorted(weights, key=component_order)}

    @staticmethod
    def _message(room: str, type_id: str = _CUSTOM, **fields: object) -> Message:
        return {"TYPE": type_id, "ROOT_ID": uuid.uuid4().hex, "TO_ROOM": room, **fields}

    @contextmanager
    def _open(self, request: Message) -> Iterator[None]:
        self.open_requests.append(request)
        self._send_request(request)
        yield
        self.open_requests.pop()

    def _send_request(self, request: Message) -> None:
        """Send a request; from now on, `_answer` returns the answers to it."""
        self._request = request
        self.client.send(request)

    # --- waiting

    def _answer(
        self, awaited: str, *, bound: float | None = None, stops_after: float = math.inf, can_pause: bool = False
    ) -> Message:
        """Return the next answer to the last request.

        Args:
            bound: seconds after which to give up without healing anybody; None for the timeout of a phase.
            stops_after: seconds of waiting from which on the observer can have control stop.
            can_pause: whether the observer can have the environment pause meanwhile.
        """
        began = running_time()
        limit = self.timeout if bound is None else bound
        alive: set[str] | None = None  # components that answered the heartbeat, once they were asked
        while True:
            silence = running_time() - began
            if silence >= stops_after and self.observer.wants_stop():
                raise Interrupted
            if can_pause and self.observer.wants_pause():
                self._hold()
                began, alive = running_time(), None
            elif bound is None and self.supervision.heal():
                self.client.send(self._request)
                began, alive = running_time(), None
            elif bound is None and alive is None and silence > limit / 2:
                self.client.send({"TYPE": _CUSTOM_COMMAND, "TO_ROOM": COMMAND_ROOM, "CMD": PING})
                alive = set()
            elif silence > limit:
                self._end_silence(awaited, limit, alive)
            message = self._next()
            if message.get("ROOT_ID") == self._request["ROOT_ID"]:
                return message
            if bound is None and "TO_ROOM" in message and Pong.is_in(message):  # a pulse
                began, alive = running_time(), None
            elif alive is not None and Pong.is_in(message):
                alive.add(message.get("SENT_BY", ""))

    def _hold(self) -> None:
        """Have the environment pause as long as the observer wants that, then repeat the request."""
        request = self._request
        self.pause(self.timeout)
        while self.observer.wants_pause():
            if self.observer.wants_stop():
                raise Interrupted
            self.supervision.heal()
            try:
                self._next()
            except Stalled:  # inside one process, nobody is left to send anything while all pause
                time.sleep(POLL_SECONDS)
        self._send_request(request)

    def _next(self) -> Message:
        """Return the next message, or an empty one if none comes for a moment."""
        self.observer.waiting()
        if self.observer.wants_snapshot():
            self.client.send(self._message(COMMAND_ROOM, _CUSTOM_COMMAND, CMD=SNAPSHOT))
            self._show_itself()
        try:
            message = self.client.receive(POLL_SECONDS)
        except Stalled:
            raise
        except WaitTimeout:
            return {}
        with self._ignoring_invalid():
            if answer := Snapshot.read(message):
                self.observer.component_seen(answer.snapshot)
        return message

    def _show_itself(self) -> None:
        self.observer.component_seen(ComponentSnapshot(self.client.name, self.client.pop_received_counts()))

    @contextmanager
    def _ignoring_invalid(self) -> Iterator[None]:
        """Ignore a message that cannot be used, with a line in the log."""
        try:
            yield
        except MessageRefused as error:
            self.client.log_rejected("ignored an invalid message", str(error))

    def _end_silence(self, awaited: str, seconds: float, alive: set[str] | None) -> None:
        """Declare the components dead that sent no heartbeat; raise WaitTimeout if all are alive."""
        silent = [] if alive is None else [name for name in self.supervision.names if name not in alive]
        reason = f"waited {seconds:g} s for a word from {awaited}"
        if not silent:
            unread = ", ".join(self.client.unread_members())
            unread = f"; messages lie unread with {unread}" if unread else ""
            raise WaitTimeout(f"{reason} ({BOUNDED_BY}){unread}")
        reason = f"it gave no sign of life in {seconds / 2:g} s, when the launcher {reason} ({BOUNDED_BY})"
        self.supervision.declare_dead(silent, reason)
