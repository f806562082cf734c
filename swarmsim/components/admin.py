"""AdminHandlers: any component can be asked to save and to load its weights and its settings."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.fields import LONGEST_NAME, component_ids, genome, invalid_field, strings
from swarmsim.errors import MessageRefused, SettingsError, unknown
from swarmsim.messaging.client import Client, Trigger
from swarmsim.messaging.message import MESSAGE_TYPE, Message
from swarmsim.settings import checked

Settings = TypeVar("Settings")
Weights = Mapping[str, NDArray[np.float32]]

_COMMAND, _LOG = MESSAGE_TYPE.COMMAND, MESSAGE_TYPE.LOG


@runtime_checkable
class Weighted(Protocol):
    """What has weights, by the names of the components that it answers for."""

    def weights(self) -> Weights:
        """Return each component's weights (G,)."""

    def load_weights(self, weights: Weights) -> None:
        """Go on with these weights, each of the length of those that it replaces, and finite."""


@runtime_checkable
class Settled(Protocol):
    """What has settings: JSON values by their names."""

    def settings(self) -> Mapping[str, Any]:
        """Return them as they stand now."""


@runtime_checkable
class Adjustable(Protocol):
    """What has settings that can change while it runs."""

    def load_settings(self, values: Mapping[str, Any]) -> None:
        """Go on with these values.

        Raises:
            SettingsError: one of them cannot be used; nothing has changed.
        """


def changed(settings: Settings, values: Mapping[str, Any], fixed: Collection[str] = ()) -> Settings:
    """Return a dataclass of settings with `values` laid over it, checked by its fields.

    Args:
        fixed: those that cannot change while a component runs.

    Raises:
        SettingsError: one of `values` is unknown, fixed, of a wrong type or out of bounds.
    """
    for key in values:
        if key in fixed:
            raise SettingsError(f"SETTINGS: {key} cannot change while a component runs")
    return replace(settings, **checked(type(settings), values, "SETTINGS"))  # type: ignore[type-var]


class AdminHandlers:
    """Answers, for one component, who asks it to save or load: always the asker alone.

    Args:
        component: may be `Weighted`, `Settled` and `Adjustable`.
        names: of the components that it answers for.
    """

    def __init__(self, client: Client, component: object, names: Sequence[str]) -> None:
        self.client = client
        self.component = component
        self.names = list(names)

    def attend(self) -> None:
        """Heed such commands from now on, in whichever room they come, and those to this component alone."""
        for command, deed in (
            (_COMMAND.SAVEMODELWEIGHTS, self._save_weights),
            (_COMMAND.LOADMODELWEIGHTS, self._load_weights),
            (_COMMAND.SAVESETTINGS, self._save_settings),
            (_COMMAND.LOADSETTINGS, self._load_settings),
        ):
            self.client.add_eventHandler(self._answering(deed), trigger=Trigger(command))

    def _answering(self, deed: Callable[[Message, list[str]], Message | None]) -> Callable[[Message], Message | None]:
        """Return what has `deed` done for those that a message means; whoever asks is told what cannot be used."""

        def answer(message: Message) -> Message | None:
            names = self.names
            try:
                names = self._meant(message)
                told = deed(message, names) if names else None
            except (MessageRefused, SettingsError) as error:
                sentence = str(error)[:LONGEST_NAME]
                self.client.log_rejected("left out what it got", sentence)
                told = _told(_LOG.CUSTOM.id, names, ERROR=sentence)
            asker = message.get("SENT_BY")
            return None if told is None or not isinstance(asker, str) else {**told, "TO": asker}

        return answer

    def _meant(self, message: Message) -> list[str]:
        """Return which of these components a message means."""
        if "COMPONENT" in message:
            asked = component_ids(message, "COMPONENT")
            return self.names if self.client.name in asked else [name for name in self.names if name in asked]
        return [message["TO"]] if message.get("TO") in self.names else self.names

    @staticmethod
    def _is_for_all(message: Message) -> bool:
        """Tell whether a message means everybody in a room: who has nothing to do with it may stay silent."""
        return "TO" not in message and "COMPONENT" not in message

    def _save_weights(self, message: Message, names: list[str]) -> Message | None:
        if not isinstance(self.component, Weighted):
            return None if self._is_for_all(message) else _told(_LOG.MODELWEIGHTS.id, names, WEIGHTS=[])
        weights = self.component.weights()
        return _told(_LOG.MODELWEIGHTS.id, names, WEIGHTS=np.stack([weights[name] for name in names]))

    def _load_weights(self, message: Message, names: list[str]) -> Message | None:
        if not isinstance(self.component, Weighted):
            if self._is_for_all(message):
                return None
            raise SettingsError(f"{self.client.name} has no weights")
        given = self._weights_given(message, names)
        meant = [name for name in names if name in given]
        if not meant and self._is_for_all(message):
            return None
        if not meant or (len(meant) < len(names) < len(self.names)):
            raise invalid_field({}, "WEIGHTS", f"a vector of weights for each of {', '.join(names[:5])}")
        present = self.component.weights()
        self.component.load_weights({n: genome(message, "WEIGHTS", given[n], present[n].size) for n in meant})
        return _told(_LOG.CUSTOM.id, meant, STATUS="LOADED")

    def _weights_given(self, message: Message, names: list[str]) -> Mapping[str, object]:
        """Return what WEIGHTS holds by component; vectors are in the order of COMPONENT, or else of the addressee's."""
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
        settings = dict(self.component.settings()) if isinstance(self.component, Settled) else {}
        asked = strings(message, "SETTINGS")
        for name in asked:
            if name not in settings:
                raise SettingsError(f"SETTINGS: {unknown('setting', name, settings)}")
        told = {name: settings[name] for name in asked} if asked else settings
        return _told(_LOG.SETTINGS.id, names, SETTINGS=told)

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
        return _told(_LOG.CUSTOM.id, names, STATUS="LOADED")


def _told(type_id: str, names: list[str], **fields: object) -> Message:
    return {"TYPE": type_id, "COMPONENT": names, **fields}
