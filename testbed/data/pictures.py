"""Photographs for an edge: from a folder of PNG or JPEG files, or the two that scikit-learn carries."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from PIL import Image, ImageOps

from testbed.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg"}
MAX_FILE_PIXELS = 200_000_000  # a header may claim any size; past this nothing is decoded
MIN_SIDE_PIXELS = 16


class Picture(msgspec.Struct, frozen=True):
    """A photograph as it will be encoded: its file name and [H, W, 3] uint8."""

    name: str
    pixels: np.ndarray


def load_pictures(images: str, share: tuple[int, int], max_pixels: int) -> list[Picture]:
    """Pictures of one edge. They are dealt in turn: edge ``index`` of ``of`` takes every ``of``-th, by file name.

    Parameters
    ----------
    images : str
        A folder; empty for scikit-learn's two photographs.
    share : (index, of)
    max_pixels : int
        A picture with more is made smaller, keeping its proportions.

    Raises
    ------
    DataError
        If the folder is missing, holds fewer pictures than edges, or a file is not a picture.
    """
    index, of = share
    if not images:
        return [limit_size(p, max_pixels) for p in carried()[index::of]]
    folder = Path(images)
    if not folder.is_dir():
        raise DataError(f"--images {images}: no such folder; it should hold PNG or JPEG files")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if len(files) < of:
        raise DataError(
            f"--images {images}: {len(files)} PNG or JPEG files, {of} edges: put at least one for each there"
        )
    return [limit_size(read_picture(path), max_pixels) for path in files[index::of]]


def carried() -> list[Picture]:
    """The photographs inside scikit-learn: ``china.jpg`` and ``flower.jpg``, each 427 x 640."""
    from sklearn.datasets import load_sample_images

    sample = load_sample_images()
    return [
        Picture(Path(name).stem, np.asarray(pixels))
        for name, pixels in zip(sample.filenames, sample.images, strict=True)
    ]


def read_picture(path: Path) -> Picture:
    """Decode one file as RGB, upright."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_FILE_PIXELS:
                raise DataError(f"{path}: {image.width} x {image.height}: at most {MAX_FILE_PIXELS} pixels are read")
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable PNG or JPEG picture; take it out of the folder") from error
    if min(pixels.shape[:2]) < MIN_SIDE_PIXELS:
        raise DataError(
            f"{path}: {pixels.shape[1]} x {pixels.shape[0]}: each side needs at least {MIN_SIDE_PIXELS} pixels"
        )
    return Picture(path.stem, pixels)


def limit_size(picture: Picture, max_pixels: int) -> Picture:
    """The picture itself, or a Lanczos-resized one of at most ``max_pixels``."""
    height, width = picture.pixels.shape[:2]
    if height * width <= max_pixels:
        return picture
    factor = (max_pixels / (height * width)) ** 0.5
    size = max(1, int(width * factor)), max(1, int(height * factor))
    resized = Image.fromarray(picture.pixels).resize(size, Image.Resampling.LANCZOS)
    return Picture(picture.name, np.asarray(resized))
