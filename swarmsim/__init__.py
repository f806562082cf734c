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
    from swarmsim.report import Report
    from swarmsim.results.history import History
    from swarmsim.running import run
    from swarmsim.views.terminal import TerminalReport

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
    "Report",
    "Server",
    "SettingsError",
    "Swarm",
    "SwarmError",
    "TerminalReport",
    "Trigger",
    "WaitTimeout",
    "run",
]


# Imported, and Gymnasium with it, only once they are asked for.
_LATER = {
    "History": "swarmsim.results.history",
    "Report": "swarmsim.report",
    "TerminalReport": "swarmsim.views.terminal",
    "run": "swarmsim.running",
}


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
