"""Pictures of a run: its scores, each model's contribution, and the messages between components."""

from pathlib import Path

from swarmsim.files import write_atomically
from swarmsim.results.pictures.agg import png  # first, since it imports matplotlib safely
from swarmsim.results.pictures.population import population
from swarmsim.results.pictures.rooms import rooms
from swarmsim.results.pictures.scores import curves, scores
from swarmsim.results.pictures.style import Picture
from swarmsim.results.record import RunRecord

__all__ = ["Picture", "curves", "draw_all", "png", "population", "rooms", "scores", "write_pictures"]


def draw_all(history: RunRecord) -> dict[str, Picture]:
    """Return, by name, all pictures for which the run has data."""
    pictures = {}
    if history.rounds:
        pictures["scores"] = scores(history)
    if any(r.contribution for r in history):
        pictures["population"] = population(history)
    if history.n_messages:
        pictures["rooms"] = rooms(history)
    return pictures


def write_pictures(history: RunRecord, folder: Path) -> list[Path]:
    """Draw a run into PNG files in `folder`, and return their paths; raises SettingsError if one cannot be written."""
    paths = []
    for name, picture in draw_all(history).items():
        paths.append(folder / f"{name}.png")
        write_atomically(paths[-1], png(picture))
    return paths
