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
from swarmsim.launcher.swarm import Swarm
from swarmsim.messaging.client import Client
from swarmsim.messaging.handlers import Trigger
from swarmsim.messaging.message import MESSAGE_TYPE, MODEL_STATUS
from swarmsim.messaging.server import Server

if TYPE_CHECKING:
    from swarmsim.experiment.run import run
    from swarmsim.policy import SwarmPolicy, load_policy
    from swarmsim.results.history import History
    from swarmsim.views.report import Report
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
    "SwarmPolicy",
    "TerminalReport",
    "Trigger",
    "WaitTimeout",
    "load_policy",
    "run",
]


_LAZY = {
    "History": "swarmsim.results.history",
    "Report": "swarmsim.views.report",
    "SwarmPolicy": "swarmsim.policy",
    "TerminalReport": "swarmsim.views.terminal",
    "load_policy": "swarmsim.policy",
    "run": "swarmsim.experiment.run",
}


def __getattr__(name: str) -> object:
    """Import the main job, which imports Gymnasium or torch, on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
