"""Matplotlib without the environment's backend and style: other modules import it after this one, and never pyplot."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from swarmsim.files import writing

BACKEND_VARIABLE = "MPLBACKEND"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep matplotlib from remarks about its cache, which has no effect on pictures."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _import_matplotlib() -> None:
    """Import it as it is, with the backend that a notebook's environment names, but without failing at that name."""
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop(BACKEND_VARIABLE, None)
    try:
        import matplotlib as mpl
        from matplotlib import font_manager  # noqa: F401 - it makes the cache
    finally:
        if backend is not None:
            os.environ[BACKEND_VARIABLE] = backend
    if backend:
        with suppress(ValueError):
            mpl.rcParams["backend"] = backend


with _quiet(), writing("the cache of matplotlib, in MPLCONFIGDIR or TMPDIR,"):
    _import_matplotlib()

from matplotlib import style  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

plainly = style.context("default")  # decorates what draws: a user's matplotlibrc may need LaTeX, or fonts


@plainly
def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file's content."""
    content = io.BytesIO()
    figure.savefig(content, format="png", backend="agg")
    return content.getvalue()
