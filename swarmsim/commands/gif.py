"""An animated GIF, written frame by frame, of any length."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swarmsim.errors import SettingsError
from swarmsim.files import write_atomically

MOST_FRAMES = 600  # beyond it every second frame is dropped
LEAST_MILLISECONDS = 20  # most viewers show shorter frames far slower


class Gif:
    """The frames so far, thinned out evenly beyond `MOST_FRAMES`; raises SettingsError if the folder does not exist."""

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise SettingsError(f"--gif: there is no directory {path.parent}")
        self.path = path
        self.frames: list[Image.Image] = []
        self.stride = 1
        self._n_seen = 0

    def add(self, frame: Any) -> None:
        """Add a frame of bytes: (height, width, 3), with a fourth channel, or (height, width) in grey.

        Frames of another size than the first are scaled to it.

        Raises:
            ValueError: it is no such picture.
        """
        if self._n_seen % self.stride == 0:
            image = Image.fromarray(_as_bytes(frame)).convert("RGB")
            size = self.frames[0].size if self.frames else image.size
            self.frames.append((image if image.size == size else image.resize(size)).quantize())
        self._n_seen += 1
        if len(self.frames) > MOST_FRAMES:
            self._thin_out()

    def _thin_out(self) -> None:
        self.frames = self.frames[::2]
        self.stride *= 2

    def write(self, frames_per_second: float) -> None:
        """Write the file, which plays at the original speed; raises SettingsError if it cannot be written."""
        while (milliseconds := 1000 * self.stride / frames_per_second) < LEAST_MILLISECONDS:
            self._thin_out()
        content = io.BytesIO()
        first, *others = self.frames
        first.save(content, "GIF", save_all=True, append_images=others, duration=round(milliseconds), loop=0)
        write_atomically(self.path, content.getvalue())


def _as_bytes(frame: Any) -> NDArray[np.uint8]:
    try:
        picture = np.asarray(frame)
    except ValueError:  # lists of different lengths
        picture = np.asarray(None)
    kind, shape = picture.dtype.kind, picture.shape
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    if kind not in "iu" or not is_picture or not picture.size or picture.min() < 0 or picture.max() > 255:
        what = f"{picture.dtype} of the shape {shape}" if kind in "biuf" else type(frame).__name__
        raise ValueError(f"draws {what}; a picture is uint8 of the shape (height, width, 3), from 0 to 255")
    return picture.astype(np.uint8, copy=False)
