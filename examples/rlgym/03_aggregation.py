"""The aggregation: turns the logits of all models into one action, and keeps who contributed to it."""

import socket
from collections import Counter

import numpy as np

from swarmsim import MESSAGE_TYPE, Client, Trigger
from swarmsim.learning.aggregate import contributions
from swarmsim.learning.decision import decide
from swarmsim.learning.distributions import Categorical
from swarmsim.learning.rules import RULES
from swarmsim.learning.seeding import generator

PORT = 8080
SERVER = socket.gethostbyname(socket.gethostname())

rng = generator(0, "aggregation")
logits = {}
shares = Counter()


def aggregate(message):
    """Keep a model's logits; once all models have spoken, answer with the action."""
    logits[message["COMPONENT_ID"]] = np.asarray(message["LOGITS"], np.float64)
    if len(logits) < len(client.components_in("observation")):
        return None
    names = sorted(logits)
    outputs = np.stack([logits[name] for name in names])[:, None]
    logits.clear()
    draws = None if message["DETERMINISTIC"] else rng
    decision = decide(outputs, Categorical(outputs.shape[2]), RULES["sum"], draws)
    if not message["DETERMINISTIC"]:
        shares.update(dict(zip(names, contributions(decision.support)[:, 0], strict=True)))
    return {"ACTION": int(decision.actions[0])}


def report(message):
    """Answer an evolution's GET with the contributions since the last one."""
    if message.get("CMD") != "GET":
        return None
    contribution = {name: float(share) for name, share in shares.items()}
    shares.clear()
    return {"CONTRIBUTION": contribution}


CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
client = Client("aggregation", SERVER, PORT, "utf-8", 10)
client.add_eventHandler(aggregate, CUSTOM, responseRooms="action", trigger=Trigger(CUSTOM, "logits"))
client.add_eventHandler(report, CUSTOM, responseComponent="evolutionary", trigger=Trigger(CUSTOM, "evolution"))
client.listen()
