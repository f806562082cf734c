"""The wiring of the main job: which component listens in which room, and who starts after whom."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from swarmsim.components.aggregation import Aggregation
from swarmsim.components.environment import Environment, replacement_state
from swarmsim.components.evolution import Evolution
from swarmsim.components.membership import SET, MemberKind
from swarmsim.components.model import Models
from swarmsim.components.rated_aggregation import RatedAggregation
from swarmsim.components.rating_models import RatingModels
from swarmsim.components.role import On, Role, State
from swarmsim.components.schedule import Schedule
from swarmsim.config import Config
from swarmsim.envs.make import EnvSource, Shape
from swarmsim.errors import SettingsError
from swarmsim.learning.hyperparameters import SACSettings
from swarmsim.learning.networks import Architecture
from swarmsim.learning.population import initial_hyperparameters
from swarmsim.learning.sac_networks import SACArchitecture
from swarmsim.learning.seeding import generator
from swarmsim.messaging.client import Client
from swarmsim.messaging.message import MESSAGE_TYPE
from swarmsim.messaging.rooms import COMMAND_ROOM

CONTROL, OBSERVATION, LOGITS, ACTION, EVOLUTION = "control", "observation", "logits", "action", "evolution"
PROPOSAL, RATING = "proposal", "rating"  # of swarms whose critics rate actions
ENVIRONMENT = "environment"

# The reference system's environments are in `observation` too, since they send there, and its models in `logits`.
MODELS = MemberKind(OBSERVATION, but_not_in=ACTION)
AGGREGATIONS = MemberKind(LOGITS, but_not_in=OBSERVATION)
ENVIRONMENTS = MemberKind(ACTION, but_not_in=LOGITS)

_COMMAND = MESSAGE_TYPE.COMMAND

# A step's work counts in rows; a model costs as much as five. Measured by benchmarks/speed.py --only grid.
ROWS_OF_A_MODEL, ROWS_FOR_A_WORKER = 5, 350


def main_job(config: Config, shape: Shape, states: Mapping[str, State] | None = None) -> list[Role]:
    """Return all components but control, in the order of their start; each continues from its state, if it has one."""
    config = config.with_learner(continuous=shape.continuous)
    models = [_models(config, shape, names) for names in packed(config.population, n_workers(config))]
    roles = [_aggregation(config, shape), *models, _evolution(config, shape), _environment(config, shape)]
    return [replace(role, state=(states or {}).get(role.name)) for role in roles]


def one_role(config: Config, shape: Shape, kind: str, models: range) -> Role:
    """Return a component that is started alone: aggregation, evolution, environment, or a process of `models`."""
    config = config.with_learner(continuous=shape.continuous)
    if kind == "model":
        return _models(config, shape, [f"model{i}" for i in models])
    return {"aggregation": _aggregation, "evolution": _evolution, "environment": _environment}[kind](config, shape)


def _aggregation(config: Config, shape: Shape) -> Role:
    if isinstance(config.learning, SACSettings):
        return _rated_aggregation(config)
    return Role(
        "aggregation",
        partial(
            Aggregation,
            models=MODELS,
            seed=config.seed,
            aggregation=config.aggregation,
            modules=config.modules,
            continuous=shape.continuous,
            led_fraction=config.led_fraction,
            leader=config.evolution.leader,
            is_joint=config.learning.is_joint,
            eval_deterministic=config.eval_deterministic,
        ),
        listens=(
            On(LOGITS, Aggregation.collect, answer_in=ACTION, afterwards=Aggregation.update_contributions),
            On(CONTROL, Aggregation.finish_job),
            On(EVOLUTION, Aggregation.report, direct=True),
            On(COMMAND_ROOM, Aggregation.handle_disconnect, answer_in=ACTION, type=_COMMAND.DISCONNECT),
        ),
        announce={"ACKNOWLEDGES": [SET]},
    )


def _rated_aggregation(config: Config) -> Role:
    return Role(
        "aggregation",
        partial(
            RatedAggregation,
            models=MODELS,
            seed=config.seed,
            led_fraction=1.0,
            leader=config.evolution.leader,
            is_joint=False,
            eval_deterministic=config.eval_deterministic,
            proposal_room=PROPOSAL,
            action_room=ACTION,
        ),
        listens=(  # an answer names its room: what completes a step goes to PROPOSAL or to ACTION
            On(LOGITS, RatedAggregation.collect, afterwards=RatedAggregation.update_contributions),
            On(RATING, RatedAggregation.rate),
            On(CONTROL, RatedAggregation.finish_job),
            On(EVOLUTION, RatedAggregation.report, direct=True),
            On(COMMAND_ROOM, RatedAggregation.handle_disconnect, type=_COMMAND.DISCONNECT),
        ),
        announce={"ACKNOWLEDGES": [SET]},
    )


def _models(config: Config, shape: Shape, names: list[str]) -> Role:
    architecture = architecture_of(config, shape)
    rates = isinstance(config.learning, SACSettings)
    models = RatingModels if rates else Models
    return Role(
        process_name(names),
        partial(
            models,
            components=names,
            architecture=architecture,
            learning=config.learning,
            hyperparameters=hyperparameters_of(config, names),
            seed=config.seed,
            timeout=config.timeout,
            control_room=CONTROL,
        ),
        listens=(
            On(OBSERVATION, models.observe, answer_in=LOGITS, direct=True, afterwards=models.learn),
            On(EVOLUTION, Models.exchange),
            *([On(PROPOSAL, RatingModels.rate, answer_in=RATING)] if rates else []),
        ),
        announce={"COMPONENTS": names, "ACKNOWLEDGES": [SET]},
        is_expendable=True,
    )


def architecture_of(config: Config, shape: Shape) -> Architecture:
    """Return the architecture of the models of such a run; raises SettingsError if its learner cannot act there."""
    if isinstance(config.learning, SACSettings):
        if not shape.continuous:
            raise SettingsError(
                f"learner sac needs continuous actions (a Box), and those of {config.env} are discrete: use ppo or a2c"
            )
        return SACArchitecture(
            shape.n_inputs, shape.n_actions, config.learning.hidden, n_critics=config.learning.n_critics
        )
    return Architecture(shape.n_inputs, shape.n_actions, config.learning.hidden, shape.continuous)


def hyperparameters_of(config: Config, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the hyperparameters that models begin with, (P, H); raises SettingsError as `Schedule.of`."""
    schedule = Schedule.of(config)
    if schedule is not None:
        return schedule.before(0, names)
    draws = [generator(config.seed, "hyperparameters", name) for name in names]
    return initial_hyperparameters(config.learning, config.evolution, draws)


def _evolution(config: Config, shape: Shape) -> Role:
    return Role(
        "evolution",
        partial(
            Evolution,
            options=config.evolution,
            hyperparameters=config.learning.of_each_model,
            evolving=config.evolution.evolving(config.learning),
            schedule=Schedule.of(config),
            architecture=architecture_of(config, shape),
            seed=config.seed,
            timeout=config.timeout,
            models=MODELS,
            aggregations=AGGREGATIONS,
            evolution_room=EVOLUTION,
            control_room=CONTROL,
        ),
        listens=(
            On(EVOLUTION, Evolution.collect, direct=True),
            On(CONTROL, Evolution.request_evolution),
            On(COMMAND_ROOM, Evolution.handle_disconnect, type=_COMMAND.DISCONNECT),
            On(COMMAND_ROOM, Evolution.handle_join, type=_COMMAND.JOINROOM),
        ),
    )


def _environment(config: Config, _: Shape) -> Role:
    return Role(
        ENVIRONMENT,
        partial(
            Environment,
            source=EnvSource.of(config),
            n_envs=config.n_envs,
            fewer_envs=config.envs == "auto",
            n_models=config.population,
            seed=config.seed,
            timeout=config.timeout,
            models=MODELS,
            aggregations=AGGREGATIONS,
            control_room=CONTROL,
            normalize_observations=config.normalize_observations,
            eval_env=config.eval_env,
            on_bad_value=config.on_bad_value,
        ),
        listens=(
            On(ACTION, Environment.act),
            On(CONTROL, Environment.request_job),
            On(CONTROL, Environment.pause),
            On(COMMAND_ROOM, Environment.handle_join, type=_COMMAND.JOINROOM),
        ),
        replacement_state=replacement_state,
    )


def await_all(client: Client, population: int, timeout: float) -> None:
    """Wait until all components but control are present.

    Raises:
        WaitTimeout: some are still missing after `timeout` seconds.
    """
    for kind, number in ((MODELS, population), (AGGREGATIONS, 1), (ENVIRONMENTS, 1)):
        kind.wait(client, number, timeout)
    client.await_components(EVOLUTION, population + 2, timeout)  # the models, the aggregation, and the evolution


def n_workers(config: Config) -> int:
    """Return how many model processes to start.

    `auto` starts one more process as long as the arithmetic it takes over costs more than its messages do, up to one
    for each core that this process may use.
    """
    if config.workers != "auto":
        return config.workers
    rows = config.population * (ROWS_OF_A_MODEL + config.n_envs + config.learning.replayed_per_step)
    return max(1, min(int(rows / ROWS_FOR_A_WORKER), len(os.sched_getaffinity(0)), config.population))


def packed(population: int, workers: int) -> list[list[str]]:
    """Return the names of each process's models, in order and as evenly as possible."""
    bounds = [population * worker // workers for worker in range(workers + 1)]
    return [[f"model{i}" for i in range(start, end)] for start, end in pairwise(bounds)]


def process_name(models: list[str]) -> str:
    """Return the name of a process of these models: model3, or models0-9."""
    first, last = models[0], models[-1]
    return first if len(models) == 1 else f"{first.replace('model', 'models')}-{last.removeprefix('model')}"
