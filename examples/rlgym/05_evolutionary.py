"""The evolution: gathers weights and contributions, breeds the next generation, and hands it out."""

import socket

import numpy as np

from swarmsim import MESSAGE_TYPE, Client, Trigger
from swarmsim.learning.genetic import next_generation
from swarmsim.learning.hyperparameters import EvolutionSettings
from swarmsim.learning.seeding import generator

PORT = 8080
SERVER = socket.gethostbyname(socket.gethostname())

rng = generator(0, "evolution")
weights = {}
contribution = {}
confirmed = set()


def start(message):
    """Ask models and aggregation for what they have, as control asks for an evolution."""
    if message.get("EVOLUTION") is not True:
        return None
    weights.clear()
    contribution.clear()
    confirmed.clear()
    return {"CMD": "GET"}


def gather(message):
    """Take in weights and contributions; once all are here, answer with the next generation."""
    if "WEIGHTS" in message:
        weights[message["COMPONENT_ID"]] = message["WEIGHTS"]
    elif "CONTRIBUTION" in message:
        contribution.update(message["CONTRIBUTION"], heard=True)
    else:
        return None
    names = sorted(client.components_in("observation"))
    if len(weights) < len(names) or "heard" not in contribution:
        return None
    genomes = np.stack([np.asarray(weights[name], np.float32) for name in names])
    fitness = np.array([contribution.get(name, 0.0) for name in names])
    generation = next_generation(genomes, fitness, EvolutionSettings(), rng)
    return {"CMD": "SET", "WEIGHTS": dict(zip(names, generation.genomes, strict=True))}


def confirm(message):
    """Tell control that the evolution is done, once every model has taken its new weights in."""
    if message.get("STATUS") != "SET_DONE":
        return None
    confirmed.add(message["COMPONENT_ID"])
    return {"STATUS": "EVO_DONE"} if len(confirmed) == len(weights) else None


CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
client = Client("evolutionary", SERVER, PORT, "utf-8", 10)
client.add_eventHandler(start, CUSTOM, responseRooms="evolution", trigger=Trigger(CUSTOM, "control", False))
client.add_eventHandler(gather, CUSTOM, responseRooms="evolution", trigger=Trigger(CUSTOM, "evolution"))
client.add_eventHandler(confirm, CUSTOM, responseRooms="control", trigger=Trigger(CUSTOM, "evolution"))
client.listen()
