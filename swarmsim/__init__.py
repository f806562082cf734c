"""swarmsim: a simulator for swarms of learning models that act as one by exchanging messages in named rooms."""

from typing import TYPE_CHECKING

from swarmsim.config import Config
from swarmsim.errors import (
    AddressError,
    ComponentFailed,
    LinkClosed,
    MessageError,
    SettingsError,
    SwarmError,
    WaitTimeout,
)
from swarmsim.messaging.client import Client, Trigger
from swarmsim.messaging.message import MESSAGE_TYPE, MODEL_STATUS
from swarmsim.messaging.server import Server
from swarmsim.swarm import Swarm

if TYPE_CHECKING:
    from swarmsim.experiment import run
    from swarmsim.results.history import History

__all__ = [
    "MESSAGE_TYPE",
    "MODEL_STATUS",
    "AddressError",
    "Client",
    "ComponentFailed",
    "Config",
    "History",
    "LinkClosed",
    "MessageError",
    "Server",
    "SettingsError",
    "Swarm",
    "SwarmError",
    "Trigger",
    "WaitTimeout",
    "run",
]


def __getattr__(name: str) -> object:
    """Import the main job, and Gymnasium with it, only once it is asked for."""
    if name == "run":
        from swarmsim.experiment import run

        return run
    if name == "History":
        from swarmsim.results.history import History

        return History
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
