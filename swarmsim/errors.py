"""Every error that swarmsim raises on purpose, and the sentence for a name that it does not know."""

from collections.abc import Iterable
from difflib import get_close_matches


class SwarmError(Exception):
    """Base of all errors of this package; its text is one sentence for the user."""


class SettingsError(SwarmError):
    """A flag, YAML key, value, file or environment that cannot be used."""


class MessageError(SwarmError):
    """A message that cannot be sent or read as it stands."""


class AddressError(SwarmError):
    """No swarm serves an address, or another one already does."""


class LinkClosed(SwarmError):
    """The swarm has stopped, or this client has left it."""


class StopRequested(LinkClosed):
    """The launcher asks this component to stop, or is itself gone."""


class WaitTimeout(SwarmError):
    """What was waited for did not come within its bound."""


class ComponentFailed(SwarmError):
    """A component raised, ended unasked or was killed.

    Attributes:
        component: its name.
        error_type: the class name of what it raised, or `ProcessEnded`.
        message: the text of what it raised.
        traceback_text: its own traceback, empty where its process could no longer tell.
    """

    def __init__(self, component: str, error_type: str, message: str, traceback_text: str = "") -> None:
        super().__init__(f"component {component!r} failed: {error_type}: {message}")
        self.component = component
        self.error_type = error_type
        self.message = message
        self.traceback_text = traceback_text
        if traceback_text:
            self.add_note(f"In component {component!r}:\n{traceback_text}")


def unknown(kind: str, name: object, allowed: Iterable[str], *, show: int = 12) -> str:
    """Return the sentence for an unknown `name`: the first `show` allowed ones, and the nearest of all."""
    choices = sorted(allowed)
    listed = ", ".join(choices[:show]) + (", …" if len(choices) > show else "")
    known = f"; known: {listed or 'none'}" if show else ""
    return f"unknown {kind} {name!r}{known}{nearest(name, choices)}"


def nearest(name: object, allowed: Iterable[str]) -> str:
    """Return the end of a sentence that names the allowed name nearest to `name`; empty where none is near."""
    found = get_close_matches(str(name), sorted(allowed), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


class Stalled(WaitTimeout):
    """Nobody is left who could send what is waited for."""


class MessageRefused(MessageError):
    """A message that reached its receiver and holds what that cannot use."""
