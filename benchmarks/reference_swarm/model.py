"""One model: learns from what came of the last action, then says what it would do now."""

import sys
from typing import Any

import numpy as np
from common import CUSTOM, connected, prepare
from learner import Learner
from swergio import Trigger


def observe(message: dict[str, Any], learner: Learner, component_id: str) -> dict[str, Any]:
    """Return the logits of this observation."""
    if "ACTION" in message:
        learner.record(message["ACTION"], message["REWARD"], message["DONE"])
    logits = learner.act(np.array(message["OBSERVATION"], np.float32))
    return {"LOGITS": logits.tolist(), "COMPONENT_ID": component_id, "DETERMINISTIC": False}


def main() -> None:
    """Be the model whose number is the second argument."""
    prepare()
    learner = Learner(np.random.default_rng(int(sys.argv[2])))
    client = connected("model", learner=learner, component_id=f"model-{sys.argv[2]}")
    client.add_eventHandler(observe, CUSTOM, responseRooms="logits", trigger=Trigger(CUSTOM, "observation"))
    client.listen()


main()
