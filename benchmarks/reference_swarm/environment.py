"""The environment: plays CartPole once everybody is there, and measures how many steps a second the swarm takes."""

import sys
import time
import uuid
from typing import Any

import gymnasium
from common import CUSTOM, connected, prepare, say
from swergio import MESSAGE_TYPE, Client, Trigger

WARM_UP_STEPS = 10
JOIN = MESSAGE_TYPE.COMMAND.JOINROOM

Message = dict[str, Any]


class Play:
    """One measured run, from everybody's presence to ENV_DONE."""

    def __init__(self, client: Client, n_models: int) -> None:
        self.client = client
        self.n_models_missing = n_models
        self.aggregation_is_missing = True
        self.seconds = 0.0
        self.n_steps = 0
        self.began = 0.0
        self.env = gymnasium.make("CartPole-v1")

    def welcome(self, message: Message) -> Message | None:
        """Count who has come; whoever was awaited last sets the run going."""
        joined = message["SENT_BY"], message["ROOM"]
        if joined == ("model", "observation"):
            self.n_models_missing -= 1
        elif joined == ("aggregation", "logits"):
            self.aggregation_is_missing = False
        else:
            return None
        say(n_models_missing=self.n_models_missing, aggregation_is_missing=self.aggregation_is_missing)
        return self.first_observation()

    def start(self, message: Message) -> Message | None:
        """Take control's wish, and begin where everybody is there already."""
        if "SECONDS" not in message:
            return None
        self.seconds = message["SECONDS"]
        return self.first_observation()

    def first_observation(self) -> Message | None:
        """Begin, unless somebody is missing or control has asked for nothing yet."""
        if not self.seconds or self.n_models_missing or self.aggregation_is_missing:
            return None
        say(present=True)
        seen, _ = self.env.reset(seed=0)
        return {"OBSERVATION": seen.tolist(), "DETERMINISTIC": False}

    def act(self, message: Message) -> Message | None:
        """Take the swarm's action; a truncated episode counts as ended, which spares the models a value."""
        action = message["ACTION"]
        seen, reward, terminated, truncated, _ = self.env.step(action)
        done = terminated or truncated
        self.n_steps += 1
        if self.n_steps == WARM_UP_STEPS:
            self.began = time.perf_counter()
        elif self.n_steps > WARM_UP_STEPS and time.perf_counter() - self.began >= self.seconds:
            self.finish()
            return None
        if done:
            seen, _ = self.env.reset()
        came = {"ACTION": action, "REWARD": reward, "DONE": done}
        return {"OBSERVATION": seen.tolist(), "DETERMINISTIC": False, **came}

    def finish(self) -> None:
        """Tell the benchmark the result, and control that the run is done."""
        elapsed = time.perf_counter() - self.began
        counted = self.n_steps - WARM_UP_STEPS
        say(steps_per_second=counted / elapsed, n_steps=counted, seconds=elapsed)
        self.client.send({"TYPE": CUSTOM.id, "ID": uuid.uuid4().hex, "TO_ROOM": "control", "STATUS": "ENV_DONE"})


def await_own_echo(client: Client) -> None:
    """Return once the server has dealt with all that was sent so far: who joins from now on is heard of."""
    client.send({"TYPE": CUSTOM.id, "ID": uuid.uuid4().hex, "TO": "environment"})
    if client.receive() is False:
        sys.exit("the server closed the link at once")


def main() -> None:
    """Play with as many models as the second argument says."""
    prepare()
    client = connected("environment")
    play = Play(client, int(sys.argv[2]))
    in_observation = {"responseType": CUSTOM, "responseRooms": "observation"}
    client.add_eventHandler(play.welcome, **in_observation, trigger=Trigger(JOIN, "_command"))
    client.add_eventHandler(play.start, **in_observation, trigger=Trigger(CUSTOM, "control"))
    client.add_eventHandler(play.act, **in_observation, trigger=Trigger(CUSTOM, "action"))
    await_own_echo(client)
    say(ready=True)
    client.listen()


main()
