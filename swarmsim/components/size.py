"""How large a run is, told before it starts: memory, files and messages grow with observations times models."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from swarmsim.components.main_job import architecture_of, n_workers
from swarmsim.config import Config
from swarmsim.envs.make import Shape
from swarmsim.errors import SettingsError
from swarmsim.learning.hyperparameters import ActorCriticSettings, PPOSettings, SACSettings
from swarmsim.messaging.codec import MAX_MESSAGE_BYTES
from swarmsim.messaging.sockets.wire import MAX_BODY_BYTES

REMEDY = (
    "smaller layers (hidden), or smaller observations (wrappers: around Gymnasium's ResizeObservation or "
    "GrayscaleObservation)"
)
ALWAYS_FITS = 1 << 28
FLOAT = 4


@dataclass(frozen=True)
class Size:
    """What a run needs, in bytes."""

    genome: int  # one model's weights and two moments, which go in one message
    state: int  # those of all models, which a checkpoint holds
    memory: int  # of all processes at once
    replay: int  # memory that the replay buffers take besides once they are full
    step: int  # the largest message of a step

    @classmethod
    def of(cls, config: Config, shape: Shape) -> "Size":
        """Return the size of such a run."""
        learning, workers = config.learning, n_workers(config)
        weights = FLOAT * architecture_of(config, shape).n_weights
        observation = FLOAT * shape.n_inputs
        rows, replayed, proposals = 0, 0, 0
        if isinstance(learning, ActorCriticSettings):
            rows = workers * learning.n_steps * config.n_envs
        if isinstance(learning, PPOSettings):
            rows, replayed = config.population * learning.batch_size, 3 * workers * learning.replay_size
        if isinstance(learning, SACSettings):
            rows, replayed = config.population * learning.batch_size, 2 * workers * learning.replay_size
            proposals = config.population * config.n_envs * max(config.population, shape.n_actions)
        genome, state = 3 * weights, 3 * weights * config.population
        return cls(
            genome=genome,
            state=state,
            # the training state, the genomes given for an evolution, that evolution's two generations, the gradients
            memory=4 * state + weights * config.population + rows * observation,
            replay=replayed * observation,
            step=max(2 * config.n_envs * observation, FLOAT * proposals),
        )


def check_size(config: Config, shape: Shape, *, resume: bool = False) -> str | None:
    """Return a warning if the replay buffers may not fit into memory.

    Args:
        resume: whether the run has checkpoints already, which the next ones replace.

    Raises:
        SettingsError: the run cannot work here; the sentence has the numbers.
    """
    size = Size.of(config, shape)
    if size.memory + size.replay < ALWAYS_FITS:
        return None
    models = f"{config.population} model(s) with {shape.n_inputs:,} inputs and hidden {list(config.learning.hidden)}"
    limit = MAX_BODY_BYTES if config.link == "sockets" else MAX_MESSAGE_BYTES
    for what, needed in (("one model", size.genome), ("one step", size.step)):
        if needed > limit:
            raise SettingsError(
                f"{models}: {what} needs a message of {_format(needed)}, and link {config.link} takes {_format(limit)} "
                f"at most; use {REMEDY}"
            )
    for what, needed, available in _needs(config, size, resume):
        if needed > available:
            raise SettingsError(
                f"{models} need {_format(needed)} {what}, where {_format(available)} is available; "
                f"use fewer models (population), {REMEDY}"
            )
    memory = _available_memory()
    if memory is not None and size.memory + size.replay > memory:
        more = f"{_format(size.replay)} more once their replay buffers are full"
        return (
            f"{models} need {_format(size.memory)} of memory, and {more}, where {_format(memory)} is available: "
            f"use a smaller replay_size, fewer models (population), {REMEDY}"
        )
    return None


def _needs(config: Config, size: Size, resume: bool) -> Iterator[tuple[str, int, int]]:
    """Return what a run needs for certain, where, and how many bytes of it there are."""
    memory = _available_memory()
    if memory is not None:
        yield "of memory", size.memory, memory
    if config.link != "inprocess":
        folder = tempfile.gettempdir()
        yield f"in {folder} (TMPDIR)", 2 * size.state, shutil.disk_usage(folder).free
    if config.out is not None:
        out = Path(config.out).absolute()
        folder = next(str(path) for path in (out, *out.parents) if path.exists())
        # beside the best one; one is removed once another is written
        number = 1 + (1 if resume else min(config.rounds, config.checkpoints + 1))
        yield f"in {folder} for {number} checkpoint(s)", number * size.state, shutil.disk_usage(folder).free


def _available_memory() -> int | None:
    """Return the bytes of memory that programs can still take; None where Linux does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def _format(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.0f} MB"
