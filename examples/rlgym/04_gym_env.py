"""The environment: plays as many episodes of CartPole as control asks for, and tells it the mean score."""

import socket

import gymnasium

from swarmsim import MESSAGE_TYPE, MODEL_STATUS, Client, Trigger

PORT = 8080
SERVER = socket.gethostbyname(socket.gethostname())
PRESENCE_TIMEOUT = 60.0

env = gymnasium.make("CartPole-v1")
run = {"left": 0, "scores": [], "score": 0.0, "deterministic": False, "seed": 0}


def start(message):
    """Begin the episodes that control asks for, once somebody is there to play them."""
    if "NR_OF_EPISODE" not in message:
        return None
    client.await_components("observation", 1, PRESENCE_TIMEOUT)
    client.await_components("logits", 1, PRESENCE_TIMEOUT)
    run.update(left=message["NR_OF_EPISODE"], scores=[], score=0.0, deterministic=message["DETERMINISTIC"])
    return observation(next_episode())


def act(message):
    """Take the swarm's action; go on, or tell control that all episodes are done."""
    seen, reward, terminated, truncated, _ = env.step(message["ACTION"])
    run["score"] += float(reward)
    came = {"ACTION": message["ACTION"], "REWARD": float(reward), "DONE": terminated or truncated}
    if truncated and not terminated:
        came |= {"TRUNCATED": True, "FINAL_OBSERVATION": seen}
    if not came["DONE"]:
        return observation(seen, **came)
    run["scores"].append(run["score"])
    run["left"] -= 1
    if run["left"]:
        return observation(next_episode(), **came)
    root = {"ROOT_ID": message["ROOT_ID"]}
    client.send({"TYPE": CUSTOM.id, "TO_ROOM": "observation", **observation(seen, **came, LAST=True), **root})
    done = {"STATUS": "ENV_DONE", "AVG_SCORE": sum(run["scores"]) / len(run["scores"])}
    client.send({"TYPE": CUSTOM.id, "TO_ROOM": "control", **done, **root})
    return None


def next_episode():
    """Reset the environment with the next seed."""
    run["score"] = 0.0
    run["seed"] += 1
    return env.reset(seed=run["seed"])[0]


def observation(seen, **came):
    """Return an OBSERVATION message; `came` tells what the last action led to."""
    status = MODEL_STATUS.VALIDATE if run["deterministic"] else MODEL_STATUS.TRAIN
    return {"OBSERVATION": seen, "DETERMINISTIC": run["deterministic"], "MODEL_STATUS": status.id, **came}


CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
client = Client("gym_env", SERVER, PORT, "utf-8", 10)
client.add_eventHandler(start, CUSTOM, responseRooms="observation", trigger=Trigger(CUSTOM, "control"))
client.add_eventHandler(act, CUSTOM, responseRooms="observation", trigger=Trigger(CUSTOM, "action"))
client.listen()
