"""Animated GIFs of any length."""

import pytest
from PIL import Image

from swarmsim.commands import gif


@pytest.mark.parametrize(("n_frames", "kept"), [(10, 10), (11, 6), (100, 7)])
def test_a_long_gif_keeps_its_speed_and_leaves_frames_out(tmp_path, monkeypatch, n_frames, kept):
    monkeypatch.setattr(gif, "MOST_FRAMES", 10)
    picture = gif.Gif(tmp_path / "long.gif")
    for number in range(n_frames):
        picture.add(_frame(number))
    picture.write(frames_per_second=25)
    assert len(picture.frames) == kept
    with Image.open(picture.path) as written:
        shades = []
        for index in range(written.n_frames):
            written.seek(index)
            shades.append(written.convert("RGB").getpixel((0, 0))[0])
        assert shades == list(range(0, n_frames, picture.stride))
        assert written.info["duration"] == 40 * picture.stride


def test_what_is_too_fast_for_a_gif_is_thinned_out(tmp_path):
    picture = gif.Gif(tmp_path / "fast.gif")
    for number in range(20):
        picture.add(_frame(number))
    picture.write(frames_per_second=100)
    with Image.open(picture.path) as written:
        assert (written.n_frames, written.info["duration"]) == (10, 20)


def _frame(shade: int):
    return [[[shade, shade, shade]] * 4] * 3
