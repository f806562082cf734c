"""The command line: flags → Config → Experiment → exit status."""

import io
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from swarmsim.commands import export, inspect, play, programs, report
from swarmsim.commands.command import DONE, FAILED, INTERRUPTED, argument, command, settings
from swarmsim.config import Config, resumed_config
from swarmsim.console import fill_missing_streams, show
from swarmsim.errors import ComponentFailed, SettingsError, SwarmError, explain
from swarmsim.flags import config_of, flag, given_settings, program
from swarmsim.launcher.interrupts import interrupt_by, stopping_signals
from swarmsim.results.history import History

FLAGS = (
    "rounds", "population", "episodes", "eval_episodes", "eval_every", "env", "envs", "workers", "link", "preset",
    "seed", "out", "verbose", "live", "tensorboard",
)  # fmt: skip
COMMANDS = {
    "serve": programs.serve,
    "component": programs.component,
    "report": report.report,
    "plot": report.plot,
    "export": export.export,
    "play": play.play,
    "inspect": inspect.inspect,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for, and return the exit status."""
    fill_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # help and tables have signs that not every terminal's encoding has
    words = sys.argv[1:] if arguments is None else arguments
    return COMMANDS[words[0]](words[1:]) if words and words[0] in COMMANDS else train(words)


@command(
    "",
    "Train, evaluate and evolve a swarm of learning models that act as one.",
    settings(*FLAGS),
    argument("--resume", metavar="DIR", help="continue that run until it has --rounds rounds"),
    argument("--no-progress", action="store_true", help="no progress bars"),
    usage="%(prog)s [FLAG ...]    or    %(prog)s COMMAND --help",
    notes="Each flag is also a key of swarm.yaml, such as eval_episodes; the flag wins.\n"
    "Commands: report, plot, play, inspect, export (of a run), serve, component.\n",
    example="python run.py --rounds 5 --population 20 --seed 1 --live",
)
def train(given: Namespace) -> int:
    """Run an experiment with the given settings, over those of its settings file or of the run that it resumes."""
    over = given_settings(given)
    if given.no_progress:
        over["progress"] = False
    if given.resume is None:
        config = config_of(over, given.config)
    else:
        config = resumed_config(given.resume, over, given.config, flag)
    if config.rounds == 0:
        print("0 rounds: nothing to do")
        return DONE
    return _run(config, resume=given.resume is not None)


def _run(config: Config, *, resume: bool) -> int:
    from swarmsim.experiment.run import experiment
    from swarmsim.views.terminal import TerminalReport

    run = experiment(config, TerminalReport(config.progress, config.verbose), resume=resume)
    status = DONE
    interrupt_by(stopping_signals())
    try:
        run.run()
        if len(run.history) < config.rounds:
            show("\nswarmsim: stopped", sys.stderr)
            status = INTERRUPTED
    except KeyboardInterrupt:
        show("\nswarmsim: interrupted", sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:
        raise
    except (SwarmError, OSError) as error:
        if isinstance(error, SettingsError) and run.history.directory is None:
            raise
        if isinstance(error, ComponentFailed) and error.traceback_text:
            show(error.traceback_text, sys.stderr)
        show(f"swarmsim: {explain(error)}", sys.stderr)
        status = FAILED
    with suppress(BrokenPipeError):
        if run.history.rounds:
            show(f"\n{run.history}", sys.stdout)
        show("\n".join(("", *last_words(run.history, run.checkpoint, is_done=status == DONE))), sys.stdout)
    return status


def last_words(history: History, checkpoint: Path | None, *, is_done: bool) -> Iterator[str]:
    """Yield lines that say where the results are, and how to resume the run."""
    if history.first_solved_steps is not None:
        yield f"solved after {history.first_solved_steps:,} training steps"
    if history.directory is None:
        yield "no files were written: out is empty"
        return
    directory = shlex.quote(str(history.directory))
    yield f"results in {history.directory}"
    scores = history.directory / "scores.png"
    if scores.exists():
        yield f"pictures: {scores} and others; all on one page: {program()} report {directory}"
    if checkpoint is not None and not is_done:
        yield f"last checkpoint: {checkpoint}"
    yield f"resume with: {program()} --resume {directory}" + (f" --rounds {2 * len(history)}" if is_done else "")
