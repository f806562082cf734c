"""Models: the models of one process act on observations, learn from transitions, and exchange genomes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.admin import changed
from swarmsim.components.fields import Fields, reply_address
from swarmsim.components.parts import by_rows, send_answer
from swarmsim.components.persistence import StateStore
from swarmsim.components.protocol.evolution import Genomes, GetRequest, SetDone, SetRequest
from swarmsim.components.protocol.step import Logits, Observation, read_transition, repeated_fields
from swarmsim.components.pulse import Pulse
from swarmsim.components.requests import RequestQueue
from swarmsim.finite import are_finite
from swarmsim.learning.a2c import A2C
from swarmsim.learning.hyperparameters import A2CSettings, LearningSettings, PPOSettings, SACSettings
from swarmsim.learning.learner import Learner, TrainingState
from swarmsim.learning.networks import Architecture, Floats, initial_weights
from swarmsim.learning.ppo import PPO
from swarmsim.learning.sac import SAC
from swarmsim.learning.seeding import generator, restore_rng, rng_state
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import Message

SIZES = "hidden", "n_steps", "replay_size", "batch_size", "n_critics"  # they decide shapes of arrays, so they are fixed
LEARNERS: Mapping[type[LearningSettings], type[Learner]] = {A2CSettings: A2C, PPOSettings: PPO, SACSettings: SAC}


class Models:
    """The models of one process, which act and learn together.

    Their weights and optimiser state lie outside the process: a process that replaces it continues with them.

    Args:
        components: the names of the models, one row of weights each.
        learning: the hyperparameters, whose type decides the learner.
        hyperparameters: (P, H), each model's own at its beginning.
        seed: of the run; a model's initial weights depend on it and on the model's name alone.
        timeout: seconds that control waits for a message.
        control_room: where a long update says that it goes on.
    """

    def __init__(
        self,
        client: Client,
        store: StateStore,
        *,
        components: Sequence[str],
        architecture: Architecture,
        learning: LearningSettings,
        hyperparameters: NDArray[np.float64],
        seed: int,
        timeout: float,
        control_room: str,
    ) -> None:
        self.client = client
        self.store = store
        self.components = list(components)
        self.architecture = architecture
        self.seed = seed
        self._pulse = Pulse(client, control_room, timeout)
        self.learner = self._begin(learning, hyperparameters)
        self._conversation: object = None
        self._step = -1
        self._is_training = True  # not while an evolution has their genomes
        self._genomes_given = RequestQueue()

    def _begin(self, learning: LearningSettings, hyperparameters: NDArray[np.float64]) -> Learner:
        """Return a learner that continues from what an earlier process saved, or begins, unless a state is given."""
        self._generators = [generator(self.seed, "weights", name) for name in self.components]
        n_models, n_hyperparameters = hyperparameters.shape
        state = TrainingState.zeros(n_models, self.architecture.n_weights, n_hyperparameters, self.store.array)
        saved_state = self.store.read()
        if saved_state is not None:
            for rng, saved in zip(self._generators, saved_state["generators"], strict=True):
                restore_rng(rng, saved)
        elif self.store.given_state is None:
            initial_weights(self.architecture, self._generators, out=state.weights)
            state.hyperparameters[:] = hyperparameters
            self._save_generators()
        return self._learner(learning, state)

    def _learner(self, learning: LearningSettings, state: TrainingState) -> Learner:
        learner = LEARNERS[type(learning)](self.architecture, learning, self._generators, state)
        learner.on_minibatch = self._pulse
        return learner

    def _save_generators(self) -> None:
        """Have a process that replaces this one continue from the training state, which is complete now."""
        self.store.write({"generators": [rng_state(rng) for rng in self._generators]})

    def state(self) -> dict[str, Any]:
        """Return all that these models are."""
        place = {"run": self._conversation, "step": self._step, "training": self._is_training}
        return {"components": self.components, **self.learner.state(), **place}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.learner.restore(dict(state))
        self._conversation, self._step, self._is_training = state["run"], state["step"], state["training"]
        self._save_generators()

    # --- acting and learning

    def observe(self, message: Message) -> Fields | None:
        """Record the transition in the message, and answer its observation with logits."""
        observation = Observation.read(message, self.architecture.n_inputs)
        if observation.deterministic:
            if observation.is_last:
                return None
            return self._logits(message, self.learner.outputs(observation.observations))
        step = self._step + 1 if observation.step is None else observation.step
        is_new = message.get("ROOT_ID") != self._conversation or ("ROOT_ID" not in message and "ACTION" not in message)
        is_repeated = not is_new and step == self._step
        records = self._is_training and self.learner.awaits_outcome and not is_new and not is_repeated
        transition = None
        if records:
            n_envs, n_inputs = observation.observations.shape
            transition = read_transition(message, n_envs, n_inputs, self.architecture.distribution, self.components)
        if is_new:
            self._conversation = message.get("ROOT_ID")
            self.learner.break_off()
        self._step = step
        if transition is not None:
            self.learner.record(transition)
        if observation.is_last:
            if self._is_training and not is_repeated:
                self._pulse.begin()
                self.learner.finish(observation.observations)
            return None
        return self._logits(message, self.learner.act(observation.observations))

    def _logits(self, message: Message, logits: Floats) -> Fields:
        if not are_finite(logits):
            raise FloatingPointError("its logits are not finite: its learning has diverged")
        return Logits(self.components, logits, message["DETERMINISTIC"]).fields() | repeated_fields(message)

    def learn(self) -> None:
        """Update the models if enough steps are recorded, after their answer is sent: the swarm waits for that."""
        if self._is_training and self.learner.update_is_due:
            self._pulse.begin()
            os.sched_yield()  # the receiver of the answer may share this core
            self.learner.learn()

    # --- evolution

    def exchange(self, message: Message) -> Fields | None:
        """Hand out the genomes for an evolution (GET), and continue with the new ones (SET).

        An evolution that repeats its GET gets the same genomes again.
        """
        if GetRequest.read(message) is not None:
            address = reply_address(message)
            self._is_training = False
            *others, last = by_rows(self._genomes_given.answer(message, lambda: self._genomes().fields()))
            for part in others:
                send_answer(self.client, message, {**part, **address})
            return {**last, **address}
        training_state = self.learner.training_state
        n_hyperparameters = training_state.hyperparameters.shape[1]
        new = SetRequest.read(message, self.components, self.architecture.n_weights, n_hyperparameters)
        if new is None:
            return None
        address = reply_address(message)
        if not new.weights:
            return None
        self.load_weights(new.weights)
        for name, moments in new.moments.items():
            row = self.components.index(name)
            training_state.first_moment[row], training_state.second_moment[row] = moments
        for name, values in new.hyperparameters.items():
            training_state.hyperparameters[self.components.index(name)] = values
        training_state.cumulative_advantage[:] = 0
        self._is_training = True
        return {**SetDone(list(new.weights)).fields(), **address} if "TO" in address else None

    def _genomes(self) -> Genomes:
        state = self.learner.training_state
        moments = np.stack((state.first_moment, state.second_moment), axis=1)
        advantages = state.cumulative_advantage.copy() if self.learner.has_cumulative_advantage else None
        return Genomes(self.components, state.weights.copy(), moments, advantages, state.hyperparameters.copy())

    # --- what others can ask for

    def snapshot(self) -> dict[str, Any]:
        """Return the learning statistics since the last snapshot."""
        sums, number = self.learner.stats.pop_sums()
        return {"learning": sums, "n_learning": number}

    def weights(self) -> dict[str, Floats]:
        """Return the weights (G,) of each model; they change as it learns."""
        return dict(zip(self.components, self.learner.weights, strict=True))

    def load_weights(self, weights: Mapping[str, Floats]) -> None:
        """Replace the weights (G,) of models; transitions after that do not follow from those before."""
        for name, vector in weights.items():
            self.learner.weights[self.components.index(name)] = vector
        self.learner.break_off()

    def settings(self) -> dict[str, Any]:
        """Return the hyperparameters and the seed as they are now."""
        learning = self.learner.settings
        return {**asdict(learning), "hidden": list(learning.hidden), "seed": self.seed}

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Learn with other hyperparameters, also from the transitions that are recorded already.

        Raises:
            SettingsError: one of `values` cannot be used, or decides a size; nothing has changed.
        """
        learning = changed(self.learner.settings, values, fixed=(*SIZES, "seed"))
        state, training_state = self.learner.state(), self.learner.training_state
        for column, name in enumerate(learning.of_each_model):
            if name in values:
                training_state.hyperparameters[:, column] = getattr(learning, name)
        self.learner = self._learner(learning, training_state)
        self.learner.restore(state)
