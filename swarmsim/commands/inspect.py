"""`swarmsim inspect`: show what the checkpoints of a run hold."""

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmsim.commands.command import RUN, argument, command
from swarmsim.config import Config, resumed_config
from swarmsim.errors import SettingsError
from swarmsim.projects import in_project
from swarmsim.results.checkpoint import (
    BEST,
    CheckpointDamaged,
    Checkpoints,
    moment_of,
    read_finite_checkpoint,
    weights_in,
)
from swarmsim.results.run_directory import CHECKPOINT, read_versions
from swarmsim.results.snapshot import Snapshot, snapshot

MOST_MODELS = 20  # that get a line of their own


@command(
    "inspect",
    "Show what a checkpoint holds: rounds, models, arrays.",
    argument(
        "path", metavar="DIR|FILE.npz", help="run directory, for its newest sound checkpoint, or a checkpoint in it"
    ),
    example=f"swarmsim inspect {RUN}",
)
def inspect(given: Namespace) -> None:
    """Print what a checkpoint holds."""
    path = Path(given.path)
    found = None if path.is_dir() else snapshot(path, lambda _: None)
    run = path if found is None else found.run
    config = resumed_config(run, {})
    _print("run", _run(run, config))
    if found is None:
        _print("checkpoints", _checkpoints(path))
        found = snapshot(path, lambda _: None)  # the list shows which ones are damaged
    _print(found.checkpoint.name, [*str(found.history).splitlines(), *_failures(found)])
    _print("models", _models(found, config))
    _print("arrays", _arrays(found))


def _print(title: str, lines: Iterable[str]) -> None:
    print(title, *(f"  {line}" for line in lines), "", sep="\n")


def _run(run: Path, config: Config) -> Iterator[str]:
    yield f"{run}: {config.env}, {config.population} models, seed {config.seed}"
    yield f"preset {config.preset}, learner {config.learner}, aggregation {config.aggregation}, link {config.link}"
    yield ", ".join(f"{name} {version}" for name, version in read_versions(run).items())


def _checkpoints(run: Path) -> Iterator[str]:
    folder = run / CHECKPOINT
    for path in [*Checkpoints(folder, keep=1).paths(), *folder.glob(BEST)]:
        number, complete = moment_of(path) or (0, False)
        moment = "best" if path.name == BEST else "complete" if complete else "begun"
        try:
            number = read_finite_checkpoint(path).get("best", {}).get("round", number)
            soundness = "sound"
        except CheckpointDamaged as damage:
            soundness = str(damage).removeprefix(f"{path} ")
        yield f"{path.name:<22} round {number:<4} {moment:<8} {_size(path.stat().st_size):>10}  {soundness}"


def _failures(found: Snapshot) -> Iterator[str]:
    failures = found.history.failures
    yield f"failures: {len(failures) or 'none'}"
    for failure in failures:
        fate = "healed" if failure["healed"] else "not healed"
        text = "round {round}, {phase}: {component}: {error}: {message}".format(**failure)
        yield f"{' '.join(text.split())[:100]} ({fate})"


def _models(found: Snapshot, config: Config) -> Iterator[str]:
    weights = weights_in(found.state, found.checkpoint)
    updates = _updates(found.state["components"])
    yield from _layers(config)
    yield f"{'model':<10} {'weights':>9} {'norm':>10} {'updates':>9}"
    for name, genome in list(weights.items())[:MOST_MODELS]:
        yield f"{name:<10} {genome.size:>9,} {np.linalg.norm(genome):>10.3f} {updates[name]:>9,}"
    if len(weights) > MOST_MODELS:
        norms = [np.linalg.norm(genome) for genome in weights.values()]
        yield f"… and {len(weights) - MOST_MODELS} more; norms of all: {min(norms):.3f} to {max(norms):.3f}"


def _updates(components: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of updates of each model; models of one process are updated together."""
    return {
        name: int(state["n_updates"][0])
        for state in components.values()
        if isinstance(state, dict) and "n_updates" in state
        for name in state["components"]
    }


def _layers(config: Config) -> Iterator[str]:
    """Yield the sizes of all layers, or of the hidden ones alone if the environment cannot be made here."""
    from swarmsim.components.main_job import architecture_of
    from swarmsim.envs.make import EnvSource, shape_of

    try:
        with in_project(config.modules, config.references):
            architecture = architecture_of(config, shape_of(EnvSource.of(config)))
    except SettingsError as error:
        yield f"hidden layers: {', '.join(map(str, config.learning.hidden)) or 'none'} ({error})"
        return
    for name, layers in (("actor", architecture.actor), ("critic", architecture.critic)):
        sizes = " → ".join(str(size) for size in (layers[0].n_inputs, *(layer.n_outputs for layer in layers)))
        yield f"{name:<6} {sizes}, {architecture.activation} between"


def _arrays(found: Snapshot) -> Iterator[str]:
    for component, state in found.state["components"].items():
        arrays = list(_arrays_in(state, ""))
        yield f"{component}: {_size(sum(array.nbytes for _, array in arrays))} in {len(arrays)} array(s)"
        for path, array in arrays:
            yield f"  {path:<34} {array.dtype!s:<8} {array.shape!s:<18} {array.nbytes:>12,} bytes"


def _arrays_in(value: object, path: str) -> Iterator[tuple[str, NDArray]]:
    """Yield the path and value of each array in a state."""
    if isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _arrays_in(item, f"{path}/{key}" if path else str(key))


def _size(n_bytes: int) -> str:
    return f"{n_bytes:,} bytes" if n_bytes < 1024 else f"{n_bytes / 1024:,.1f} KiB"
