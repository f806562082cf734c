"""The main job: each round trains, evaluates, evolves and evaluates again; the History holds the results."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swarmsim.components.control import Control, Interrupted
from swarmsim.components.main_job import ENVIRONMENT, OBSERVATION, main_job, n_workers
from swarmsim.components.results import EvolutionResult, JobResult
from swarmsim.components.role import Role
from swarmsim.components.schedule import Schedule
from swarmsim.components.size import check_size
from swarmsim.config import Config
from swarmsim.console import show
from swarmsim.envs.make import EnvSource, properties_of
from swarmsim.errors import ComponentFailed, SettingsError, SwarmError, explain, shortage
from swarmsim.experiment.monitor import Monitor
from swarmsim.experiment.start import join_main_job, start_main_job
from swarmsim.launcher.interrupts import deferred_interrupts
from swarmsim.launcher.process import check_may_start_processes
from swarmsim.launcher.swarm import Swarm
from swarmsim.messaging.endpoint import Address
from swarmsim.messaging.message import Message
from swarmsim.plugins import load_rule
from swarmsim.projects import in_project
from swarmsim.results.history import History, Round
from swarmsim.results.machine import differing_machines, machine
from swarmsim.results.run_directory import RunDirectory, read_versions
from swarmsim.views.report import EVALUATE, EVALUATE_EVOLVED, EVOLVE, TRAIN, Report, Result

PAUSE_SECONDS, STATES_SECONDS, BUSY_STATES_SECONDS = 1.0, 0.7, 0.3


class Experiment:
    """One run of the main job.

    Args:
        resume: whether to resume the run in `config.out`; it begins anew if there is no checkpoint.
        join: address and optional secret of a swarm whose components are already running; None to start them.

    Attributes:
        history: the rounds completed so far, also after a failure or an interrupt.
        checkpoint: the last checkpoint written or resumed from.

    Raises:
        SettingsError: the settings cannot be used.
    """

    def __init__(
        self,
        config: Config,
        report: Report | None = None,
        *,
        resume: bool = False,
        join: tuple[Address, str | None] | None = None,
    ) -> None:
        if config.components:
            raise SettingsError("components: only Swarm(config_file) runs scripts; the main job has its own components")
        if join is None and config.link != "inprocess":
            check_may_start_processes()
        self.report = report or Report()
        self.resume = resume
        self.join = join
        with in_project(config.modules, config.references):
            self.shape, reward_threshold = properties_of(EnvSource.of(config))
            load_rule(config.aggregation)  # refuses an unknown rule before anything starts
        self.config = config = config.with_learner(continuous=self.shape.continuous)
        Schedule.of(config)
        is_started_here = join is None and config.rounds > 0
        self._size_warning = check_size(config, self.shape, resume=resume) if is_started_here else None
        self.workers = n_workers(config)
        self.history = History(
            settings={
                "seed": config.seed,
                "env": config.env,
                "population": config.population,
                "workers": self.workers,
                "link": config.link,
                "preset": config.preset,
                "reward_threshold": reward_threshold,
            }
        )
        self.checkpoint: Path | None = None
        self._directory: RunDirectory | None = None
        self._swarm: Swarm | None = None
        self._states: Mapping[str, Any] = {}
        self._results: dict[str, Result] = {}
        self._open_requests: list[Message] = []  # of a resumed run, until they are repeated
        self._evaluations: list[list[float]] = []  # within the training of the round that has begun
        self._best: Mapping[str, Any] | None = None  # the evaluation of the best checkpoint
        self._phase = ""
        self._began = time.monotonic()

    def run(self) -> History:
        """Run the remaining rounds, or until the report wants the run to stop, and return the history.

        Raises:
            SettingsError: the run directory cannot be used.
            ComponentFailed: a component failed and could not be replaced; the rounds before are kept.
            WaitTimeout: a phase made no progress for `timeout` seconds, although all components still answer.
            KeyboardInterrupt: interrupted; a checkpoint holds what was learned until then.
        """
        if self.config.rounds == 0:
            return self.history
        with in_project(self.config.modules, self.config.references), ExitStack() as stack:
            self._open_directory(stack)
            stack.push(_surviving(lambda *_: self.report.close()))
            if self._size_warning is not None:
                self.report.noted(self._size_warning)
            self._began = time.monotonic() - self.history.wall_seconds
            stack.callback(self._update_wall_seconds)
            if len(self.history) >= self.config.rounds:
                self.report.noted(f"{len(self.history)} rounds are done already, and rounds is {self.config.rounds}")
                return self.history
            swarm = ExitStack()
            stack.push(_surviving(swarm.__exit__))
            roles, control = self._roles_and_control(swarm)
            self.report.began(self.history, self.config.rounds)
            with deferred_interrupts() as was_interrupted:
                started = {} if self._swarm is None else self._swarm.components
                control.observer = Monitor(self.report, self.history, started, was_interrupted)
                try:
                    while len(self.history) < self.config.rounds:
                        self._run_round(control)
                except Interrupted:
                    self._save_unfinished_round(control, roles)
                    if was_interrupted():
                        raise KeyboardInterrupt from None
                except (SwarmError, OSError) as error:
                    if isinstance(error, ComponentFailed):
                        self._record_failure(error, None)
                    if control.supervision.failure is not None or not isinstance(error, ComponentFailed):
                        self._save_unfinished_round(control, roles)
                    raise
        return self.history

    def _roles_and_control(self, stack: ExitStack) -> tuple[list[Role], Control]:
        if self.join is not None:
            control = join_main_job(stack, self.config, *self.join)
            workers = len(list(control.client.rooms().in_room(OBSERVATION)))
            self.history.settings = {**self.history.settings, "workers": workers}
            return [], control
        roles = main_job(self.config, self.shape, self._states)
        self._swarm, control = start_main_job(stack, self.config, roles, self._record_failure)
        return roles, control

    def _update_wall_seconds(self) -> None:
        self.history.wall_seconds = time.monotonic() - self._began

    # --- run directory

    def _open_directory(self, stack: ExitStack) -> None:
        if self.config.out is None:
            return
        keep = self.config.checkpoints
        if self.resume:
            self._directory = RunDirectory.resume(Path(self.config.out), keep)
        else:
            settings = {**asdict(self.config), "workers": self.workers}
            del settings["settings"], settings["components"]
            settings["wrappers"] = list(settings["wrappers"])
            settings["evolution"]["hyperparameters"] = list(settings["evolution"]["hyperparameters"])
            for learner in ("ppo", "a2c", "sac"):
                settings[learner]["hidden"] = list(settings[learner]["hidden"])
            self._directory = RunDirectory.create(self.config.out, self.config.env, settings, keep)
        directory = self._directory
        if self.resume:
            self._restore(directory)
        self.history.directory = directory.path
        stack.push(_surviving(lambda *_: directory.close(self.history, _write_pictures)))

    def _restore(self, directory: RunDirectory) -> None:
        newest = directory.checkpoints.read_newest(
            lambda damaged: self.report.noted(f"{damaged}; the one before it is used")
        )
        if newest is None:
            self.report.noted(f"{directory.path} holds no checkpoint yet: the run begins anew")
        else:
            self.checkpoint, state = newest
            self.history = History.decode(state["history"], self.history.settings, directory.path)
            self._results = {
                phase: (EvolutionResult if phase == EVOLVE else JobResult)(**fields)
                for phase, fields in state["results"].items()
            }
            self._states, self._evaluations = state["components"], state.get("evaluations", [])
            self._open_requests = [request for request in (state["task"], state.get("evaluation")) if request]
        best = directory.checkpoints.read_best(lambda damaged: self.report.noted(str(damaged)))
        self._best = None if best is None else best["best"]
        difference = differing_machines([read_versions(directory.path), machine()])
        if difference:
            self.report.noted(f"the run began on another kind of machine, so its scores may differ here: {difference}")
        directory.rewrite_metrics(self.history)

    def _write_checkpoint(
        self, directory: RunDirectory, control: Control, states: Mapping[str, Any], *, complete: bool
    ) -> None:
        number = len(self.history) + (not complete)
        self.checkpoint = directory.checkpoints.write(number, self._state(control, states), complete=complete)

    def _state(self, control: Control, states: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint holds, given the components' states."""
        self._update_wall_seconds()
        task, evaluation = (*control.open_requests, *self._open_requests, None, None)[:2]
        return {
            "history": self.history.encode(),
            "results": {phase: asdict(result) for phase, result in self._results.items()},
            "task": task,
            "evaluation": evaluation,
            "evaluations": self._evaluations,
            "components": states,
        }

    def _save_unfinished_round(self, control: Control, roles: Iterable[Role]) -> None:
        """Write a checkpoint within a round; a component that does not answer soon ends in its last saved state."""
        if self._directory is None:
            if self.join is not None:
                control.pause(PAUSE_SECONDS)  # its components keep running, and would continue the job
            return
        try:
            # if the environment does not pause, its last saved state is used, as if its process had died
            is_paused, states = False, {}
            with suppress(OSError):  # the temporary directory is full; what is saved in it can still be read
                is_paused = control.supervision.failure is None and control.pause(PAUSE_SECONDS)
                states = control.states(STATES_SECONDS if is_paused else BUSY_STATES_SECONDS)
            if self._swarm is not None:
                silent = [name for name in self._swarm.components if name not in states]
                self._swarm.stop(silent, patience=0.0)  # so that none changes while it is written
            for role in roles:
                if role.name not in states or (role.name == ENVIRONMENT and not is_paused):
                    states[role.name] = role.last_saved_state(control.client.address)
            self._write_checkpoint(self._directory, control, states, complete=False)
        except (SwarmError, OSError) as error:
            self.report.noted(f"no checkpoint of the unfinished round could be written: {explain(error)}")

    def _record_failure(self, failure: ComponentFailed, remedy: str | None) -> None:
        self.history.failures.append(
            {
                "round": len(self.history) + 1,
                "phase": self._phase,
                "component": failure.component,
                "error": failure.error_type,
                "message": failure.message,
                "traceback": failure.traceback_text,
                "healed": remedy is not None,
            }
        )
        if remedy is not None:
            self.report.noted(f"{failure}; {remedy}")

    # --- rounds

    def _run_round(self, control: Control) -> None:
        number = len(self.history) + 1
        control.supervision.reset_restart_counts()
        for phase in (TRAIN, EVALUATE, EVOLVE, EVALUATE_EVOLVED):
            if control.observer.wants_stop():
                raise Interrupted
            if phase not in self._results:
                self._phase = phase
                result = self._results[phase] = self._run_phase(number, phase, control)
                if phase == EVALUATE and isinstance(result, JobResult):
                    self._keep_best(control, self._moment(number, phase), result.score)
        record = self._record(number)
        self._results, self._evaluations = {}, []
        self.history.rounds.append(record)
        if self._directory is None:
            control.request_snapshots()
        else:
            states = control.states()
            self._keep_best(control, self._moment(number, EVALUATE_EVOLVED), record.eval_score_evolved, states)
            self._write_checkpoint(self._directory, control, states, complete=True)
            self._directory.append_round(self.history)
        self.report.round_ended(record)

    def _run_phase(self, number: int, phase: str, control: Control) -> Result:
        n_episodes = {TRAIN: self.config.episodes, EVOLVE: 0}.get(phase, self.config.eval_episodes)
        self.report.phase_began(number, phase, n_episodes)
        request = self._open_requests.pop(0) if self._open_requests else None
        every, on_progress = self.config.eval_every, self.report.episodes_ended
        result: Result
        if phase == EVOLVE:
            result = control.evolve(request=request)
        elif phase == TRAIN and every is not None:
            result = control.play(
                n_episodes,
                deterministic=False,
                on_progress=on_progress,
                pause_at=self._next_pause(every, 0),
                on_pause=lambda n_steps: self._evaluate_within(control, number, every, n_steps),
                request=request,
            )
        else:
            result = control.play(n_episodes, deterministic=phase != TRAIN, on_progress=on_progress, request=request)
        self.report.phase_ended(number, phase, result)
        return result

    def _next_pause(self, every: int, n_steps: int) -> int:
        """Return after how many steps of this round's training the run's steps are a multiple of `every` again."""
        before = self.history.env_steps
        return every - (before + n_steps) % every + n_steps

    def _evaluate_within(self, control: Control, number: int, every: int, n_steps: int) -> int:
        """Evaluate after `n_steps` of this round's training, unless that was done already; return its next pause."""
        steps = self.history.env_steps + n_steps
        if not self._evaluations or self._evaluations[-1][0] < steps:
            request = self._open_requests.pop() if self._open_requests else None
            result = control.play(self.config.eval_episodes, deterministic=True, request=request)
            self._evaluations.append([steps, result.score])
            self.report.evaluated(number, steps, result)
            self._keep_best(control, self._moment(number, TRAIN, n_steps), result.score)
        return self._next_pause(every, n_steps)

    def _moment(self, number: int, phase: str, n_steps: int | None = None) -> dict[str, Any]:
        """Return when an evaluation was played, `n_steps` after the beginning of this round's training."""
        if n_steps is None:
            train = self._results.get(TRAIN)
            n_steps = train.n_steps if isinstance(train, JobResult) else 0
        return {"round": number, "phase": phase, "env_steps": self.history.env_steps + n_steps}

    def _keep_best(
        self, control: Control, moment: Mapping[str, Any], score: float, states: Mapping[str, Any] | None = None
    ) -> None:
        """Save the swarm as it was evaluated at a `moment` if its score is the best so far.

        An equal score counts only where the `states` of all components are known already, so that it costs little.
        """
        best = -math.inf if self._best is None else self._best["score"]
        if self._directory is None or score < best or (score == best and states is None):
            return
        self._best = {**moment, "score": score}
        state = self._state(control, control.states() if states is None else states)
        self._directory.checkpoints.write_best({**state, "best": self._best})

    def _record(self, number: int) -> Round:
        train, evaluation, evolution, evaluation_evolved = (
            self._results[phase] for phase in (TRAIN, EVALUATE, EVOLVE, EVALUATE_EVOLVED)
        )
        assert isinstance(train, JobResult)
        assert isinstance(evaluation, JobResult)
        assert isinstance(evolution, EvolutionResult)
        assert isinstance(evaluation_evolved, JobResult)
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
            evolution=evolution.counts(),
            parents=evolution.parents,
            hyperparameters=evolution.hyperparameters,
            evaluations=self._evaluations,
        )


def _surviving(close: Callable[..., object]) -> Callable[..., None]:
    """Return `close` for the end of a run, which it does not decide: its failure is a line on stderr."""

    def close_or_report(*failure: Any) -> None:
        try:
            close(*failure)
        except Exception as error:
            if shortage(error) and any(failure):
                return  # that is why the run failed
            name = "" if isinstance(error, SwarmError) else f"{type(error).__name__}: "
            show(f"swarmsim: after the run: {name}{explain(error)}", sys.stderr)

    return close_or_report


def _write_pictures(history: History, folder: Path) -> None:
    from swarmsim.results.pictures import write_pictures

    write_pictures(history, folder)
