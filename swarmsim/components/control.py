"""Control: asks for runs and evolutions, and waits for what came of them."""

import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import (
    by_component,
    component_order,
    has_value,
    integer,
    invalid_field,
    number,
    number_of_each,
    numbers,
    text,
)
from swarmsim.components.membership import SET, acknowledges
from swarmsim.components.observer import Observer
from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.components.supervision import Supervision
from swarmsim.errors import MessageRefused, Stalled, WaitTimeout
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.messaging.rooms import COMMAND_ROOM

Progress = Callable[[list[float], int], None]  # returns of episodes ended since the last call, steps so far

LOOK_SECONDS, EVOLVE_SECONDS = 0.05, 1.0

_SEEN = "TAKEN"
_CUSTOM_COMMAND = MESSAGE_TYPE.COMMAND.CUSTOM.id


class Interrupted(Exception):
    """Control was asked to stop waiting; the request that it waited for stays open."""


class Control:
    """Drives a swarm from a client that has joined the control room.

    A wait without a word is bounded by `timeout` seconds. Halfway all components are asked for a sign of life; those
    that give none by the end of it are left to `care`. A request is repeated, with its ROOT_ID, once somebody was
    replaced: who knows it goes on with it, who does not begins it.

    Attributes:
        task: the request of a run or an evolution that is not done; it stays where the wait for it fails.
        watch: who looks on meanwhile.

    Raises (every method that asks for something):
        WaitTimeout: the component waited for said nothing for that long.
        ComponentFailed: a component of this launcher failed meanwhile, and cannot be healed.
    """

    def __init__(
        self,
        client: Client,
        control_room: str,
        models_room: str,
        timeout: float,
        care: Supervision | None = None,
    ) -> None:
        self.client = client
        self.control_room = control_room
        self.models_room = models_room
        self.timeout = timeout
        self.care = care or Supervision([])
        self.watch = Observer()
        self.task: Message | None = None
        self._request: Message = {}
        client.join_room(control_room)

    def run(
        self,
        n_episodes: int,
        *,
        deterministic: bool,
        on_progress: Progress | None = None,
        again: Message | None = None,
    ) -> JobResult:
        """Have the swarm play `n_episodes`: learning from them, or `deterministic`.

        Args:
            again: the request of a run that was interrupted, to have it go on.

        Raises:
            Interrupted: as asked; `task` is the one to give as `again`.
        """
        wanted: Message = {"NR_OF_EPISODE": n_episodes, "DETERMINISTIC": deterministic, "PROGRESS": True}
        what = f"the environment while it {'evaluates' if deterministic else 'trains'}"
        began = time.monotonic()
        with self._having_done(again or self._message(self.control_room, **wanted)):
            while True:
                message = self._answer(what, heeds_after=0.0, holds=True)
                with self._refusing():
                    if has_value(message, "STATUS", "ENV_DONE"):
                        return _run_result(message, time.monotonic() - began)
                    if has_value(message, "STATUS", "ENV_PROGRESS") and on_progress is not None:
                        on_progress(numbers(message, "RETURNS", np.float64).tolist(), integer(message, "STEPS"))

    def evolve(self, *, again: Message | None = None) -> EvolutionResult:
        """Have the models replaced by their next generation; an interrupt has it finish, unless that takes long.

        Args and raises: as `run`.
        """
        with self._having_done(again or self._message(self.control_room, EVOLUTION=True)):
            while True:
                message = self._answer("the evolution", heeds_after=EVOLVE_SECONDS)
                with self._refusing():
                    if has_value(message, "STATUS", "EVO_DONE"):
                        return _evolution_result(message)

    def pause(self, timeout: float) -> bool:
        """Have the environment stop after the step that it is making, until its run is asked for again.

        Returns:
            Whether it has, within `timeout` seconds.
        """
        self._ask(self._message(self.control_room, CMD="PAUSE"))
        with suppress(WaitTimeout):
            while not has_value(self._answer("the environment to pause", bound=timeout), "STATUS", "PAUSED"):
                pass
            return True
        return False

    def states(self, timeout: float | None = None) -> dict[str, Any]:
        """Return what every component is, by its name: of those that tell within `timeout`, where it is given.

        They show the watch what they have seen too.
        """
        return self._told("SAVESTATE", "STATE", timeout)

    def look(self) -> None:
        """Have every component show the watch what it has seen."""
        self._told("LOOK", _SEEN, None)

    def _told(self, command: str, key: str, timeout: float | None) -> dict[str, Any]:
        """Return the field `key` of each component's answer to a command."""
        self._show_itself()
        found: dict[str, Any] = {}
        deadline = None if timeout is None else time.monotonic() + timeout
        gives_up = () if timeout is None else (WaitTimeout,)
        self._ask(self._message(COMMAND_ROOM, _CUSTOM_COMMAND, CMD=command))
        with suppress(*gives_up):
            while missing := [name for name in self.care.names if name not in found]:
                left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
                message = self._answer(f"what {', '.join(missing[:5])} told of itself", bound=left)
                if key in message:
                    found[message["SENT_BY"]] = message[key]
        return {name: found[name] for name in self.care.names if name in found}

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights (G,) of every model that is known by its name."""
        known = (m for m in self.client.rooms().in_room(self.models_room) if acknowledges(m, SET))
        missing = {name for member in known for name in member.components}
        found: dict[str, NDArray[np.float32]] = {}
        self._ask(self._message(self.models_room, MESSAGE_TYPE.COMMAND.SAVEMODELWEIGHTS.id))
        while missing:
            message = self._answer(f"the weights of {', '.join(sorted(missing, key=component_order)[:5])}")
            if message["TYPE"] == MESSAGE_TYPE.LOG.MODELWEIGHTS.id:
                found.update(zip(message["COMPONENT"], message["WEIGHTS"], strict=True))
                missing -= found.keys()
        return {name: found[name] for name in sorted(found, key=component_order)}

    def _show_itself(self) -> None:
        self.watch.seen(ComponentSnapshot(self.client.name, self.client.taken()))

    @staticmethod
    def _message(room: str, type_id: str = MESSAGE_TYPE.DATA.CUSTOM.id, **fields: object) -> Message:
        return {"TYPE": type_id, "ROOT_ID": uuid.uuid4().hex, "TO_ROOM": room, **fields}

    @contextmanager
    def _having_done(self, task: Message) -> Iterator[None]:
        self.task = task
        self._ask(task)
        yield
        self.task = None

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Leave out a message that cannot be used: it is none of those waited for."""
        try:
            yield
        except MessageRefused as error:
            self.client.log_rejected("left out what it got", str(error))

    def _ask(self, request: Message) -> None:
        """Send a request, whose answers are waited for from now on."""
        self._request = request
        self.client.send(request)

    def _answer(
        self, waited_for: str, *, bound: float | None = None, heeds_after: float = math.inf, holds: bool = False
    ) -> Message:
        """Return the next answer to the request that was made last.

        Args:
            bound: seconds after which to give up, and heal nobody; None for those of a phase.
            heeds_after: seconds of waiting after which an interrupt is heeded.
            holds: whether what is waited for can stand still meanwhile.
        """
        began = time.monotonic()
        limit = self.timeout if bound is None else bound
        answered: set[str] | None = None
        while True:
            silence = time.monotonic() - began
            if silence >= heeds_after and self.watch.is_interrupted():
                raise Interrupted
            if holds and self.watch.wants_pause():
                self._hold()
                began, answered = time.monotonic(), None
            elif bound is None and self.care.look():
                self.client.send(self._request)
                began, answered = time.monotonic(), None
            elif bound is None and answered is None and silence > limit / 2:
                answered = self._ask_for_a_sign_of_life()
            elif silence > limit:
                self._end_the_silent(waited_for, limit, answered)
            message = self._next()
            if message.get("ROOT_ID") == self._request["ROOT_ID"]:
                return message
            if answered is not None and has_value(message, "STATUS", "PONG"):
                answered.add(message.get("SENT_BY", ""))

    def _hold(self) -> None:
        """Have the environment stand still for as long as its watch holds it, and then go on with the same request.

        Raises:
            Interrupted: it is not to go on.
        """
        request = self._request
        self.pause(self.timeout)
        while self.watch.wants_pause():
            if self.watch.is_interrupted():
                raise Interrupted
            self.care.look()
            try:
                self._next()
            except Stalled:  # in one process nobody else is left to speak while all stand still
                time.sleep(LOOK_SECONDS)
        self._ask(request)

    def _next(self) -> Message:
        """Return the next message, or an empty one, now and then, where none comes."""
        self.watch.waits()
        if self.watch.wants_snapshot():
            self.client.send(self._message(COMMAND_ROOM, _CUSTOM_COMMAND, CMD="LOOK"))
            self._show_itself()
        try:
            message = self.client.receive(LOOK_SECONDS)
        except Stalled:
            raise
        except WaitTimeout:
            return {}
        if _SEEN in message:
            with self._refusing():
                self.watch.seen(_sight(message))
        return message

    def _ask_for_a_sign_of_life(self) -> set[str]:
        self.client.send({"TYPE": _CUSTOM_COMMAND, "TO_ROOM": COMMAND_ROOM, "CMD": "PING"})
        return set()

    def _end_the_silent(self, waited_for: str, seconds: float, answered: set[str] | None) -> None:
        silent = [] if answered is None else [name for name in self.care.names if name not in answered]
        why = f"waited {seconds:g} s for a word from {waited_for}"
        if not silent:
            behind = ", ".join(self.client.unread_members())
            raise WaitTimeout(why + (f"; messages lie unread with {behind}" if behind else ""))
        self.care.end(silent, f"it gave no sign of life in {seconds / 2:g} s, when the launcher {why}")


def _run_result(message: Message, seconds: float) -> JobResult:
    """Return what ENV_DONE tells; the reference system's tells no more than the mean, so that `seconds` were waited."""
    if "RETURNS" not in message:
        return JobResult([number(message, "AVG_SCORE")], [], number(message, "SECONDS", default=seconds))
    returns, lengths = numbers(message, "RETURNS", np.float64), numbers(message, "LENGTHS", np.int64)
    if returns.ndim != 1 or returns.size == 0 or returns.shape != lengths.shape:
        raise invalid_field(message, "RETURNS", "a return and a length for each episode")
    return JobResult(returns.tolist(), lengths.tolist(), number(message, "SECONDS"))


def _sight(message: Message) -> ComponentSnapshot:
    """Return what a component shows of itself."""
    taken = message[_SEEN]
    if not isinstance(taken, list | tuple) or not all(_is_count(item) for item in taken):
        raise invalid_field(message, _SEEN, "a list of rooms, senders and numbers")
    return ComponentSnapshot(
        text(message, "SENT_BY"),
        [(room, sender, number) for room, sender, number in taken],
        number_of_each({"SHARES": {}, **message}, "SHARES"),
        number_of_each({"LEARNING": {}, **message}, "LEARNING"),
        integer(message, "LEARNING_NUMBER", default=0),
    )


def _is_count(item: object) -> bool:
    return isinstance(item, list | tuple) and [type(part) for part in item] == [str, str, int]


def _evolution_result(message: Message) -> EvolutionResult:
    return EvolutionResult(
        contribution=by_component({"CONTRIBUTION": {}, **message}, "CONTRIBUTION"),
        diversity=number(message, "DIVERSITY", default=0.0),
        parents_kept=integer(message, "PARENTS_KEPT", default=0),
        crossovers=integer(message, "CROSSOVERS", default=0),
        mutations=integer(message, "MUTATIONS", default=0),
    )
