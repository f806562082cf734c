"""The aggregation: draws one action from the sum of all models' softmax probabilities."""

import sys
from typing import Any

import numpy as np
from common import CUSTOM, connected, prepare
from swergio import Trigger


class Vote:
    """The opinions on one observation, until every model has spoken."""

    def __init__(self, n_models: int) -> None:
        self.n_models = n_models
        self.logits: list[list[float]] = []
        self.rng = np.random.default_rng(0)

    def hear(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Keep a model's logits, and answer the last one with the action."""
        self.logits.append(message["LOGITS"])
        if len(self.logits) < self.n_models:
            return None
        logits = np.array(self.logits)
        self.logits.clear()
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        summed = (powers / powers.sum(axis=1, keepdims=True)).sum(axis=0)
        drawn = self.rng.random() * self.n_models
        return {"ACTION": int(min(np.searchsorted(summed.cumsum(), drawn, side="right"), summed.size - 1))}


def main() -> None:
    """Aggregate the models whose number is the second argument."""
    prepare()
    vote = Vote(int(sys.argv[2]))
    client = connected("aggregation")
    client.add_eventHandler(vote.hear, CUSTOM, responseRooms="action", trigger=Trigger(CUSTOM, "logits"))
    client.listen()


main()
