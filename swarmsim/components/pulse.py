"""A pulse: a component whose work takes long tells control now and then that it goes on, as it answers nothing else."""

import time

from swarmsim.components.protocol.command import Pong
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE

PULSES_IN_TIMEOUT = 8


class Pulse:
    """Call `begin` where work begins, and the pulse itself often during it.

    Args:
        control_room: where it is sent.
        timeout: seconds that control waits for a message.
    """

    def __init__(self, client: Client, control_room: str, timeout: float) -> None:
        self.client = client
        self.control_room = control_room
        self.seconds = timeout / PULSES_IN_TIMEOUT
        self.begin()

    def begin(self) -> None:
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > self.seconds:
            self.begin()
            message = {"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "TO_ROOM": self.control_room}
            self.client.send({**message, **Pong().fields()})
