"""Aggregation: turns the action distributions of all models into the swarm's action, and tracks who contributed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.closed_runs import ClosedRuns
from swarmsim.components.contribution_tracker import ContributionTracker
from swarmsim.components.fields import Fields, has_value, invalid_field, reply_address, strings
from swarmsim.components.job import is_attempt_at
from swarmsim.components.membership import MemberKind
from swarmsim.components.persistence import StateStore
from swarmsim.components.protocol.control import JobDone, JobRequest
from swarmsim.components.protocol.evolution import Contribution, GetRequest, SetDone, parents_in
from swarmsim.components.protocol.step import Action, Logits, learning_fields
from swarmsim.components.quorum import Quorum
from swarmsim.components.requests import RequestQueue
from swarmsim.learning.decision import NO_LEADER, Decision, decide, leader_in_turn, promising_leader
from swarmsim.learning.distributions import Categorical, Gaussian
from swarmsim.learning.hyperparameters import LeaderChoice
from swarmsim.learning.led_returns import LedReturns
from swarmsim.learning.seeding import generator, restore_rng, rng_state
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import Message, root_id
from swarmsim.plugins import load_rule

_NO_JOB = object()  # equals no ROOT_ID, not even a missing one


@dataclass(eq=False, kw_only=True)
class Aggregation:
    """Answers a step once every model has answered that was present when the job began, or has joined since.

    A process that replaces this one continues from the last save: at the end of a job, or a moment ago.

    Args:
        models: which members are models.
        seed: of the run; the aggregation draws actions from a generator of its own.
        aggregation: the rule's name.
        modules: the folder of a user's rule.
        continuous: whether the models' outputs describe Gaussian distributions instead of logits.
        led_fraction: fraction of the training episodes in which one model decides alone.
        leader: how that model is chosen.
        is_joint: whether models need to know their credit for the swarm's actions.
        eval_deterministic: whether evaluations take the best action instead of drawing it as training does.
    """

    client: Client = field(kw_only=False)
    store: StateStore = field(kw_only=False)
    models: MemberKind
    seed: int
    aggregation: str = "sum"
    modules: str | None = None
    continuous: bool = False
    led_fraction: float = 0.0
    leader: LeaderChoice = "uniform"
    is_joint: bool = True
    eval_deterministic: bool = True

    def __post_init__(self) -> None:
        self.rule = load_rule(self.aggregation, self.modules)
        self.rng = generator(self.seed, "aggregation")
        self.contributions = ContributionTracker()
        self._returns: dict[str, list[float]] = {}  # of episodes led since the last evolution
        self._led = LedReturns()
        self._reports = RequestQueue()
        self._last_done: object = None  # the ROOT_ID of the job that ended last: its end may be told again
        self._conversation: object = _NO_JOB
        self._closed_runs = ClosedRuns()
        self._decided_step = -1
        self._quorum = Quorum()
        self._last: tuple[Logits, Message] | None = None  # the answer that came last, which the action repeats
        state = self.store.read()
        if state is not None:
            self.restore({**state, "run": None})

    # --- its state

    def state(self) -> dict[str, Any]:
        """Return its state between two steps."""
        return {
            "rng": rng_state(self.rng),
            "ledger": self.contributions.state(),
            "returns": self._returns,
            "led": self._led.state(),
            "reported": [self._reports.last, self._reports.last_answer],
            "last_done": self._last_done,
            "run": None if self._conversation is _NO_JOB else self._conversation,
            "past": self._closed_runs.state(),
            "decided": self._decided_step,
            **self._quorum.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        restore_rng(self.rng, state["rng"])
        self.contributions.restore(state["ledger"])
        self._returns = {name: list(returns) for name, returns in state["returns"].items()}
        self._led.restore(state.get("led", {}))
        self._reports.restore((), *state["reported"])
        self._last_done = state.get("last_done")
        self._conversation = _NO_JOB if state["run"] is None else state["run"]
        self._decided_step = state["decided"]
        self._closed_runs = ClosedRuns(state.get("past", ()))
        self._quorum.restore(state)

    def snapshot(self) -> dict[str, Any]:
        """Return each model's contribution since the last evolution, as far as it is computed."""
        return {"contribution": self.contributions.contribution_so_far()}

    def settings(self) -> dict[str, Any]:
        """Return its settings."""
        keys = "seed", "aggregation", "led_fraction", "leader", "is_joint", "eval_deterministic"
        return {key: getattr(self, key) for key in keys}

    # --- a step

    def collect(self, message: Message) -> Fields | None:
        """Add the logits of one process; return the action once no model is missing."""
        answer = Logits.read(message)
        names = tuple(answer.names)
        is_new = message.get("ROOT_ID") != self._conversation
        if is_new and self._closed_runs.is_late(message.get("ROOT_ID"), answer.step):
            return None
        decided_step = -1 if is_new else self._decided_step
        if answer.step is not None and answer.step <= decided_step:
            return None  # the step was decided without it
        if is_new:
            self._begin(message)
        others = next(iter(self._quorum.answers.values()), answer.logits)
        if others.shape[1:] != answer.logits.shape[1:]:
            expected = f"for {others.shape[1]} environment(s) of {others.shape[2]} actions"
            raise invalid_field(message, "LOGITS", expected)
        sender = message.get("SENT_BY", "")
        if not self._quorum.admit(names, sender, counts_steps=answer.step is not None):
            return None
        self._quorum.answers[names] = answer.logits
        self._last = answer, message
        return self._action_if_complete()

    def _begin(self, message: Message) -> None:
        conversation = message.get("ROOT_ID")
        if self._conversation is not _NO_JOB:
            is_final = is_attempt_at(self._conversation, conversation)
            self._closed_runs.leave(self._conversation, None if is_final else self._decided_step)
        self._conversation, self._decided_step = conversation, -1
        self._quorum.begin(self.models.components(self.client.rooms()))

    def handle_disconnect(self, message: Message) -> Fields | None:
        """Continue without the models of a process that has left; the others may have waited for them alone."""
        self._quorum.remove(strings(message, "COMPONENTS"))
        return self._action_if_complete()

    def _action_if_complete(self) -> Fields | None:
        outputs = self._quorum.complete_step()
        if outputs is None or self._last is None:
            return None
        asked, message = self._last
        step = self._decided_step + 1 if asked.step is None else asked.step
        answer = self._answer(outputs, asked, step)
        self._decided_step = step
        repeated: Fields = {key: message[key] for key in ("ROOT_ID", "MODEL_STATUS") if key in message}
        return {**answer, **repeated}

    def _answer(self, outputs: NDArray[np.float64], asked: Logits, step: int) -> Fields:
        """Return the fields of the answer to the models' `outputs` (P, N, n_outputs)."""
        distribution = Gaussian(outputs.shape[2] // 2) if self.continuous else Categorical(outputs.shape[2])
        rng = self._generator(step, deterministic=asked.deterministic)
        names = self._quorum.names
        weights = self._led.worth(names).weights() if self.rule.is_weighted else None
        decision = decide(outputs, distribution, self.rule, rng, self._leaders(asked), weights)
        self._count(decision, asked)
        learning: Fields = {}
        if self.is_joint and not asked.deterministic:
            needs_credits = self.rule.gradient == "contribution" and (self.rule.is_weighted or not self.continuous)
            learning = learning_fields(decision, names, has_credits=needs_credits)
        return Action(decision.actions, decision.log_probs, step, learning).fields()

    def _count(self, decision: Decision, asked: Logits) -> None:
        """Add a decision of training to the contributions."""
        if not asked.deterministic:
            active = slice(None) if asked.active is None else asked.active
            self.contributions.add(self._quorum.names, decision.probabilities[:, active], decision.support[:, active])

    def _generator(self, step: int, *, deterministic: bool) -> np.random.Generator | None:
        """Return the generator that draws a step's actions; None to take the best ones.

        Evaluations draw from a generator for each step, so that none changes another one, and all have the same luck.
        """
        if not deterministic:
            return self.rng
        return None if self.eval_deterministic else generator(self.seed, "evaluation", step)

    def _leaders(self, asked: Logits) -> NDArray[np.int64] | None:
        """Return which model decides alone where an episode is played, (N,); None if none does anywhere."""
        if not self.led_fraction or asked.episodes is None or asked.deterministic:
            return None
        plays = np.ones(len(asked.episodes), np.bool_) if asked.active is None else asked.active
        playing = zip(asked.episodes.tolist(), plays.tolist(), strict=True)
        return np.array([self._leader(episode) if plays_it else NO_LEADER for episode, plays_it in playing])

    def _leader(self, episode: int) -> int:
        names = self._quorum.names
        if self.leader == "uniform":
            return leader_in_turn(self.seed, episode, len(names), self.led_fraction)
        return promising_leader(self.seed, episode, self._led.worth(names), self.led_fraction)

    # --- after a step, a job, a round

    def update_contributions(self) -> None:
        """Compute the contributions in the decisions so far, once there are enough: when nobody waits for an action."""
        self.contributions.update_if_due()
        self.store.write_if_due(self.state)

    def finish_job(self, message: Message) -> None:
        """Save everything at the end of a job, after which late answers to it are ignored.

        A job that was overtaken by another one, such as an evaluation within it, may be requested again.
        """
        if JobRequest.is_in(message):
            self._closed_runs.reopen(root_id(message))
        done = JobDone.read(message)
        if done is None:
            return
        conversation = message.get("ROOT_ID")
        if conversation is None or conversation != self._last_done:
            self._credit_leaders(done)
        self._last_done = conversation
        self._closed_runs.leave(conversation)
        if is_attempt_at(conversation, self._conversation):
            self._closed_runs.leave(self._conversation)
            self._conversation = _NO_JOB
            self._quorum.answers = {}
        self.store.write(self.state())

    def _credit_leaders(self, done: JobDone) -> None:
        """Record the returns of training episodes that one model led."""
        if not self.led_fraction or not self._quorum.names:
            return
        leaders = [self._leader(episode) for episode in done.episodes]  # before what they are worth changes
        for number, score in zip(leaders, done.result.returns, strict=False):
            if number != NO_LEADER:
                name = self._quorum.names[number]
                self._returns.setdefault(name, []).append(score)
                self._led.add(name, score)

    def report(self, message: Message) -> Fields | None:
        """Answer an evolution's GET with the contributions since the last one, and begin to count again.

        Of its SET it takes who is whose copy.
        """
        if has_value(message, "CMD", "SET"):
            return self._inherit(message)
        if GetRequest.read(message) is None:
            return None
        address = reply_address(message)
        if not self._reports.was_answered(message):
            self._reports.remember(root_id(message), self._close_round().fields())
            self.store.write(self.state())
        return {**self._reports.last_answer, **address}

    def _inherit(self, message: Message) -> Fields | None:
        parents = parents_in(message)
        if not parents:
            return None
        address = reply_address(message)
        for child, parent in parents.items():
            self._led.inherit(child, parent)
        self.store.write(self.state())
        return {**SetDone([self.client.name]).fields(), **address}

    def _close_round(self) -> Contribution:
        contributions, self.contributions = self.contributions, ContributionTracker()
        returns, self._returns = self._returns, {}
        mean_returns = {name: float(np.mean(of_model)) for name, of_model in returns.items()}
        worth, errors = self._led.worth_by_name()
        return Contribution(contributions.contribution(), contributions.diversity(), mean_returns, worth, errors)
