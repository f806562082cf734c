"""Events for TensorBoard: metrics of a run over its training steps."""

import os
import socket
import time
from collections import Counter
from collections.abc import Iterable

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from swarmsim.components.results import ComponentSnapshot
from swarmsim.errors import SettingsError
from swarmsim.files import writing
from swarmsim.results.history import History, Round
from swarmsim.views.report import Report

FOLDER = "tensorboard"
MOST_MODELS = 100  # that get a curve each; more are shown in the histogram alone
N_BINS = 30


class TensorBoardReport(Report):
    """Writes the metrics of each round into the run directory when the round ends; it starts no thread."""

    def __init__(self) -> None:
        self._learning: Counter[str] = Counter()
        self._n_learning = 0

    def began(self, history: History, n_rounds: int) -> None:
        if history.directory is None:
            raise SettingsError("tensorboard: its events are written into the run directory, but out is empty")
        folder = history.directory / FOLDER
        with writing(folder):
            is_first = not folder.exists()
            folder.mkdir(exist_ok=True)
        self._file = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if is_first:  # a resumed run may have rounds from before
            for record in history:
                self.round_ended(record)

    def component_seen(self, snapshot: ComponentSnapshot) -> None:
        self._learning.update(snapshot.learning or {})
        self._n_learning += snapshot.n_learning

    def round_ended(self, record: Round) -> None:
        learning = {name: total / self._n_learning for name, total in self._learning.items() if self._n_learning}
        self._learning.clear()
        self._n_learning = 0
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record, learning)]
        values.append(Summary.Value(tag="contribution", histo=histogram(record.contribution.values())))
        for steps, score in record.evaluations:
            within = Summary.Value(tag="score/eval_within_training", simple_value=score)
            self._write(Event(wall_time=time.time(), step=int(steps), summary=Summary(value=[within])))
        self._write(Event(wall_time=time.time(), step=record.env_steps, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        with writing(self._file), self._file.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def histogram(numbers: Iterable[float]) -> HistogramProto:
    """Return a histogram of `numbers`."""
    array = np.array(list(numbers) or [0.0])
    counts, edges = np.histogram(array, N_BINS)
    return HistogramProto(
        min=array.min(),
        max=array.max(),
        num=len(array),
        sum=array.sum(),
        sum_squares=np.square(array).sum(),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )


def scalars(record: Round, learning: dict[str, float]) -> list[tuple[str, float]]:
    """Return the tags and values of a round's scalars."""
    of_models = record.contribution.items() if len(record.contribution) <= MOST_MODELS else ()
    return [
        ("score/train", record.train_score),
        ("score/eval", record.eval_score),
        ("score/eval_evolved", record.eval_score_evolved),
        ("population/diversity", record.diversity),
        ("time/steps_per_second", record.steps_per_second),
        *((f"learning/{name}", value) for name, value in learning.items()),
        *((f"contribution/{name}", share) for name, share in of_models),
    ]
