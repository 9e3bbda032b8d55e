"""Files written whole or not at all. Shared by everything that leaves something on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import DataError

ASIDE = ".tmp"  # suffix of a file that is being written; only a killed process leaves one


def write_aside(path: Path, content: bytes) -> Path:
    """Write beside ``path``, then rename: a reader sees the old file or the new one, never a part of it.

    Raises
    ------
    DataError
        If the file system does not take it; names the file and why.
    """
    aside = path.with_name(path.name + ASIDE)
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(content)
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    return path


def ensure_folder(path: Path) -> Path:
    """The folder and those above it, made where they are missing; DataError if they cannot be."""
    with written(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def written(path: Path) -> Iterator[None]:
    """What the file system says against writing ``path``, in our words."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def require_writable(path: Path | None) -> None:
    """Raise DataError at once if ``path``, which is to be written after long work, could not be; None is no path."""
    if path is None:
        return
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name a file in it")
    ensure_folder(path.parent)
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: cannot be written: {path.parent} is not writable for this user")
