"""Models: what a process of them answers to observations, learns from outcomes, and exchanges for evolution."""

import os
from collections.abc import Sequence

import numpy as np

from swarmsim.components.fields import by_environment
from swarmsim.learning.a2c import A2C, Transition
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.policy import Architecture, Floats
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import Message


class Models:
    """The models of one process, all asked and trained at once.

    Args:
        components: their names, one row of weights each.
        seed: of the run; each model's weights come from it and its name alone, whoever hosts it.
    """

    def __init__(
        self, client: Client, components: Sequence[str], architecture: Architecture, a2c: A2CSettings, seed: int
    ) -> None:
        self.components = list(components)
        self.n_inputs = architecture.n_inputs
        self.learner = A2C(architecture, a2c, [generator(seed, "weights", name) for name in components])
        self._run: str | None = None
        self._training = True

    def observe(self, message: Message) -> Message | None:
        """Keep the transition that the message tells, and answer its observation with logits."""
        observations = self._rows(message["OBSERVATION"])
        if message["DETERMINISTIC"]:
            return None if message.get("LAST") else self._logits(message, self.learner.evaluate(observations).logits)
        if message.get("ROOT_ID") != self._run:
            self._run = message.get("ROOT_ID")
            self.learner.forget_rollout()
        if self.learner.awaits_outcome and self._training:
            self.learner.record(self._transition(message))
        if message.get("LAST"):
            if self._training:
                self.learner.finish(observations)
            return None
        return self._logits(message, self.learner.act(observations))

    def learn(self, message: Message) -> None:
        """Learn from what was kept, once there is enough of it: after the answer is out, for which the swarm waits."""
        if self._training and self.learner.update_is_due:
            os.sched_yield()  # who has got the answer may share this core
            self.learner.learn()

    def _rows(self, observations: object) -> Floats:
        return np.asarray(observations, np.float32).reshape(-1, self.n_inputs)

    def _logits(self, message: Message, logits: Floats) -> Message:
        answer = {"LOGITS": logits, "COMPONENT_ID": self.components, "DETERMINISTIC": message["DETERMINISTIC"]}
        return answer | {key: message[key] for key in ("STEP", "ACTIVE") if key in message}

    def _transition(self, message: Message) -> Transition:
        done = by_environment(message["DONE"], np.bool_)
        truncated = by_environment(message["TRUNCATED"], np.bool_) if "TRUNCATED" in message else None
        active = by_environment(message["ACTED"], np.bool_) if "ACTED" in message else np.ones(done.size, np.bool_)
        final = message.get("FINAL_OBSERVATION")
        return Transition(
            actions=by_environment(message["ACTION"], np.int64),
            rewards=by_environment(message["REWARD"], np.float32),
            terminated=done if truncated is None else done & ~truncated,
            truncated=np.zeros(done.size, np.bool_) if truncated is None else truncated,
            final_observations=None if final is None else self._rows(final),
            active=active,
        )

    def exchange(self, message: Message) -> Message | None:
        """Hand weights out for an evolution (GET), then take the new ones in and go on learning (SET)."""
        if message.get("CMD") == "GET":
            self._training = False
            return self._to_asker(message, {"WEIGHTS": self.learner.weights, "COMPONENT_ID": self.components})
        if message.get("CMD") == "SET":
            for row, name in enumerate(self.components):
                if name in message["WEIGHTS"]:
                    self.learner.weights[row] = message["WEIGHTS"][name]
            self.learner.forget_rollout()
            self._training = True
            return self._to_asker(message, {"STATUS": "SET_DONE", "COMPONENT_ID": self.components})
        return None

    def save(self, message: Message) -> Message:
        """Answer COMMAND/SAVEMODELWEIGHTS with the weights of the model that it names, or of all here, to the asker."""
        names = [message["TO"]] if message.get("TO") in self.components else self.components
        rows = [self.components.index(name) for name in names]
        return self._to_asker(message, {"WEIGHTS": self.learner.weights[rows], "COMPONENT": names})

    @staticmethod
    def _to_asker(message: Message, answer: Message) -> Message:
        return {**answer, "TO": message["SENT_BY"]}
