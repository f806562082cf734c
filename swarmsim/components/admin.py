"""Administration: any component can be asked for its weights and settings, and can be given others."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import LONGEST_NAME, component_ids, genome, invalid_field, strings
from swarmsim.errors import MessageRefused, SettingsError, unknown
from swarmsim.messaging.client import Client
from swarmsim.messaging.handlers import Trigger
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.names import exact
from swarmsim.settings import checked

Settings = TypeVar("Settings")
Weights = Mapping[str, NDArray[np.float32]]

WIRE_BITS = 63  # of a whole number in a message
_COMMAND, _LOG = MESSAGE_TYPE.COMMAND, MESSAGE_TYPE.LOG


@runtime_checkable
class Weighted(Protocol):
    """A component that has weights, by the names of the components that it answers for."""

    def weights(self) -> Weights:
        """Return the weights (G,) of each component."""

    def load_weights(self, weights: Weights) -> None:
        """Replace weights; each vector is finite, and as long as the one before."""


@runtime_checkable
class Configured(Protocol):
    """A component that has settings: JSON values by their names."""

    def settings(self) -> Mapping[str, Any]:
        """Return the settings as they are now."""


@runtime_checkable
class Adjustable(Protocol):
    """A component whose settings can change while it runs."""

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Continue with these values.

        Raises:
            SettingsError: one of them cannot be used; nothing has changed.
        """


def changed(settings: Settings, values: Mapping[str, Any], fixed: Collection[str] = ()) -> Settings:
    """Return a dataclass of settings with `values` instead of its own, checked by its fields.

    Args:
        fixed: names of settings that cannot change while a component runs.

    Raises:
        SettingsError: one of `values` is unknown, fixed, of a wrong type or out of bounds.
    """
    for key in values:
        if key in fixed:
            raise SettingsError(f"SETTINGS: {key} cannot change while a component runs")
    return replace(settings, **checked(type(settings), values, "SETTINGS"))  # type: ignore[type-var]


class AdminHandlers:
    """Handles the requests to save or load one process's weights and settings; the reply goes to its sender alone."""

    def __init__(self, client: Client, component: object, names: Sequence[str]) -> None:
        self.client = client
        self.component = component  # may be `Weighted`, `Configured` and `Adjustable`
        self.names = list(names)  # of the components that the process answers for

    def register(self) -> None:
        """Handle these requests from now on, in every room and as direct messages."""
        for command, action in (
            (_COMMAND.SAVEMODELWEIGHTS, self._save_weights),
            (_COMMAND.LOADMODELWEIGHTS, self._load_weights),
            (_COMMAND.SAVESETTINGS, self._save_settings),
            (_COMMAND.LOADSETTINGS, self._load_settings),
        ):
            self.client.add_eventHandler(self._replying(action), trigger=Trigger(command))

    def _replying(self, action: Callable[[Message, list[str]], Message | None]) -> Callable[[Message], Message | None]:
        """Return a handler that calls `action` with the components a message addresses, and replies also to errors."""

        def handle(message: Message) -> Message | None:
            names = self.names
            try:
                names = self._addressed(message)
                reply = action(message, names) if names else None
            except (MessageRefused, SettingsError) as error:
                sentence = str(error)[:LONGEST_NAME]
                self.client.log_rejected("ignored an invalid message", sentence)
                reply = _reply(_LOG.CUSTOM.id, names, ERROR=sentence)
            sender = message.get("SENT_BY")
            return None if reply is None or not isinstance(sender, str) else {**reply, "TO": sender}

        return handle

    def _addressed(self, message: Message) -> list[str]:
        """Return the components of this process that a message addresses."""
        if "COMPONENT" in message:
            wanted = component_ids(message, "COMPONENT")
            return self.names if self.client.name in wanted else [name for name in self.names if name in wanted]
        return [message["TO"]] if message.get("TO") in self.names else self.names

    @staticmethod
    def _is_for_all(message: Message) -> bool:
        """Return whether a message addresses a whole room: components that cannot serve it need not reply."""
        return "TO" not in message and "COMPONENT" not in message

    def _save_weights(self, message: Message, names: list[str]) -> Message | None:
        if not isinstance(self.component, Weighted):
            return None if self._is_for_all(message) else _reply(_LOG.MODELWEIGHTS.id, names, WEIGHTS=[])
        weights = self.component.weights()
        return _reply(_LOG.MODELWEIGHTS.id, names, WEIGHTS=np.stack([weights[name] for name in names]))

    def _load_weights(self, message: Message, names: list[str]) -> Message | None:
        if not isinstance(self.component, Weighted):
            if self._is_for_all(message):
                return None
            raise SettingsError(f"{self.client.name} has no weights")
        given = self._weights_given(message, names)
        chosen = [name for name in names if name in given]
        if not chosen and self._is_for_all(message):
            return None
        if not chosen or (len(chosen) < len(names) < len(self.names)):
            raise invalid_field({}, "WEIGHTS", f"a vector of weights for each of {', '.join(names[:5])}")
        present = self.component.weights()
        self.component.load_weights({n: genome(message, "WEIGHTS", given[n], present[n].size) for n in chosen})
        return _reply(_LOG.CUSTOM.id, chosen, STATUS="LOADED")

    def _weights_given(self, message: Message, names: list[str]) -> Mapping[str, object]:
        """Return the vectors of WEIGHTS by component; a list of them is in the order of COMPONENT, else of `names`."""
        value = message.get("WEIGHTS")
        if isinstance(value, Mapping):
            return value
        if self._is_for_all(message):
            raise invalid_field(message, "WEIGHTS", "a mapping of components, or comes with COMPONENT, their order,")
        order = component_ids(message, "COMPONENT") if "COMPONENT" in message else tuple(names)
        if order == (self.client.name,):
            order = tuple(names)
        if not isinstance(value, list | tuple) and not (isinstance(value, np.ndarray) and value.ndim):
            raise invalid_field(message, "WEIGHTS", "made of vectors of weights")
        vectors = [value] if len(order) == 1 and len(value) > 1 else value
        if len(vectors) != len(order):
            raise invalid_field(message, "WEIGHTS", f"one vector of weights for each of {len(order)} component(s)")
        return dict(zip(order, vectors, strict=True))

    def _save_settings(self, message: Message, names: list[str]) -> Message:
        settings = dict(self.component.settings()) if isinstance(self.component, Configured) else {}
        chosen = strings(message, "SETTINGS") or list(settings)
        for name in chosen:
            if name not in settings:
                raise SettingsError(f"SETTINGS: {unknown('setting', name, settings)}")
        return _reply(_LOG.SETTINGS.id, names, SETTINGS={name: exact(settings[name], WIRE_BITS) for name in chosen})

    def _load_settings(self, message: Message, names: list[str]) -> Message:
        values = message["SETTINGS"]
        if not isinstance(values, Mapping):
            raise invalid_field(message, "SETTINGS", "a mapping of settings")
        strings({**message, "SETTINGS": list(values)}, "SETTINGS")
        if not isinstance(self.component, Adjustable):
            raise SettingsError(f"{self.client.name} has no settings that can change while it runs")
        if len(names) < len(self.names):
            raise SettingsError(f"{', '.join(self.names)} have the same settings: name all of them, or none")
        self.component.load_settings(values)
        return _reply(_LOG.CUSTOM.id, names, STATUS="LOADED")


def _reply(type_id: str, names: list[str], **fields: object) -> Message:
    return {"TYPE": type_id, "COMPONENT": names, **fields}
