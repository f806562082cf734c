"""Models: what a process of them answers to observations, learns from outcomes, and exchanges for evolution."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from swarmsim.components.admin import changed
from swarmsim.components.fields import (
    actions_taken,
    are_finite,
    by_component,
    by_environment,
    flag,
    genome,
    has_value,
    integer,
    remembered,
    reply_address,
    rows,
)
from swarmsim.components.persistence import StateStore
from swarmsim.learning.a2c import A2C
from swarmsim.learning.adam import TrainingState
from swarmsim.learning.hyperparameters import A2CSettings, LearningSettings, PPOSettings
from swarmsim.learning.learner import Learner
from swarmsim.learning.networks import Architecture, Floats
from swarmsim.learning.ppo import PPO
from swarmsim.learning.rollout import Transition
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import Message, root_id

SHAPES = "hidden", "n_steps", "replay_size", "batch_size"  # decide the size of what is learnt, or learnt from
CARRIED = "STEP", "ACTIVE", "EPISODE"  # what an answer tells again of what it answers
LEARNERS: Mapping[type[LearningSettings], type[Learner]] = {A2CSettings: A2C, PPOSettings: PPO}


class Models:
    """The models of one process, all asked and trained at once.

    What they have learnt lies outside the process, and is taken up by the one that follows it.

    Args:
        components: their names, one row of weights each.
        learning: how they learn, and the hyperparameters of it.
        seed: of the run; each model's weights come from it and its name alone, whoever hosts it.
    """

    def __init__(
        self,
        client: Client,
        store: StateStore,
        components: Sequence[str],
        architecture: Architecture,
        learning: LearningSettings,
        seed: int,
    ) -> None:
        self.components = list(components)
        self.architecture = architecture
        self.seed = seed
        self.learner = self._learner(
            learning,
            lambda memory: TrainingState(**{name: store.array(name, array) for name, array in vars(memory).items()}),
        )
        self._run: object = None
        self._step = -1
        self._training = True
        self._parents: tuple[object, Message] = (None, {})

    def _learner(self, learning: LearningSettings, keep: Callable[[TrainingState], TrainingState]) -> Learner:
        generators = [generator(self.seed, "weights", name) for name in self.components]
        return LEARNERS[type(learning)](self.architecture, learning, generators, keep)

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
        step = integer(message, "STEP", default=self._step + 1)
        is_new = message.get("ROOT_ID") != self._run or ("ROOT_ID" not in message and "ACTION" not in message)
        is_shown_again = not is_new and step == self._step
        records = self._training and self.learner.awaits_outcome and not is_new and not is_shown_again
        transition = self._transition(message, len(observations)) if records else None
        if is_new:
            self._run = message.get("ROOT_ID")
            self.learner.break_off()
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
        said = logits[:, 0] if logits.shape[1] == 1 else logits
        answer = {"LOGITS": said, "COMPONENT_ID": self.components, "DETERMINISTIC": message["DETERMINISTIC"]}
        return answer | {key: message[key] for key in CARRIED if key in message}

    def _transition(self, message: Message, n_envs: int) -> Transition:
        done = by_environment(message, "DONE", np.bool_, n_envs)
        nothing = np.zeros(n_envs, np.bool_)
        truncated = by_environment(message, "TRUNCATED", np.bool_, n_envs) if "TRUNCATED" in message else nothing
        final = rows(message, "FINAL_OBSERVATION", self.architecture.n_inputs) if truncated.any() else None
        return Transition(
            actions=actions_taken(message, n_envs, self.architecture.distribution),
            rewards=by_environment(message, "REWARD", np.float32, n_envs),
            terminated=done & ~truncated,
            truncated=truncated,
            final_observations=final,
            active=by_environment(message, "ACTED", np.bool_, n_envs) if "ACTED" in message else ~nothing,
            log_probs=by_environment(message, "LOG_PROB", np.float32, n_envs) if "LOG_PROB" in message else None,
        )

    def exchange(self, message: Message) -> Message | None:
        """Hand weights out for an evolution (GET), then take the new ones in and go on learning (SET).

        An evolution that is repeated from its start gets the weights that it got at first.
        """
        if has_value(message, "CMD", "GET"):
            to = reply_address(message)
            self._training = False
            if self._parents[0] != root_id(message):
                self._parents = root_id(message), self._genomes()
            return {**self._parents[1], "COMPONENT_ID": self.components, **to}
        if has_value(message, "CMD", "SET"):
            to = reply_address(message)
            given = by_component(message, "WEIGHTS", self.components)
            if not given:
                return None
            n_weights = self.architecture.n_weights
            genomes = {name: genome(message, "WEIGHTS", vector, n_weights) for name, vector in given.items()}
            self.load_weights(genomes)
            self._load_moments(message)
            self.learner.training_state.cumulative_advantage[:] = 0
            self._training = True
            return {"STATUS": "SET_DONE", "COMPONENT_ID": self.components, **to} if "TO" in to else None
        return None

    def _genomes(self) -> Message:
        """Return what an evolution needs of each model: its genome, its optimiser's memory of it, and its merit."""
        memory = self.learner.training_state
        merits = {"ADVANTAGE": memory.cumulative_advantage.copy()} if self.learner.has_cumulative_advantage else {}
        moments = np.stack((memory.first_moment, memory.second_moment), axis=1)
        return {"WEIGHTS": memory.weights.copy(), "MOMENTS": moments, **merits}

    def _load_moments(self, message: Message) -> None:
        given = by_component(message, "MOMENTS", self.components) if "MOMENTS" in message else {}
        memory = self.learner.training_state
        for name, moments in given.items():
            row = self.components.index(name)
            memory.first_moment[row], memory.second_moment[row] = remembered(
                message, moments, self.architecture.n_weights
            )

    def shown(self) -> Message:
        """Return sums of losses and the like since they were told last, and how many they are sums of."""
        sums, number = self.learner.figures.told()
        return {"LEARNING": sums, "LEARNING_NUMBER": number}

    def weights(self) -> dict[str, Floats]:
        """Return each model's weights (G,), by its name; they change as it learns."""
        return dict(zip(self.components, self.learner.weights, strict=True))

    def load_weights(self, weights: Mapping[str, Floats]) -> None:
        """Have models go on with other weights (G,); what follows is not what their old ones led to."""
        for name, vector in weights.items():
            self.learner.weights[self.components.index(name)] = vector
        self.learner.break_off()

    def settings(self) -> dict[str, Any]:
        """Return what these models were made with, as it stands now."""
        learning = self.learner.settings
        return {**asdict(learning), "hidden": list(learning.hidden), "seed": self.seed}

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Learn by other hyperparameters from now on, of what has been seen already too.

        Raises:
            SettingsError: one of `values` cannot be used, or decides a size; nothing has changed.
        """
        learning = changed(self.learner.settings, values, fixed=(*SHAPES, "seed"))
        state, memory = self.learner.state(), self.learner.training_state
        self.learner = self._learner(learning, lambda _: memory)
        self.learner.restore(state)
