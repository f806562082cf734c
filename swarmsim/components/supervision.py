"""What control asks of the launcher when components fail."""

from swarmsim.errors import ComponentFailed


class Supervision:
    """Supervises the components while control waits; this base class, for components started elsewhere, does nothing.

    Attributes:
        names: the components that must answer control.
        failure: the failure that could not be healed, if there was one.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.failure: ComponentFailed | None = None

    def start(self) -> None:
        """Supervise the components from now on; all of them have been started."""

    def reset_restart_counts(self) -> None:
        """Allow each component its full number of restarts again."""

    def heal(self) -> bool:
        """Restart the components that failed, or continue without them.

        Returns:
            Whether a component was restarted: it does not know the open request.

        Raises:
            ComponentFailed: neither is possible.
        """
        return False

    def declare_dead(self, silent: list[str], reason: str) -> None:
        """Kill components that do not answer; the next `heal` handles them as failed."""
