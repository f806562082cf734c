"""An animated GIF, written frame by frame, of any length."""

import io
from pathlib import Path
from typing import Any

import numpy as np
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
        """Add a frame (height, width, 3) of bytes."""
        if self._n_seen % self.stride == 0:
            self.frames.append(Image.fromarray(np.asarray(frame, np.uint8)).quantize())
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
