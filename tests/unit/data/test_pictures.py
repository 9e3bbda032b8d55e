"""Photographs: dealt to edges in turn, upright, of bounded size; what is none is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from testbed.data.pictures import load_pictures
from testbed.errors import DataError

ALL = 10**9


def save(path, height=40, width=60, value=128, **options):
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path, **options)


def test_pictures_are_dealt_in_turn_by_name(tmp_path):
    """Three pictures, two edges: the first gets a and c, the second b."""
    for name in ("c.png", "a.png", "b.jpg"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture, not looked at")
    assert [p.name for p in load_pictures(str(tmp_path), (0, 2), ALL)] == ["a", "c"]
    assert [p.name for p in load_pictures(str(tmp_path), (1, 2), ALL)] == ["b"]


def test_the_default_is_what_scikit_learn_carries():
    """china and flower, 427 x 640, one for each of two edges."""
    first, second = (load_pictures("", (i, 2), ALL) for i in (0, 1))
    assert [p.name for p in first + second] == ["china", "flower"]
    assert all(p.pixels.shape == (427, 640, 3) and p.pixels.dtype == np.uint8 for p in first + second)


def test_a_large_picture_is_made_smaller_in_proportion(tmp_path):
    """400 x 100 limited to 10,000 pixels becomes 200 x 50."""
    save(tmp_path / "wide.png", height=100, width=400)
    (picture,) = load_pictures(str(tmp_path), (0, 1), 10_000)
    assert picture.pixels.shape == (50, 200, 3)


def test_a_photograph_is_turned_upright(tmp_path):
    """EXIF orientation 6: stored lying, shown standing."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "phone.jpg", height=40, width=60, exif=exif)
    (picture,) = load_pictures(str(tmp_path), (0, 1), ALL)
    assert picture.pixels.shape == (60, 40, 3)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(30), b"\xff\xd8\xff\xe0" + bytes(30)])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    """Empty, text, a PNG's and a JPEG's first bytes and no more."""
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png: not a readable"):
        load_pictures(str(tmp_path), (0, 1), ALL)


def test_a_truncated_picture_is_named(tmp_path):
    """The first half of a JPEG decodes in some programs; here it is an error, not half a photograph."""
    rng = np.random.default_rng(1)
    path = tmp_path / "half.jpg"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"half\.jpg"):
        load_pictures(str(tmp_path), (0, 1), ALL)


def test_too_few_pictures_and_a_missing_folder_are_said(tmp_path):
    """Each message names the folder and what it should hold."""
    save(tmp_path / "only.png")
    with pytest.raises(DataError, match="1 PNG or JPEG files, 2 edges"):
        load_pictures(str(tmp_path), (0, 2), ALL)
    with pytest.raises(DataError, match="No such file or directory; it should be a folder"):
        load_pictures(str(tmp_path / "none"), (0, 2), ALL)
    with pytest.raises(DataError, match="File name too long"):
        load_pictures(str(tmp_path / ("x" * 300)), (0, 2), ALL)


def test_sixteen_bits_of_grey_keep_their_scale(tmp_path):
    """A ramp over all 65,536 levels: each within half a step of 8 bits, where clipping would make it white."""
    ramp = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    (picture,) = load_pictures(str(tmp_path), (0, 1), ALL)
    assert picture.pixels.shape == (256, 256, 3)
    assert np.abs(picture.pixels - ramp[..., None] / 257).max() <= 0.5


def test_sides_that_no_header_can_announce_are_refused(tmp_path):
    """One too long, one too long for its width once it is made smaller; the message names the file and its size."""
    save(tmp_path / "long.png", 16, 70_000)
    with pytest.raises(DataError, match=r"long\.png: 70000 x 16: each side needs 16\.\.65535 pixels"):
        load_pictures(str(tmp_path), (0, 1), 10**9)
    save(tmp_path / "long.png", 17, 60_000)
    with pytest.raises(DataError, match=r"long, made smaller to max_pixels = 500000: 42008 x 11"):
        load_pictures(str(tmp_path), (0, 1), 500_000)


def test_what_other_systems_leave_beside_pictures_is_passed_over(tmp_path):
    """`._a.png` holds no picture."""
    save(tmp_path / "a.png")
    (tmp_path / "._a.png").write_bytes(b"Mac OS X        ")
    assert [p.name for p in load_pictures(str(tmp_path), (0, 1), ALL)] == ["a"]


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    """100 million pixels in a few hundred kilobytes."""
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match=r"bomb\.png: more than 89478485 pixels"):
        load_pictures(str(tmp_path), (0, 1), ALL)
