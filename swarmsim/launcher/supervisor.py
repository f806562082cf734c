"""Restarts components that died, continues without them, or ends the run; the other components are told."""

from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from swarmsim.components.supervision import Supervision
from swarmsim.errors import BadValue, ComponentFailed
from swarmsim.launcher.child import Child
from swarmsim.launcher.swarm import Swarm
from swarmsim.messaging.client import Client

OnHealed = Callable[[ComponentFailed, str], None]  # a failure, and how it was healed


@dataclass(frozen=True)
class RestartPolicy:
    """Whether a component that died is restarted, and how often within one round."""

    restart: Literal["on-failure", "never"]
    max_restarts: int


class Supervisor(Supervision):
    """Supervises the components of a swarm.

    Args:
        client: the launcher's; it announces to the others that a member has left.
        expendable: components that the swarm can lose, except for the last of them.
        on_healed: called with each failure that was healed, and how.
    """

    def __init__(
        self, swarm: Swarm, client: Client, policy: RestartPolicy, expendable: Collection[str], on_healed: OnHealed
    ) -> None:
        super().__init__(list(swarm.components))
        self.swarm = swarm
        self.client = client
        self.policy = policy
        self.on_healed = on_healed
        self._expendable = set(expendable)
        self._restarts: Counter[str] = Counter()
        self._failed: deque[Child] = deque()

    def start(self) -> None:
        for component in self.swarm.components.values():
            component.on_failure = self._failed.append

    def reset_restart_counts(self) -> None:
        self._restarts.clear()

    def heal(self) -> bool:
        was_restarted = False
        while self._failed:
            component = self._failed.popleft()
            assert component.failure is not None
            try:
                if component.process_id is not None:
                    self.client.remove_member(component.process_id)
            except OSError:  # the machine lacks what the component lacked
                self.failure = component.failure
                raise component.failure from None
            was_restarted |= self._restart_or_drop(component.name, component.failure)
        return was_restarted

    def declare_dead(self, silent: list[str], reason: str) -> None:
        for name in silent:
            self.swarm.components[name].kill("Silent", reason)

    def _restart_or_drop(self, name: str, failure: ComponentFailed) -> bool:
        """Restart a failed component (True) or continue without it (False); raises a failure if neither is possible."""
        is_curable = failure.error_type != BadValue.__name__  # a replacement would get the same value, or hide it
        while is_curable and self.policy.restart == "on-failure" and self._restarts[name] < self.policy.max_restarts:
            self._restarts[name] += 1
            try:
                self.swarm.start(name)
            except ComponentFailed as failed_start:
                failure = failed_start
                continue
            count = f"{self._restarts[name]} of at most {self.policy.max_restarts} times a round"
            self.on_healed(failure, f"replaced, {count}")
            return True
        others = self._expendable - {name}
        if self.policy.restart == "on-failure" or name not in self._expendable or not others:
            self.names.remove(name)
            self.failure = failure
            raise failure
        self._expendable = others
        self.swarm.stop(name)
        self.names.remove(name)
        self.on_healed(failure, "the swarm continues without it")
        return False
