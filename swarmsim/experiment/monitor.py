"""The monitor stands between control and the report of a run: it adds component states, a rate limit and Ctrl+C."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

from swarmsim.components.observer import Observer
from swarmsim.components.results import ComponentSnapshot
from swarmsim.launcher.child import Child
from swarmsim.results.history import History
from swarmsim.views.report import ComponentStatus, Report

SNAPSHOT_SECONDS = 0.1  # the least time between two snapshots, since every component answers each


class Monitor(Observer):
    """Forwards what control observes to a report, and what the report wants to control.

    Args:
        components: those that this process started, by their names.
        was_interrupted: whether the user pressed Ctrl+C.
    """

    def __init__(
        self, report: Report, history: History, components: Mapping[str, Child], was_interrupted: Callable[[], bool]
    ) -> None:
        self._report = report
        self._history = history
        self._components = components
        self._was_interrupted = was_interrupted
        self._reported: dict[str, ComponentStatus] = {}
        self._last_snapshot = time.monotonic()

    def waiting(self) -> None:
        failures = Counter(failure["component"] for failure in self._history.failures)
        statuses = {
            name: ComponentStatus(component.state, component.process_id, failures[name])
            for name, component in self._components.items()
        }
        if statuses != self._reported:
            self._reported = statuses
            self._report.components_changed(statuses)
        self._report.waiting()

    def component_seen(self, snapshot: ComponentSnapshot) -> None:
        self._history.count_messages(snapshot.component, snapshot.received)
        self._report.component_seen(snapshot)

    def wants_snapshot(self) -> bool:
        now = time.monotonic()
        if now < self._last_snapshot + SNAPSHOT_SECONDS or not self._report.wants_snapshot():
            return False
        self._last_snapshot = now
        return True

    def wants_pause(self) -> bool:
        return self._report.wants_pause()

    def wants_stop(self) -> bool:
        return self._was_interrupted() or self._report.wants_stop()
