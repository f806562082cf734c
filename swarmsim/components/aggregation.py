"""Aggregation: the models' opinions become the swarm's action, and each model's share in it is kept."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.closed_runs import ClosedRuns
from swarmsim.components.contribution_tracker import ContributionTracker, Names
from swarmsim.components.fields import (
    are_finite,
    by_environment,
    component_ids,
    component_order,
    flag,
    has_value,
    integer,
    invalid_field,
    number,
    numbers,
    reply_address,
    strings,
    text,
)
from swarmsim.components.job import is_attempt_at
from swarmsim.components.membership import MemberKind
from swarmsim.components.persistence import StateStore
from swarmsim.learning.decision import NO_LEADER, Decision, decide
from swarmsim.learning.distributions import Categorical, Gaussian
from swarmsim.learning.leaders import leader
from swarmsim.learning.seeding import generator, restore, saved
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import Message, root_id
from swarmsim.plugins import load_rule

SAVE_SECONDS = 0.1

_NO_RUN = object()  # equals no ROOT_ID, not even a missing one


class Aggregation:
    """Answers a step once every model has spoken that was present when the run began, or has come since.

    Where it stood at most `SAVE_SECONDS` ago, or at the end of a run, is taken up by the process that follows its own.

    Args:
        models: who the models are.
        seed: of the run; actions are drawn by a generator of this component's own.
        rule: by which opinions become one.
        continuous: whether what models say tells of numbers, in the place of logits.
        led_fraction: part of the training episodes in which one model decides alone.
        eval_deterministic: whether evaluations take the best actions, in the place of drawing them as training does.
    """

    def __init__(
        self,
        client: Client,
        store: StateStore,
        models: MemberKind,
        seed: int,
        rule: str = "sum",
        continuous: bool = False,
        led_fraction: float = 0.0,
        eval_deterministic: bool = True,
    ) -> None:
        self.client = client
        self.store = store
        self.models = models
        self.rule_name = rule
        self.rule = load_rule(rule)
        self.seed = seed
        self.continuous = continuous
        self.led_fraction = led_fraction
        self.eval_deterministic = eval_deterministic
        self._returns: dict[str, list[float]] = {}
        self.rng = generator(seed, "aggregation")
        self.ledger = ContributionTracker()
        self._reported: tuple[object, Message] = (None, {})
        self._run: object = _NO_RUN
        self._closed_runs = ClosedRuns()
        self._decided = -1
        self._awaited: Counter[str] = Counter()
        self._gone: set[str] = set()
        self._speakers: set[Names] = set()
        self._n_expected = 0
        self._logits: dict[Names, NDArray[np.float64]] = {}
        self._order = Order(())
        self._asked: Message = {}
        earlier = store.read()
        if earlier is not None:
            self.restore({**earlier, "run": None})
        self._saved_at = time.monotonic()

    def state(self) -> dict[str, Any]:
        """Return where it stands between two steps."""
        return {
            "rng": saved(self.rng),
            "ledger": self.ledger.state(),
            "returns": self._returns,
            "reported": list(self._reported),
            "run": None if self._run is _NO_RUN else self._run,
            "past": self._closed_runs.state(),
            "decided": self._decided,
            "awaited": dict(self._awaited),
            "gone": sorted(self._gone),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was told."""
        restore(self.rng, state["rng"])
        self.ledger.restore(state["ledger"])
        self._returns = {name: list(returns) for name, returns in state["returns"].items()}
        asked, answer = state["reported"]
        self._reported = asked, answer
        self._run, self._decided = _NO_RUN if state["run"] is None else state["run"], state["decided"]
        self._closed_runs = ClosedRuns(state.get("past", ()))
        self._awaited, self._gone = Counter(state["awaited"]), set(state["gone"])
        self._speakers, self._n_expected = set(), self._awaited.total()

    def collect(self, message: Message) -> Message | None:
        """Keep a process's logits; answer with the action when none is missing any more."""
        names, logits = _opinions(message)
        flag(message, "DETERMINISTIC")
        if "ACTIVE" in message:
            by_environment(message, "ACTIVE", np.bool_, logits.shape[1])
        is_new = message.get("ROOT_ID") != self._run
        if is_new and message.get("ROOT_ID") in self._closed_runs:
            return None  # an answer to a run that is over
        decided = -1 if is_new else self._decided
        if integer(message, "STEP", default=decided + 1) <= decided:
            return None  # the step went on without it
        if is_new:
            self._begin(message)
        others = next(iter(self._logits.values()), logits)
        if others.shape[1:] != logits.shape[1:]:
            raise invalid_field(message, "LOGITS", f"for {others.shape[1]} environment(s) of {others.shape[2]} actions")
        if self._gone:
            self._welcome_back(names)
        if names not in self._speakers and not self._admits(names, message):
            return None
        self._logits[names] = logits
        self._asked = message
        return self._action_when_complete()

    def _begin(self, message: Message) -> None:
        conversation = message.get("ROOT_ID")
        if self._run is not _NO_RUN:
            self._closed_runs.leave(self._run, is_final=is_attempt_at(self._run, conversation))
        self._run, self._decided = conversation, -1
        self._awaited, self._gone = Counter(self.models.components(self.client.rooms())), set()
        self._speakers, self._n_expected = set(), self._awaited.total()
        self._logits = {}

    def _admits(self, names: Names, message: Message) -> bool:
        """Tell whether to heed who speaks for the first time in this run.

        Those that came during the run and count no steps are waited for from now on, lest what they say late be taken
        for the step after. Unless somebody has begun that step, their first word is such a one.
        """
        is_newcomer = sum(map(len, self._speakers)) + len(names) > self._n_expected
        if is_newcomer and "STEP" not in message:
            if self._awaited.total() and not self._logits:
                return False
            self._awaited[text(message, "SENT_BY")] += len(names)
            self._n_expected += len(names)
        self._speakers.add(names)
        return True

    def _welcome_back(self, names: Names) -> None:
        """Wait from now on for components that had gone, and speak again."""
        back = self._gone.intersection(names)
        self._gone -= back
        self._awaited.update(back)

    def update_contributions(self, message: Message) -> None:
        """Reckon up who contributed, and keep it, when no action is waited for."""
        self.ledger.update_if_due()
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save_state()

    def settle(self, message: Message) -> None:
        """Keep all there is at the end of a run, after which nothing may come for long, and go back to it no more.

        A run that was overtaken by another one may be asked for once more.
        """
        if "NR_OF_EPISODE" in message:
            self._closed_runs.reopen(root_id(message))
        elif has_value(message, "STATUS", "ENV_DONE"):
            number(message, "AVG_SCORE")
            self._credit_leaders(message)
            self._end(message.get("ROOT_ID"))
            self._save_state()

    def _credit_leaders(self, message: Message) -> None:
        """Keep the returns of episodes that one model led, from an ENV_DONE that tells the numbers of its episodes."""
        if not self.led_fraction or "EPISODES" not in message:
            return
        episodes, returns = numbers(message, "EPISODES", np.int64), numbers(message, "RETURNS", np.float64)
        for episode, score in zip(episodes.tolist(), returns.tolist(), strict=False):
            who = self._leader(episode)
            if who != NO_LEADER:
                self._returns.setdefault(self._order.names[who], []).append(score)

    def _leader(self, episode: int) -> int:
        return leader(self.seed, episode, len(self._order.names), self.led_fraction)

    def _leaders(self) -> NDArray[np.int64] | None:
        """Return who decides alone in each environment, of those that were asked of last; None where none does."""
        if not self.led_fraction or "EPISODE" not in self._asked or self._asked["DETERMINISTIC"]:
            return None
        episodes = numbers(self._asked, "EPISODE", np.int64).reshape(-1)
        return np.array([self._leader(episode) for episode in episodes.tolist()])

    def _end(self, conversation: object) -> None:
        self._closed_runs.leave(conversation, is_final=True)
        if is_attempt_at(conversation, self._run):
            self._closed_runs.leave(self._run, is_final=True)
            self._run, self._logits = _NO_RUN, {}

    def _save_state(self) -> None:
        self.store.write(self.state())
        self._saved_at = time.monotonic()

    def leave(self, message: Message) -> Message | None:
        """Go on without the components of a process that has gone; the others may have waited for it alone."""
        gone = {name for name in strings(message, "COMPONENTS") if self._awaited[name]}
        self._awaited.subtract(gone)
        self._gone |= gone
        for names in [names for names in self._logits if not gone.isdisjoint(names)]:
            logits = self._logits.pop(names)
            left = [row for row, name in enumerate(names) if name not in gone]
            if left:
                self._logits[tuple(names[row] for row in left)] = logits[left]
        return self._action_when_complete()

    def _action_when_complete(self) -> Message | None:
        n_awaited = self._awaited.total()
        if not self._logits or sum(map(len, self._logits)) < n_awaited:
            return None
        spoken = tuple(sorted(self._logits, key=lambda names: component_order(names[0])))
        if self._order.spoken != spoken:
            self._order = Order(spoken)
        if len(self._order.names) < n_awaited:
            return None  # two processes spoke for one component
        outputs = self._order.of([self._logits[names] for names in spoken])
        distribution = Gaussian(outputs.shape[2] // 2) if self.continuous else Categorical(outputs.shape[2])
        step = self._asked.get("STEP", self._decided + 1)
        decision = decide(outputs, distribution, self.rule, self._drawing(step), self._leaders())
        if not self._asked["DETERMINISTIC"]:
            active = np.asarray(self._asked["ACTIVE"]).reshape(-1) if "ACTIVE" in self._asked else slice(None)
            self.ledger.add(self._order.names, decision.opinions[:, active], decision.given[:, active])
        self._logits = {}
        self._decided = step
        carried: Message = {key: self._asked[key] for key in ("ROOT_ID", "MODEL_STATUS") if key in self._asked}
        return {**_told(decision), "STEP": self._decided, **carried}

    def _drawing(self, step: int) -> np.random.Generator | None:
        """Return what draws the actions of a step; None where the best ones are taken.

        In evaluation it is the same for a step of each, so that none changes another, and luck is the same for all.
        """
        if not self._asked["DETERMINISTIC"]:
            return self.rng
        return None if self.eval_deterministic else generator(self.seed, "evaluation", step)

    def report(self, message: Message) -> Message | None:
        """Answer an evolution's GET with what each model contributed since the last one, and begin anew.

        An evolution that is repeated from its start gets the same answer again.
        """
        if not has_value(message, "CMD", "GET"):
            return None
        to = reply_address(message)
        if root_id(message) is None or self._reported[0] != root_id(message):
            ledger, self.ledger = self.ledger, ContributionTracker()
            returns, self._returns = self._returns, {}
            means = {"RETURN": {name: float(np.mean(scores)) for name, scores in returns.items()}} if returns else {}
            report = {"CONTRIBUTION": ledger.shares(), "DIVERSITY": ledger.diversity(), **means}
            self._reported = root_id(message), report
            self._save_state()
        return {**self._reported[1], **to}

    def shown(self) -> Message:
        """Return each model's share in the decisions since the last evolution, as far as it is reckoned up."""
        return {"SHARES": self.ledger.standing()}

    def settings(self) -> dict[str, Any]:
        """Return what it was made with."""
        return {
            "seed": self.seed,
            "aggregation": self.rule_name,
            "led_fraction": self.led_fraction,
            "eval_deterministic": self.eval_deterministic,
        }


class Order:
    """The order by component id of what several processes have spoken.

    Attributes:
        spoken: the components that each process spoke for.
        names: all of them, in their order; where two processes spoke for one, the second counts.
    """

    def __init__(self, spoken: tuple[Names, ...]) -> None:
        self.spoken = spoken
        row_of = {name: row for row, name in enumerate(chain.from_iterable(spoken))}
        self.names = tuple(sorted(row_of, key=component_order))
        self._rows = [row_of[name] for name in self.names]
        self._is_as_spoken = self._rows == list(range(sum(map(len, spoken))))

    def of(self, parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the parts (each a process's models first) as one array, its models in their order."""
        together = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return together if self._is_as_spoken else together[self._rows]


def _told(decision: Decision) -> Message:
    """Return an ACTION message's keys: single values for one environment, arrays for several."""
    actions, log_probs = decision.actions, decision.log_probs
    if len(actions) > 1:
        return {"ACTION": actions, "LOG_PROB": log_probs}
    return {"ACTION": int(actions[0]) if actions.ndim == 1 else actions[0], "LOG_PROB": float(log_probs[0])}


def _opinions(message: Message) -> tuple[Names, NDArray[np.float64]]:
    """Return the components that a LOGITS message speaks for, and their logits (k, B, A)."""
    names = component_ids(message)
    logits = numbers(message, "LOGITS", np.float64)
    if logits.size == 0 or logits.ndim == 0 or logits.size % (len(names) * logits.shape[-1]):
        raise invalid_field(message, "LOGITS", f"one set of logits for each of {len(names)} component(s)")
    if not are_finite(logits):
        raise invalid_field(message, "LOGITS", "made of finite numbers")
    return names, logits.reshape(len(names), -1, logits.shape[-1])
