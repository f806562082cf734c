"""One model: answers observations with logits, learns from what came of the swarm's actions, exchanges its weights."""

import socket
import sys

import numpy as np

from swarmsim import MESSAGE_TYPE, Client, Trigger
from swarmsim.learning.a2c import A2C
from swarmsim.learning.hyperparameters import A2CSettings
from swarmsim.learning.learner import Transition
from swarmsim.learning.networks import Architecture
from swarmsim.learning.seeding import generator

NAME = sys.argv[1] if len(sys.argv) > 1 else "model"  # a swarm tells each of its scripts its name
PORT = 8080
SERVER = socket.gethostbyname(socket.gethostname())

architecture = Architecture(n_inputs=4, n_actions=2, hidden=(16, 16))
learner = A2C(architecture, A2CSettings(), [generator(0, "weights", NAME)])


def observe(message):
    """Learn from the last step's outcome, then answer with the logits of this observation."""
    observation = np.asarray(message["OBSERVATION"], np.float32).reshape(1, -1)
    if message["DETERMINISTIC"]:
        logits = learner.evaluate(observation).logits
    else:
        if learner.awaits_outcome and "ACTION" in message:
            learner.record(outcome(message))
        if message.get("LAST"):
            learner.finish(observation)
        else:
            logits = learner.act(observation)
    if message.get("LAST"):
        return None
    return {"LOGITS": logits[0, 0], "COMPONENT_ID": NAME, "DETERMINISTIC": message["DETERMINISTIC"]}


def outcome(message):
    """Return what the message tells of the last action."""
    truncated = message.get("TRUNCATED", False)
    final = message.get("FINAL_OBSERVATION")
    return Transition(
        actions=np.array([message["ACTION"]]),
        rewards=np.array([message["REWARD"]], np.float32),
        terminated=np.array([message["DONE"] and not truncated]),
        truncated=np.array([truncated]),
        final_observations=None if final is None else np.asarray(final, np.float32).reshape(1, -1),
        active=np.array([True]),
    )


def evolve(message):
    """Hand the weights out (GET), or take new ones in (SET) and say so."""
    if message.get("CMD") == "GET":
        return {"WEIGHTS": learner.weights[0], "COMPONENT_ID": NAME}
    if message.get("CMD") == "SET":
        learner.weights[0] = message["WEIGHTS"][NAME]
        learner.break_off()
        return {"STATUS": "SET_DONE", "COMPONENT_ID": NAME}
    return None


CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
client = Client(NAME, SERVER, PORT, "utf-8", 10)
client.add_eventHandler(observe, CUSTOM, responseRooms="logits", trigger=Trigger(CUSTOM, "observation"))
client.add_eventHandler(evolve, CUSTOM, responseComponent="evolutionary", trigger=Trigger(CUSTOM, "evolution"))
client.listen()
