"""The main job: train → evaluate → evolve → evaluate, round by round, and the History of it."""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from swarmsim.components.control import Control, EvolutionResult, RunResult
from swarmsim.components.episodes import Shape, shape_of
from swarmsim.components.main_job import CONTROL, OBSERVATION, main_job, n_workers
from swarmsim.components.role import Role
from swarmsim.config import Config, make_config, merged, read_file
from swarmsim.errors import SettingsError
from swarmsim.messaging.client import Client
from swarmsim.results.history import History, Round
from swarmsim.results.run_directory import RunDirectory
from swarmsim.swarm import Swarm

TRAIN, EVALUATE, EVOLVE, EVALUATE_EVOLVED = "train", "evaluate", "evolve", "evaluate again"


class Report:
    """What an experiment tells while it runs; this one says nothing."""

    def began(self, history: History, n_rounds: int) -> None:
        """The swarm stands."""

    def phase_began(self, round_number: int, phase: str, n_episodes: int) -> None:
        """A phase of a round begins; an evolution has no episodes."""

    def episodes_ended(self, returns: Iterable[float], n_steps: int) -> None:
        """Episodes of this phase ended with these returns, after `n_steps` steps of it in all."""

    def phase_ended(self, round_number: int, phase: str, result: RunResult | EvolutionResult) -> None:
        """A phase of a round is done."""

    def round_ended(self, record: Round) -> None:
        """A round is done, and kept."""

    def close(self) -> None:
        """Nothing more will be told."""


def start_main_job(stack: ExitStack, config: Config, roles: Iterable[Role]) -> tuple[Swarm, Control]:
    """Start `roles`, all components but control, which is this process, and have them stopped with `stack`."""
    assert config.link != "sockets"
    if config.link == "inprocess":
        stack.enter_context(threadpool_limits(1))
    swarm = stack.enter_context(Swarm(None, link=config.link, start_method=config.start_method))
    address = swarm.serve()
    client = stack.enter_context(Client("control", *address))
    control = Control(client, CONTROL, OBSERVATION, config.timeout)
    for role in roles:
        swarm.add_role(role, address)
    swarm.start()
    return swarm, control


class Experiment:
    """One run of the main job.

    Attributes:
        history: the rounds done so far; it stays where a run fails or is interrupted.

    Raises:
        SettingsError: what was asked for cannot be run.
    """

    def __init__(self, config: Config, report: Report | None = None) -> None:
        if config.link == "sockets":
            raise SettingsError("link: sockets is not there yet; queues and inprocess are")
        if config.components:
            raise SettingsError("components: these scripts are for Swarm(config_file); the main job brings its own")
        self.config = config
        self.report = report or Report()
        self.shape: Shape = shape_of(config.env)
        self.workers = n_workers(config.workers, config.population, config.envs)
        self.history = History(
            settings={
                "seed": config.seed,
                "env": config.env,
                "population": config.population,
                "workers": self.workers,
                "link": config.link,
                "preset": config.preset,
            }
        )

    def run(self) -> History:
        """Run all rounds, and return their history.

        Raises:
            SettingsError: the run directory cannot be used.
            ComponentFailed: a component failed; the rounds before are kept.
            WaitTimeout: a component said nothing for longer than `timeout`.
        """
        if self.config.rounds == 0:
            return self.history
        began = time.monotonic()
        with ExitStack() as stack:
            directory = self._directory()
            if directory is not None:
                self.history.directory = directory.path
                stack.callback(directory.close, self.history)
            stack.callback(self.report.close)
            stack.callback(lambda: setattr(self.history, "wall_seconds", time.monotonic() - began))
            _, control = start_main_job(stack, self.config, main_job(self.config, self.shape))
            self.report.began(self.history, self.config.rounds)
            for number in range(1, self.config.rounds + 1):
                record = self._round(number, control)
                self.history.rounds.append(record)
                if directory is not None:
                    directory.add_round(record)
                    directory.save_weights(number, control.weights())
                self.report.round_ended(record)
        return self.history

    def _directory(self) -> RunDirectory | None:
        if self.config.out is None:
            return None
        settings = {**asdict(self.config), "workers": self.workers}
        for of_swarm in ("settings", "components"):
            del settings[of_swarm]
        settings["a2c"]["hidden"] = list(self.config.a2c.hidden)
        return RunDirectory.create(self.config.out, self.config.env, settings)

    def _round(self, number: int, control: Control) -> Round:
        train = self._play(number, TRAIN, control)
        evaluation = self._play(number, EVALUATE, control)
        self.report.phase_began(number, EVOLVE, 0)
        evolution = control.evolve()
        self.report.phase_ended(number, EVOLVE, evolution)
        evaluation_evolved = self._play(number, EVALUATE_EVOLVED, control)
        return Round(
            round=number,
            train_score=train.score,
            train_returns=train.returns,
            eval_score=evaluation.score,
            eval_score_evolved=evaluation_evolved.score,
            env_steps=self.history.env_steps + train.n_steps,
            seconds=train.seconds,
            steps_per_second=train.n_steps / train.seconds,
            contribution=evolution.contribution,
            diversity=evolution.diversity,
            evolution={
                "parents_kept": evolution.parents_kept,
                "crossovers": evolution.crossovers,
                "mutations": evolution.mutations,
            },
        )

    def _play(self, number: int, phase: str, control: Control) -> RunResult:
        n_episodes = self.config.episodes if phase == TRAIN else self.config.eval_episodes
        self.report.phase_began(number, phase, n_episodes)
        result = control.run(n_episodes, deterministic=phase != TRAIN, on_progress=self.report.episodes_ended)
        self.report.phase_ended(number, phase, result)
        return result


def run(config_file: str | Path | None = None, *, report: Report | None = None, **settings: Any) -> History:
    """Run the main job, and return its History.

    Args:
        config_file: YAML settings to start from, such as swarm.yaml.
        report: is told what happens while it runs.
        settings: any keys of swarm.yaml, over those of the file: `run(rounds=5, population=20, seed=1)`;
            sections are mappings: `run(a2c={"learning_rate": 0.002})`.

    Raises:
        SettingsError: a setting is unknown or cannot be used.
        ComponentFailed, WaitTimeout: as `Experiment.run`.
    """
    values = {} if config_file is None else read_file(config_file)
    if config_file is not None:
        make_config(values, str(config_file))
    return Experiment(make_config(merged(values, settings), "run()"), report).run()
