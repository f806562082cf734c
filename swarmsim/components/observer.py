"""The observer of a swarm: what control tells it while it waits, and what it may want of control."""

from swarmsim.components.results import ComponentSnapshot


class Observer:
    """Observes a swarm while control waits; this one ignores all events and wants nothing."""

    def waiting(self) -> None:
        """Control waits; called some twenty times a second."""

    def component_seen(self, snapshot: ComponentSnapshot) -> None:
        """A component's snapshot arrived: after each round, and whenever this observer wanted one."""

    def wants_snapshot(self) -> bool:
        """Return whether control is to ask all components for a snapshot now; a report is asked at most every 0.1 s."""
        return False

    def wants_pause(self) -> bool:
        """Return whether the run is to pause; it continues once this is False again."""
        return False

    def wants_stop(self) -> bool:
        """Return whether the run is to stop now, with a checkpoint from which it can be resumed."""
        return False
