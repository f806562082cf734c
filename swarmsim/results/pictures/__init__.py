"""Pictures of a run: how it scored, who decided, who talked to whom."""

from pathlib import Path

from swarmsim.files import write_whole
from swarmsim.results.history import History
from swarmsim.results.pictures.curves import curves
from swarmsim.results.pictures.population import population
from swarmsim.results.pictures.rooms import rooms
from swarmsim.results.pictures.scores import scores
from swarmsim.results.pictures.style import Picture, png

__all__ = ["Picture", "curves", "drawn", "png", "population", "rooms", "scores", "write_pictures"]


def drawn(history: History) -> dict[str, Picture]:
    """Return all pictures that a run has enough to show for, by their names."""
    found = {}
    if history.rounds:
        found["scores"] = scores(history)
    if any(r.contribution for r in history):
        found["population"] = population(history)
    if history.n_messages:
        found["rooms"] = rooms(history)
    return found


def write_pictures(history: History, folder: Path) -> list[Path]:
    """Draw a run into PNG files in `folder`, and return their paths.

    Raises:
        SettingsError: a file cannot be written.
    """
    paths = []
    for name, picture in drawn(history).items():
        paths.append(folder / f"{name}.png")
        write_whole(paths[-1], png(picture))
    return paths
