"""Models: what a process of them answers to observations, learns from outcomes, and exchanges for evolution."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from swarmsim.components.fields import (
    are_finite,
    by_component,
    by_environment,
    choices,
    flag,
    genome,
    rows,
    says,
    text,
    whole,
)
from swarmsim.components.kept import Kept
from swarmsim.learning.a2c import A2C
from swarmsim.learning.adam import Memory
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.policy import Architecture, Floats
from swarmsim.learning.rollout import Transition
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import Message, root_id


class Models:
    """The models of one process, all asked and trained at once.

    What they have learnt lies outside the process, and is taken up by the one that follows it.

    Args:
        components: their names, one row of weights each.
        seed: of the run; each model's weights come from it and its name alone, whoever hosts it.
    """

    def __init__(
        self,
        client: Client,
        kept: Kept,
        components: Sequence[str],
        architecture: Architecture,
        a2c: A2CSettings,
        seed: int,
    ) -> None:
        self.components = list(components)
        self.architecture = architecture

        def keep(memory: Memory) -> Memory:
            return Memory(**{name: kept.array(name, array) for name, array in vars(memory).items()})

        self.learner = A2C(architecture, a2c, [generator(seed, "weights", name) for name in components], keep)
        self._run: object = None
        self._step = -1
        self._training = True
        self._parents: tuple[object, Floats | None] = (None, None)

    def state(self) -> dict[str, Any]:
        """Return all that these models are."""
        place = {"run": self._run, "step": self._step, "training": self._training}
        return {"components": self.components, **self.learner.state(), **place}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was told."""
        self.learner.restore(dict(state))
        self._run, self._step, self._training = state["run"], state["step"], state["training"]

    def observe(self, message: Message) -> Message | None:
        """Keep the transition that the message tells, and answer its observation with logits."""
        observations = rows(message, "OBSERVATION", self.architecture.n_inputs)
        deterministic = flag(message, "DETERMINISTIC")
        last = flag(message, "LAST", default=False)
        if deterministic:
            return None if last else self._logits(message, self.learner.evaluate(observations).logits)
        step = whole(message, "STEP", default=self._step + 1)
        is_new = message.get("ROOT_ID") != self._run
        is_shown_again = not is_new and step == self._step
        records = self._training and self.learner.awaits_outcome and not is_new and not is_shown_again
        transition = self._transition(message, len(observations)) if records else None
        if is_new:
            self._run = message.get("ROOT_ID")
            self.learner.forget_rollout()
        self._step = step
        if transition is not None:
            self.learner.record(transition)
        if last:
            if self._training and not is_shown_again:
                self.learner.finish(observations)
            return None
        return self._logits(message, self.learner.act(observations))

    def learn(self, message: Message) -> None:
        """Learn from what was kept, once there is enough of it: after the answer is out, for which the swarm waits."""
        if self._training and self.learner.update_is_due:
            os.sched_yield()  # who has got the answer may share this core
            self.learner.learn()

    def _logits(self, message: Message, logits: Floats) -> Message:
        if not are_finite(logits):
            raise FloatingPointError("its logits are not finite: its learning has diverged")
        answer = {"LOGITS": logits, "COMPONENT_ID": self.components, "DETERMINISTIC": message["DETERMINISTIC"]}
        return answer | {key: message[key] for key in ("STEP", "ACTIVE") if key in message}

    def _transition(self, message: Message, n_envs: int) -> Transition:
        done = by_environment(message, "DONE", np.bool_, n_envs)
        nothing = np.zeros(n_envs, np.bool_)
        truncated = by_environment(message, "TRUNCATED", np.bool_, n_envs) if "TRUNCATED" in message else nothing
        final = rows(message, "FINAL_OBSERVATION", self.architecture.n_inputs) if truncated.any() else None
        return Transition(
            actions=choices(message, "ACTION", n_envs, self.architecture.n_actions),
            rewards=by_environment(message, "REWARD", np.float32, n_envs),
            terminated=done & ~truncated,
            truncated=truncated,
            final_observations=final,
            active=by_environment(message, "ACTED", np.bool_, n_envs) if "ACTED" in message else ~nothing,
        )

    def exchange(self, message: Message) -> Message | None:
        """Hand weights out for an evolution (GET), then take the new ones in and go on learning (SET).

        An evolution that is repeated from its start gets the weights that it got at first.
        """
        if says(message, "CMD", "GET"):
            self._training = False
            if self._parents[0] != root_id(message):
                self._parents = root_id(message), self.learner.weights.copy()
            return self._to_asker(message, {"WEIGHTS": self._parents[1], "COMPONENT_ID": self.components})
        if says(message, "CMD", "SET"):
            given = by_component(message, "WEIGHTS", self.components)
            if not given:
                return None
            n_weights = self.architecture.n_weights
            genomes = {name: genome(message, "WEIGHTS", vector, n_weights) for name, vector in given.items()}
            for name, weights in genomes.items():
                self.learner.weights[self.components.index(name)] = weights
            self.learner.forget_rollout()
            self._training = True
            return self._to_asker(message, {"STATUS": "SET_DONE", "COMPONENT_ID": self.components})
        return None

    def save(self, message: Message) -> Message:
        """Answer COMMAND/SAVEMODELWEIGHTS with the weights of the model that it names, or of all here, to the asker."""
        names = [message["TO"]] if message.get("TO") in self.components else self.components
        indices = [self.components.index(name) for name in names]
        return self._to_asker(message, {"WEIGHTS": self.learner.weights[indices], "COMPONENT": names})

    @staticmethod
    def _to_asker(message: Message, answer: Message) -> Message:
        return {**answer, "TO": text(message, "SENT_BY")}
