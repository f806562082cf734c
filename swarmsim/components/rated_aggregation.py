"""Aggregation of squashed Gaussians: in an evaluation, the swarm does what all models' critics rate highest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.aggregation import Aggregation
from swarmsim.components.fields import Fields, invalid_field, strings
from swarmsim.components.protocol.rating import Proposal, Rating
from swarmsim.components.protocol.step import Action, Logits
from swarmsim.components.quorum import Quorum
from swarmsim.learning.decision import decide_squashed, highest_rated, mean_actions
from swarmsim.learning.squash import squashed_gaussian
from swarmsim.messaging.message import Message


@dataclass(frozen=True)
class OpenStep:
    """A step whose proposals are being rated."""

    conversation: object
    proposal: Proposal
    message: Fields


@dataclass(eq=False, kw_only=True)
class RatedAggregation(Aggregation):
    """Has the models' critics rate all proposals wherever the best action is wanted: a second round of messages.

    In training, each episode is led by one model, from whose Gaussian the actions are drawn, and nothing is rated.

    Args:
        proposal_room: where models get proposals to rate.
        action_room: where the environment gets actions.
    """

    proposal_room: str
    action_room: str

    def __post_init__(self) -> None:
        self._open: OpenStep | None = None
        self._ratings = Quorum()
        super().__post_init__()

    def collect(self, message: Message) -> Fields | None:
        """Add the outputs of one process; return the action or the proposals once no model is missing.

        Who shows its outputs for a step that is being rated has joined since, and gets the proposals too: it may be the
        only one left to rate them.
        """
        is_open = self._is_open(message.get("ROOT_ID"), message.get("STEP"))
        return self._open.message if self._open is not None and is_open else super().collect(message)

    def rate(self, message: Message) -> Fields | None:
        """Add the ratings of one process; return the action once no model is missing."""
        rating = Rating.read(message)
        if self._open is None or not self._is_open(message.get("ROOT_ID"), rating.step):
            return None
        n_models, n_envs, _ = self._open.proposal.actions.shape
        if rating.ratings.shape[1:] != (n_models, n_envs):
            raise invalid_field(message, "RATING", f"for {n_models} proposal(s) in {n_envs} environment(s)")
        names = tuple(rating.names)
        self._ratings.admit(names, message.get("SENT_BY", ""), counts_steps=True)
        self._ratings.answers[names] = rating.ratings
        return self._action_if_rated()

    def handle_disconnect(self, message: Message) -> Fields | None:
        self._ratings.remove(strings(message, "COMPONENTS"))
        return super().handle_disconnect(message) or self._action_if_rated()

    def _is_open(self, conversation: object, step: object) -> bool:
        """Return whether that step's proposals are being rated; a step of an earlier job or attempt never is."""
        return (
            self._open is not None
            and isinstance(step, int)
            and step == self._open.proposal.step == self._decided_step
            and conversation == self._open.conversation == self._conversation
        )

    def _action_if_complete(self) -> Fields | None:
        answer = super()._action_if_complete()
        if answer is None or "ACTION" in answer:
            return answer and {**answer, "TO_ROOM": self.action_room}
        message = {**answer, "TO_ROOM": self.proposal_room}
        self._open = OpenStep(self._conversation, Proposal(answer["PROPOSAL"], answer["STEP"]), message)
        self._ratings.begin(self._quorum.names)
        return message

    def _answer(self, outputs: NDArray[np.float64], asked: Logits, step: int) -> Fields:
        gaussian = squashed_gaussian(outputs.shape[2] // 2)
        rng = self._generator(step, deterministic=asked.deterministic)
        if rng is None:
            return Proposal(mean_actions(outputs, gaussian), step).fields()
        decision = decide_squashed(outputs, gaussian, self.rule, rng, self._leaders(asked))
        self._count(decision, asked)
        return Action(decision.actions, step=step).fields()

    def _action_if_rated(self) -> Fields | None:
        if self._open is None or not self._is_open(self._conversation, self._decided_step):
            return None
        ratings = self._ratings.complete_step()
        if ratings is None:
            return None
        opened, self._open = self._open, None
        action = Action(highest_rated(opened.proposal.actions, ratings), step=opened.proposal.step)
        repeated = {key: value for key, value in opened.message.items() if key in ("ROOT_ID", "MODEL_STATUS")}
        return {**action.fields(), **repeated, "TO_ROOM": self.action_room}
