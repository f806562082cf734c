"""The main job as a user runs it: with the views that its settings ask for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarmsim.config import Config, make_config, merged, read_file, resumed_config
from swarmsim.errors import SettingsError
from swarmsim.experiment.experiment import Experiment
from swarmsim.results.history import History
from swarmsim.views.report import Report, Reports


def experiment(config: Config, report: Report, *, resume: bool = False) -> Experiment:
    """Return a run of these settings, which tells `report`, and the views that the settings ask for.

    Raises:
        SettingsError: what was asked for cannot be run, or a view needs what is not installed.
    """
    return Experiment(config, Reports([report, *_views(config)]), resume=resume)


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
        config_file: YAML settings to start from, such as swarm.yaml.
        resume: the directory of a run to resume until it has `rounds` rounds; other settings may only repeat the run's.
        report: is told what happens while it runs.
        settings: any keys of swarm.yaml, over those of the file: `run(rounds=5, population=20, seed=1)`;
            sections are mappings: `run(a2c={"learning_rate": 0.002})`.

    Raises:
        SettingsError: a setting is unknown or cannot be used.
        ComponentFailed, WaitTimeout, KeyboardInterrupt: as `Experiment.run`.
    """
    if resume is not None:
        return experiment(resumed_config(resume, settings, config_file), report or Report(), resume=True).run()
    values = {} if config_file is None else read_file(config_file)
    if config_file is not None:
        make_config(values, str(config_file))
    return experiment(make_config(merged(values, settings), "run()"), report or Report()).run()
