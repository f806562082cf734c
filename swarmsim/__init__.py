"""swarmsim: a simulator for swarms of learning models that act as one by exchanging messages in named rooms."""

from importlib import import_module
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
    from swarmsim.policy import SwarmPolicy, load_policy
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
    "SwarmPolicy",
    "Trigger",
    "WaitTimeout",
    "load_policy",
    "run",
]


_LATER = {
    "run": "swarmsim.experiment",
    "History": "swarmsim.results.history",
    "SwarmPolicy": "swarmsim.policy",
    "load_policy": "swarmsim.policy",
}


def __getattr__(name: str) -> object:
    """Import the main job, and Gymnasium or torch with it, only once it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
