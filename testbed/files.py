"""Files written whole or not at all. Shared by everything that leaves something on disk."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import DataError

ASIDE = ".tmp"  # suffix of a file that is being written; only a killed process leaves one
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_aside(path: Path, content: bytes) -> Path:
    """Write beside ``path``, then rename: a reader sees the old file or the new one, never a part of it.

    Raises
    ------
    DataError
        If the file system does not take it; names the file and why.
    """
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content)
    return path


def replace(path: Path, content: bytes, durable: bool = False) -> None:
    """As :func:`write_aside`, in an existing folder; OSError as the system has it.

    Where others may write too (/tmp), a link could be laid under a name that can be guessed, and its target would be
    overwritten. So the name cannot be guessed, and what is there already is never opened.

    Parameters
    ----------
    path : Path
    content : bytes
    durable : bool
        On the disk, not only in its cache, when this returns.
    """
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}{ASIDE}")
    try:
        with os.fdopen(os.open(aside, NEW_FILE, 0o666), "wb") as stream:
            stream.write(content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(aside, path)
    except FileExistsError:
        raise
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
