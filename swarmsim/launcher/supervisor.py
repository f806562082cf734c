"""Supervision: components that died are announced to the others, replaced, or end the run."""

from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from swarmsim.components.supervision import Supervision
from swarmsim.errors import ComponentFailed
from swarmsim.launcher.child import Child
from swarmsim.launcher.swarm import Swarm
from swarmsim.messaging.client import Client

Restart = Literal["on-failure", "never"]
Told = Callable[[ComponentFailed, str], None]  # a failure, and what became of it


@dataclass(frozen=True)
class Policy:
    """Whether, and how often within one round, a component that died is replaced by another process."""

    restart: Restart
    max_restarts: int


class Supervisor(Supervision):
    """Heals the components of a swarm while control waits for them.

    Args:
        client: of the launcher; it tells the others who has gone.
        expendable: components without which, as long as one of them is left, the swarm can go on.
        tell: is told of each failure, and what became of it.
    """

    def __init__(self, swarm: Swarm, client: Client, policy: Policy, expendable: Collection[str], tell: Told) -> None:
        super().__init__(list(swarm.components))
        self.swarm = swarm
        self.client = client
        self.policy = policy
        self.tell = tell
        self._expendable = set(expendable)
        self._restarts: Counter[str] = Counter()
        self._failed: deque[Child] = deque()

    def start(self) -> None:
        """Look after the components from now on, which have been started."""
        for component in self.swarm.components.values():
            component.on_failure = self._failed.append

    def reset_restart_counts(self) -> None:
        """Count restarts anew."""
        self._restarts.clear()

    def heal(self) -> bool:
        was_replaced = False
        while self._failed:
            component = self._failed.popleft()
            if component.process_id is not None:
                self.client.remove_member(component.process_id)
            assert component.failure is not None
            was_replaced |= self._heal(component, component.failure)
        return was_replaced

    def declare_dead(self, silent: list[str], reason: str) -> None:
        for name in silent:
            self.swarm.components[name].kill("Silent", reason)

    def _heal(self, component: Child, failure: ComponentFailed) -> bool:
        """Replace a component that failed, or go on without it; tell whether it was replaced.

        Raises:
            ComponentFailed: neither is possible.
        """
        name = component.name
        while self.policy.restart == "on-failure" and self._restarts[name] < self.policy.max_restarts:
            self._restarts[name] += 1
            try:
                self.swarm.start(name)
            except ComponentFailed as again:
                failure = again
                continue
            self.tell(failure, f"replaced, {self._restarts[name]} of at most {self.policy.max_restarts} times a round")
            return True
        others = self._expendable - {name}
        if self.policy.restart == "on-failure" or name not in self._expendable or not others:
            self.names.remove(name)
            self.failure = failure
            raise failure
        self._expendable = others
        self.swarm.stop(name)
        self.names.remove(name)
        self.tell(failure, "the swarm goes on without it")
        return False
