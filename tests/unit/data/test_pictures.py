"""Photographs: dealt to edges in turn, upright, of bounded size; what is none is named."""

from __future__ import annotations

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from testbed.data.pictures import load_pictures, read_picture
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


WHITE, BELOW, SEEN = [255, 255, 255], (200, 10, 30), (1, 2, 3)


def png(colour_type, pixels, more=b""):
    """A PNG of 16 bits a value, two halves of 16 x 32 pixels each: Pillow writes none with colours."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(16 * (b"\0" + 32 * struct.pack(f">{len(p)}H", *p)) for p in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 16, colour_type, 0, 0, 0))
    more = chunk(b"tRNS", more) if more else b""
    return b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def halves(mode, upper, lower):
    image = Image.new(mode, (32, 32), lower)
    image.paste(upper, (0, 0, 32, 16))
    return image


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour", "grey", "RGBA 16", "LA 16", "grey 16"])
def test_what_lies_below_transparency_is_not_seen(tmp_path, kind):
    """The upper half transparent, over a colour that must not show: white. The lower half is as it was."""
    path, seen, options = tmp_path / "half.png", list(SEEN), {}
    if kind == "RGBA":
        image = halves("RGBA", (*BELOW, 0), (*SEEN, 255))
    elif kind == "LA":
        image, seen = halves("LA", (200, 0), (7, 255)), [7] * 3
    elif kind == "palette":
        image, options = halves("P", 1, 0), {"transparency": 1}
        image.putpalette([*SEEN, *BELOW])
    elif kind == "colour":
        image, options = halves("RGB", BELOW, SEEN), {"transparency": BELOW}
    elif kind == "grey":
        image, options, seen = halves("L", 200, 7), {"transparency": 200}, [7] * 3
    else:
        seen = [117] * 3  # 30000 of 65535
        more = struct.pack(">H", 20000) if kind == "grey 16" else b""
        pixels = {
            "RGBA 16": (6, [(20000, 9, 9, 0), (30000, 30000, 30000, 65535)]),
            "LA 16": (4, [(20000, 0), (30000, 65535)]),
            "grey 16": (0, [(20000,), (30000,)]),
        }[kind]
        path.write_bytes(png(*pixels, more))
    if not path.exists():
        image.save(path, **options)
    pixels = read_picture(path).pixels
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    assert (pixels[:16] == WHITE).all()
    assert (pixels[16:] == seen).all()


def test_half_transparency_mixes_with_white(tmp_path):
    """Alpha 51 of 255, a fifth: 0.2 * 100 + 0.8 * 255 = 224; as bytes of a palette, too, without a warning."""
    Image.new("RGBA", (32, 32), (100, 100, 100, 51)).save(tmp_path / "a.png")
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 100, 100, 100])
    palette.save(tmp_path / "b.png", transparency=bytes([255, 51]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [int(read_picture(tmp_path / name).pixels[5, 5, 0]) for name in ("a.png", "b.png")] == [224, 224]


def test_transparent_parts_turn_with_the_picture(tmp_path):
    """EXIF orientation 6 in a PNG with alpha: the transparent upper half becomes the right one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    halves("RGBA", (*BELOW, 0), (*SEEN, 255)).save(tmp_path / "a.png", exif=exif)
    pixels = read_picture(tmp_path / "a.png").pixels
    assert (pixels[:, 16:] == WHITE).all()
    assert (pixels[:, :16] == SEEN).all()


def test_print_colours_become_those_of_a_screen(tmp_path):
    """CMYK (0, 255, 255, 0) is red, to JPEG's error."""
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "a.jpg").pixels.astype(int) - [255, 0, 0]).max() <= 3


def test_names_that_are_not_utf8_are_read_and_shown_printable(tmp_path):
    """Folder and file in Latin-1: the picture is read, and its name can be written as UTF-8."""
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    image = Image.new("RGB", (32, 32), SEEN)
    with open(folder + b"/na\xefve.png", "wb") as file:
        image.save(file, "png")
    (picture,) = load_pictures(os.fsdecode(folder), (0, 1), ALL)
    assert picture.name == "na\\xefve"
    with pytest.raises(DataError) as caught:
        load_pictures(os.fsdecode(folder + b"/none"), (0, 1), ALL)
    assert r"caf\xe9/none: No such file" in str(caught.value)
    str(caught.value).encode("utf-8")
