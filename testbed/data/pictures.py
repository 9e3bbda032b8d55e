"""Photographs for an edge: from a folder of PNG or JPEG files, or the two that scikit-learn carries."""

from __future__ import annotations

import warnings
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image, ImageOps

from testbed.errors import DataError
from testbed.text import printable

SUFFIXES = {".png", ".jpg", ".jpeg"}
SIDE_PIXELS = range(16, 65_536)  # of the networks' strides, and of a frame header's fields
BACKGROUND = (255, 255, 255, 255)  # white, opaque: as a page shows a picture with transparent parts
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L")  # 16 bits of grey, which Pillow would clip at 255


class Picture(msgspec.Struct, frozen=True):
    """A photograph as it will be encoded: its file name and [H, W, 3] uint8."""

    name: str
    pixels: np.ndarray


def load_pictures(images: str, share: tuple[int, int], max_pixels: int, sides: range = SIDE_PIXELS) -> list[Picture]:
    """Pictures of one edge. They are dealt in turn: edge ``index`` of ``of`` takes every ``of``-th, by file name.

    Parameters
    ----------
    images : str
        A folder; empty for scikit-learn's two photographs.
    share : (index, of)
    max_pixels : int
        A picture with more is made smaller, keeping its proportions.
    sides : range
        Pixels of a side that the codec takes.

    Returns
    -------
    list of Picture
        At least one.

    Raises
    ------
    DataError
        If the folder is missing, holds fewer pictures than edges, or a file is not a picture.
    """
    index, of = share
    if not images:
        return [limit_size(p, max_pixels, sides) for p in carried()[index::of]]
    files = picture_files(images)
    if len(files) < of:
        raise DataError(
            f"--images {images}: {len(files)} PNG or JPEG files, {of} edges: put at least one for each there"
        )
    return [limit_size(read_picture(path, sides), max_pixels, sides) for path in files[index::of]]


def picture_files(images: str) -> list[Path]:
    """The PNG and JPEG files of a folder, by name.

    Raises
    ------
    DataError
        If the folder cannot be read.
    """
    try:
        # Names that begin with a dot are what other systems leave beside pictures.
        return sorted(p for p in Path(images).iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"--images {images}: {error.strerror}; it should be a folder of PNG or JPEG files") from error


def carried() -> list[Picture]:
    """The photographs inside scikit-learn: ``china.jpg`` and ``flower.jpg``, each 427 x 640."""
    from sklearn.datasets import load_sample_images

    sample = load_sample_images()
    return [
        Picture(Path(name).stem, np.asarray(pixels))
        for name, pixels in zip(sample.filenames, sample.images, strict=True)
    ]


def read_picture(path: Path, sides: range = SIDE_PIXELS) -> Picture:
    """Decode one file as RGB, upright, what is transparent in it composed on white.

    Parameters
    ----------
    path : Path
        PNG or JPEG, of any mode.
    sides : range
        Pixels that a side may have.

    Returns
    -------
    Picture
        Its name without suffix, bytes of it that are not UTF-8 made printable.

    Raises
    ------
    DataError
        If it is not such a picture, or a side is too short or too long.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # a header may claim any size
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                pixels = eight_bits(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller") from error
    except Exception as error:  # Pillow meets damaged files with exceptions of every kind
        raise DataError(f"{path}: not a readable PNG or JPEG picture; take it out of the folder") from error
    require_sides(str(path), pixels, sides)
    return Picture(printable(path.stem), pixels)


def eight_bits(image: Image.Image) -> np.ndarray:
    """A picture of any mode as [H, W, 3] uint8, composed on ``BACKGROUND`` where it is transparent.

    What lies below transparent pixels was never meant to be seen, and programs leave anything there.
    """
    transparent = image.info.get("transparency")  # of a palette, or one colour or grey; else None
    if image.mode in DEEP_MODES:
        deep = np.asarray(image, np.float64)
        grey = np.rint(deep / 257).clip(0, 255).astype(np.uint8)  # 65535 / 257 = 255
        if transparent is not None:
            grey = np.where(deep == transparent, np.uint8(255), grey)
        return np.stack([grey] * 3, axis=-1)
    if transparent is None and not {"A", "a"} & set(image.getbands()):
        return np.asarray(image.convert("RGB"))
    seen = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image.convert("RGBA"))
    return np.asarray(seen.convert("RGB"))


def require_sides(name: str, pixels: np.ndarray, sides: range = SIDE_PIXELS) -> None:
    """Raise DataError if a side is too short or too long to be encoded and announced."""
    height, width = pixels.shape[:2]
    if height not in sides or width not in sides:
        allowed = f"{sides.start}..{sides.stop - 1}" if len(sides) > 1 else f"{sides.start}"
        raise DataError(f"{name}: {width} x {height}: each side needs {allowed} pixels; take it out of the folder")


def limit_size(picture: Picture, max_pixels: int, sides: range = SIDE_PIXELS) -> Picture:
    """The picture itself, or a Lanczos-resized one of at most ``max_pixels``. DataError if that is too narrow."""
    height, width = picture.pixels.shape[:2]
    if height * width <= max_pixels:
        require_sides(picture.name, picture.pixels, sides)
        return picture
    factor = (max_pixels / (height * width)) ** 0.5
    size = max(1, int(width * factor)), max(1, int(height * factor))
    resized = Image.fromarray(picture.pixels).resize(size, Image.Resampling.LANCZOS)
    require_sides(f"{picture.name}, made smaller to max_pixels = {max_pixels}", np.asarray(resized), sides)
    return Picture(picture.name, np.asarray(resized))
