"""Looking on at a swarm while control waits, for the report and the history of a run."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

from swarmsim.components.observer import Observer
from swarmsim.components.results import ComponentSnapshot
from swarmsim.launcher.child import Child
from swarmsim.results.history import History
from swarmsim.views.report import ComponentStatus, Report

LEAST_SECONDS = 0.1  # between two looks, since every component answers each


class Monitor(Observer):
    """Tells a report how the components do and what they show, and has done what it wants.

    Args:
        components: of the swarm that this process has started.
        was_interrupted: whether the user wants the run to end.
    """

    def __init__(
        self,
        report: Report,
        history: History,
        components: Mapping[str, Child],
        was_interrupted: Callable[[], bool],
    ) -> None:
        self._report = report
        self._history = history
        self._components = components
        self._was_interrupted = was_interrupted
        self._told: dict[str, ComponentStatus] = {}
        self._looked_at = time.monotonic()

    def waiting(self) -> None:
        failures = Counter(failure["component"] for failure in self._history.failures)
        now = {
            name: ComponentStatus(component.state, component.process_id, failures[name])
            for name, component in self._components.items()
        }
        if now != self._told:
            self._told = now
            self._report.components_changed(now)

    def wants_snapshot(self) -> bool:
        now = time.monotonic()
        if now < self._looked_at + LEAST_SECONDS or not self._report.wants_snapshot():
            return False
        self._looked_at = now
        return True

    def component_seen(self, sight: ComponentSnapshot) -> None:
        self._history.count_messages(sight.component, sight.received)
        self._report.component_seen(sight)

    def wants_stop(self) -> bool:
        return self._was_interrupted() or self._report.wants_stop()

    def wants_pause(self) -> bool:
        return self._report.wants_pause()
