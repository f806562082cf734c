"""Components and a server written on the reference's public API alone; each runs as a program of its own.

`reference_components.py KIND PORT …` says one line on its standard output once it takes part, and ends when its
standard input closes. Nothing here imports swarmsim.
"""

import contextlib
import os
import sys
import threading
import uuid
from pathlib import Path

import gymnasium
import numpy as np
from swergio import MESSAGE_TYPE, Client, Server, Trigger

HOST, FORMAT, HEADER_LENGTH = "127.0.0.1", "utf-8", 10
CUSTOM, TEXT = MESSAGE_TYPE.DATA.CUSTOM, MESSAGE_TYPE.DATA.TEXT
N_INPUTS, N_ACTIONS = 4, 2


def serve() -> None:
    """Serve on a port that is free, and say which."""
    server = Server(HOST, 0, FORMAT, HEADER_LENGTH)
    server.server.listen()  # before the port is told, so that nobody comes too early
    print(server.server.getsockname()[1], flush=True)
    # It prints a line for every message.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        server.start()


def connected(name: str, port: str, **objects) -> Client:
    return Client(name, HOST, int(port), FORMAT, HEADER_LENGTH, **objects)


def take_part(client: Client) -> None:
    """Say that this component is there, once the server has dealt with all that it sent, and listen."""
    mark = uuid.uuid4().hex
    client.send({"TYPE": TEXT.id, "ID": mark, "TO": client.name, "DATA": mark})
    while (message := client.receive()).get("ID") != mark:
        assert message, "the server closed the link at once"
    print("there", flush=True)
    client.listen()


# --- for conversations


def answer_in_rooms(port: str) -> None:
    """Answer questions in the room `questions` in two rooms, with an object that the client holds."""

    def answer(message, greeting):
        return {"DATA": f"{greeting} {message['DATA']}"}

    client = connected("answerer", port, greeting="hello", unused=1)
    client.add_eventHandler(answer, TEXT, responseRooms=["answers", "echoes"], trigger=Trigger(TEXT, "questions"))
    take_part(client)


# --- a swarm


class Policy:
    """A linear softmax policy with random weights, which takes others."""

    def __init__(self, component_id: str, seed: int) -> None:
        self.component_id = component_id
        self.weights = np.random.default_rng(seed).normal(size=N_INPUTS * N_ACTIONS)

    def observe(self, message):
        logits = np.array(message["OBSERVATION"]) @ self.weights.reshape(N_INPUTS, N_ACTIONS)
        return {
            "LOGITS": logits.tolist(),
            "COMPONENT_ID": self.component_id,
            "DETERMINISTIC": message["DETERMINISTIC"],
        }

    def exchange(self, message):
        if message.get("CMD") == "GET":
            return {"WEIGHTS": self.weights.tolist(), "COMPONENT_ID": self.component_id}
        if message.get("CMD") == "SET":
            self.weights = np.array(message["WEIGHTS"][self.component_id])
        return None


def model(port: str, number: str) -> None:
    policy = Policy(f"model-{number}", int(number))
    client = connected("model", port)
    client.add_eventHandler(policy.observe, CUSTOM, responseRooms="logits", trigger=Trigger(CUSTOM, "observation"))
    client.add_eventHandler(policy.exchange, CUSTOM, responseRooms="evolution", trigger=Trigger(CUSTOM, "evolution"))
    take_part(client)


class Play:
    """Plays the episodes that control asks for, and tells no more of them than their mean return."""

    def __init__(self, most_steps: int) -> None:
        self.client: Client | None = None
        self.env = gymnasium.make("CartPole-v1", max_episode_steps=most_steps)
        self.n_left = 0
        self.returns: list[float] = []
        self.deterministic = False

    def start(self, message):
        if "NR_OF_EPISODE" not in message:
            return None
        self.n_left, self.deterministic, self.returns = message["NR_OF_EPISODE"], message["DETERMINISTIC"], [0.0]
        return self._shown(self.env.reset(seed=0)[0])

    def act(self, message):
        if "ACTION" not in message or not self.n_left:
            return None
        seen, reward, terminated, truncated, _ = self.env.step(message["ACTION"])
        self.returns[-1] += float(reward)
        done = terminated or truncated
        if done:
            self.n_left -= 1
            if not self.n_left:
                self._end(message)
                return None
            self.returns.append(0.0)
            seen, _ = self.env.reset()
        return {**self._shown(seen), "ACTION": message["ACTION"], "REWARD": float(reward), "DONE": done}

    def _shown(self, seen):
        return {"OBSERVATION": seen.tolist(), "DETERMINISTIC": self.deterministic}

    def _end(self, message) -> None:
        told = {"STATUS": "ENV_DONE", "AVG_SCORE": sum(self.returns) / len(self.returns)}
        self.client.send(
            {
                "TYPE": CUSTOM.id,
                "ID": uuid.uuid4().hex,
                "ROOT_ID": message["ROOT_ID"],
                "TO_ROOM": "control",
                **told,
            }
        )


def environment(port: str, most_steps: str) -> None:
    play = Play(int(most_steps))
    play.client = client = connected("environment", port)
    client.add_eventHandler(play.start, CUSTOM, responseRooms="observation", trigger=Trigger(CUSTOM, "control"))
    client.add_eventHandler(play.act, CUSTOM, responseRooms="observation", trigger=Trigger(CUSTOM, "action"))
    take_part(client)


class Vote:
    """Draws the action from the sum of so many models' probabilities, and keeps what each contributed."""

    def __init__(self, n_models: int) -> None:
        self.n_models = n_models
        self.logits: dict[str, list[float]] = {}
        self.shares: dict[str, float] = {}
        self.rng = np.random.default_rng(0)

    def hear(self, message):
        self.logits[message["COMPONENT_ID"]] = message["LOGITS"]
        if len(self.logits) < self.n_models:
            return None
        logits = np.array([np.ravel(row) for row in self.logits.values()])
        names, self.logits = list(self.logits), {}
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        summed = probabilities.sum(axis=0)
        if message["DETERMINISTIC"]:
            return {"ACTION": int(summed.argmax())}
        action = int(self.rng.choice(summed.size, p=summed / summed.sum()))
        for name, share in zip(names, probabilities[:, action] / summed[action], strict=True):
            self.shares[name] = self.shares.get(name, 0.0) + float(share)
        return {"ACTION": action}

    def report(self, message):
        if message.get("CMD") != "GET":
            return None
        shares, self.shares = self.shares, {}
        return {"CONTRIBUTION": shares}


def aggregation(port: str, n_models: str) -> None:
    vote = Vote(int(n_models))
    client = connected("aggregation", port)
    client.add_eventHandler(vote.hear, CUSTOM, responseRooms="action", trigger=Trigger(CUSTOM, "logits"))
    client.add_eventHandler(vote.report, CUSTOM, responseRooms="evolution", trigger=Trigger(CUSTOM, "evolution"))
    take_part(client)


class Breeding:
    """Has so many models take over the weights of whoever contributed most, with some noise."""

    def __init__(self, n_models: int) -> None:
        self.n_models = n_models
        self.client: Client | None = None
        self.weights: dict[str, list[float]] = {}
        self.shares: dict[str, float] | None = None
        self.rng = np.random.default_rng(0)

    def ask(self, message):
        return {"CMD": "GET"} if message.get("EVOLUTION") is True else None

    def gather(self, message) -> None:
        if "WEIGHTS" in message and isinstance(message.get("COMPONENT_ID"), str):
            self.weights[message["COMPONENT_ID"]] = message["WEIGHTS"]
        elif "CONTRIBUTION" in message:
            self.shares = message["CONTRIBUTION"]
        if len(self.weights) < self.n_models or self.shares is None:
            return
        best = np.array(self.weights[max(self.shares, key=self.shares.__getitem__)])
        genomes = {name: (best + self.rng.normal(0, 0.1, best.shape)).tolist() for name in self.weights}
        self.weights, self.shares = {}, None
        self._say(message, "evolution", CMD="SET", WEIGHTS=genomes)
        self._say(message, "control", STATUS="EVO_DONE")

    def _say(self, asked, room, **fields) -> None:
        common = {"TYPE": CUSTOM.id, "ID": uuid.uuid4().hex, "ROOT_ID": asked["ROOT_ID"]}
        self.client.send({**common, "TO_ROOM": room, **fields})


def evolution(port: str, n_models: str) -> None:
    breeding = Breeding(int(n_models))
    breeding.client = client = connected("evolution", port)
    client.add_eventHandler(breeding.ask, CUSTOM, responseRooms="evolution", trigger=Trigger(CUSTOM, "control"))
    client.add_eventHandler(breeding.gather, CUSTOM, responseRooms="control", trigger=Trigger(CUSTOM, "evolution"))
    take_part(client)


KINDS = {
    "server": serve,
    "answerer": answer_in_rooms,
    "model": model,
    "environment": environment,
    "aggregation": aggregation,
    "evolution": evolution,
}


def _leave_with_the_test() -> None:
    os.read(0, 1)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_leave_with_the_test, daemon=True).start()
    KINDS[sys.argv[1]](*sys.argv[2:])
