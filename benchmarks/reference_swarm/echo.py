"""One end of a conversation: answers in a room, or asks there for some seconds and says how long each answer took."""

import sys
import time
import uuid
from typing import Any

from common import connected, prepare, say
from swergio import MESSAGE_TYPE, Client, Trigger

TEXT = MESSAGE_TYPE.DATA.TEXT
WARM_UP = 3
DATA = "x" * 57  # what benchmarks/messaging.py asks on other links


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked."""
    return {"DATA": message["DATA"]}


def await_own_echo(client: Client) -> None:
    """Return once the server has dealt with all that was sent so far."""
    mark = uuid.uuid4().hex
    client.send({"TYPE": TEXT.id, "ID": mark, "TO": client.name, "DATA": ""})
    message = client.receive()
    while message is not False and message.get("ID") != mark:
        message = client.receive()
    if message is False:
        sys.exit("the server closed the link at once")


def answerer() -> None:
    """Answer whoever asks, for ever."""
    client = connected("answerer")
    client.add_eventHandler(answer, TEXT, responseRooms="answers", trigger=Trigger(TEXT, "questions"))
    await_own_echo(client)
    say(ready=True)
    client.listen()


def asker(seconds: float) -> None:
    """Ask for so many seconds, once the answers can be heard; say the ms of each round trip."""
    client = connected("asker")
    client.join_room("answers")
    await_own_echo(client)
    taken = []
    end = time.perf_counter() + seconds
    while len(taken) <= WARM_UP or time.perf_counter() < end:
        began = time.perf_counter()
        client.send({"TYPE": TEXT.id, "ID": uuid.uuid4().hex, "TO_ROOM": "questions", "DATA": DATA})
        message = client.receive()
        while message is not False and message.get("TO_ROOM") != "answers":
            message = client.receive()
        if message is False:
            sys.exit("the server closed the link before an answer")
        taken.append((time.perf_counter() - began) * 1000)
    say(milliseconds=taken[WARM_UP:])
    client.listen()  # whoever leaves is taken for failed


prepare()
if sys.argv[2] == "answerer":
    answerer()
else:
    asker(float(sys.argv[3]))
