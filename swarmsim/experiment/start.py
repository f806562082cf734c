"""Starting the main job, or joining one that runs already; either gives its control."""

from collections.abc import Iterable
from contextlib import ExitStack

from threadpoolctl import threadpool_limits

from swarmsim.components.control import Control
from swarmsim.components.main_job import CONTROL, ENVIRONMENT, OBSERVATION, await_all
from swarmsim.components.role import Role
from swarmsim.components.supervision import Supervision
from swarmsim.config import Config
from swarmsim.launcher.supervisor import OnHealed, RestartPolicy, Supervisor
from swarmsim.launcher.swarm import Swarm
from swarmsim.messaging.client import Client
from swarmsim.messaging.endpoint import Address


def start_main_job(
    stack: ExitStack, config: Config, roles: Iterable[Role], on_healed: OnHealed = lambda *_: None
) -> tuple[Swarm, Control]:
    """Start `roles`, and control in this process, until `stack` ends; `on_healed` gets each failure that was healed."""
    if config.link == "inprocess":
        stack.enter_context(threadpool_limits(1))
    swarm = Swarm(None, link=config.link, start_method=config.start_method, start_timeout=config.start_timeout)
    stack.enter_context(swarm)
    address = swarm.serve()
    client = stack.enter_context(Client("control", *address))
    roles = list(roles)
    for role in roles:
        n_environments = 2 * config.n_envs if role.name == ENVIRONMENT else 0  # for training and for evaluations
        swarm.add_role(role, address, config.start_timeout * (1 + n_environments))
    supervision = Supervision(list(swarm.components))
    if config.link != "inprocess":
        models = [role.name for role in roles if role.is_expendable]
        policy = RestartPolicy(config.restart, config.max_restarts)
        supervision = Supervisor(swarm, client, policy, models, on_healed)
    control = Control(client, CONTROL, OBSERVATION, config.timeout, supervision)
    swarm.start()
    supervision.start()
    return swarm, control


def join_main_job(stack: ExitStack, config: Config, address: Address, secret: str | None) -> Control:
    """Join running components as their control, until `stack` ends; raises WaitTimeout if a component is missing."""
    client = stack.enter_context(Client("control", *address, secret=secret))
    await_all(client, config.population, config.timeout)
    return Control(client, CONTROL, OBSERVATION, config.timeout)
