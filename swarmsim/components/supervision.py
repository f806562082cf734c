"""Looking after the components of a swarm: what control asks of whoever started them."""

from swarmsim.errors import ComponentFailed


class Supervision:
    """Who looks after the components while control waits; this one can do nothing for them.

    Attributes:
        names: the components that must answer when they are asked.
        failed: the failure that could not be healed, if there was one.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.failed: ComponentFailed | None = None

    def begin(self) -> None:
        """Look after the components from now on, which have been started."""

    def begin_round(self) -> None:
        """Forget what was healed before."""

    def look(self) -> bool:
        """Heal what has failed; tell whether anybody was replaced, who then knows nothing of an open request.

        Raises:
            ComponentFailed: it cannot be healed.
        """
        return False

    def end(self, silent: list[str], why: str) -> None:
        """Treat components that do not answer as dead; the next `look` heals them."""
