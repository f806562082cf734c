"""Watching a swarm: what control asks of whoever looks on while it waits, and tells them."""

from swarmsim.components.results import ComponentSnapshot


class Observer:
    """Who looks on while control waits; this one looks at nothing, and wants nothing."""

    def waits(self) -> None:
        """Notice that control waits, as it does some twenty times a second."""

    def wants_snapshot(self) -> bool:
        """Tell whether all components are to be looked at now."""
        return False

    def seen(self, sight: ComponentSnapshot) -> None:
        """Take in what a component shows of itself."""

    def is_interrupted(self) -> bool:
        """Tell whether control is to stop waiting for a run, by raising Interrupted."""
        return False

    def wants_pause(self) -> bool:
        """Tell whether a run is to stand still, until it is not any more."""
        return False
