"""Models whose critics rate actions: they also answer the swarm's proposals."""

from typing import Any

from swarmsim.components.fields import Fields
from swarmsim.components.model import Models
from swarmsim.components.protocol.rating import Proposal, Rating
from swarmsim.components.protocol.step import Observation
from swarmsim.finite import are_finite
from swarmsim.learning.networks import Floats
from swarmsim.learning.sac import SAC
from swarmsim.messaging.message import Message


class RatingModels(Models):
    """The models of one process, whose learner is `SAC`."""

    _shown: tuple[Any, int | None, Floats] | None = None  # ROOT_ID, step and observations that were answered last

    def observe(self, message: Message) -> Fields | None:
        answer = super().observe(message)
        shown = Observation.read(message, self.architecture.n_inputs)
        self._shown = None if answer is None else (message.get("ROOT_ID"), shown.step, shown.observations)
        return answer

    def rate(self, message: Message) -> Fields | None:
        """Answer proposed actions with the critics' values of them; None unless their observation was the last one."""
        proposal = Proposal.read(message, self.architecture.n_actions)
        if self._shown is None:
            return None
        conversation, step, observations = self._shown
        is_about_it = message.get("ROOT_ID") == conversation and step in (None, proposal.step)
        if not is_about_it or proposal.actions.shape[1] != len(observations):
            return None
        assert isinstance(self.learner, SAC)
        ratings = self.learner.rate(observations, proposal.actions)
        if not are_finite(ratings):
            raise FloatingPointError("its ratings are not finite: its learning has diverged")
        return Rating(self.components, ratings, proposal.step).fields()
