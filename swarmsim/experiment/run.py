"""`run`: the main job, with the views that the settings choose."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarmsim.config import Config, layered_config, resumed_config
from swarmsim.errors import SettingsError
from swarmsim.experiment.experiment import Experiment
from swarmsim.plugins import give, name_objects, require_importable
from swarmsim.results.history import History
from swarmsim.results.run_directory import references
from swarmsim.views.report import Decorations, Report, Reports


def experiment(config: Config, report: Report, *, resume: bool = False) -> Experiment:
    """Return an Experiment with `report` and the views in the settings; raises SettingsError if any cannot be used."""
    return Experiment(config, Reports([report, Decorations(list(_views(config)))]), resume=resume)


def _views(config: Config) -> Iterator[Report]:
    if config.live:
        from swarmsim.views.live import LiveReport

        yield LiveReport(config.live_port, config.start_method)
    if config.tensorboard:
        try:
            from swarmsim.views.tensorboard import TensorBoardReport
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"tensorboard: {error.name!r} is not installed; pip install -e .[tensorboard] has it"
            ) from None
        yield TensorBoardReport()


def run(
    config_file: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    report: Report | None = None,
    **settings: Any,
) -> History:
    """Run the main job, and return its History.

    Args:
        config_file: a YAML file of settings, for example swarm.yaml.
        resume: directory of a run to resume until `rounds` rounds in all are done; other settings must repeat its own.
        report: receives what happens during the run.
        settings: any keys of swarm.yaml; they override the file: `run(rounds=5, population=20, seed=1)`.
            Sections are mappings: `run(a2c={"learning_rate": 0.002})`. `env` may be an environment class or a function
            that makes an environment, `wrappers` may hold classes and functions, and `aggregation` may be a function.

    Raises:
        SettingsError: a setting is unknown or its value cannot be used.
        ComponentFailed: a component failed and could not be replaced; the rounds before are kept.
        WaitTimeout: a phase made no progress for `timeout` seconds, although all components still answer.
        KeyboardInterrupt: interrupted; a checkpoint holds what was learned until then.
    """
    settings, objects = name_objects(settings)
    if resume is None:
        config = layered_config(config_file, settings, "run()")
        named = set(config.references) - objects.keys()
    else:
        config = resumed_config(resume, settings, config_file)
        named = set(references(settings)) - objects.keys()
    if config.start_method == "spawn" and config.link != "inprocess":
        require_importable(config.references, objects)
    give(config.modules, objects, named=named)
    return experiment(config, report or Report(), resume=resume is not None).run()
