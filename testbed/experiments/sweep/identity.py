"""What decides a point besides its coordinates, in one hash: code, versions, settings, and the files that they name."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

import testbed
from testbed.record import provenance

PACKAGES = ("testbed", "edge", "server", "calibration")
CODE = (".py", ".onnx", ".json", ".toml")
MAX_FILES = 100_000  # of one folder that a setting names


def identity_of(task: str, settings: Any) -> str:
    """A hash that is equal only where the same code measures the same thing.

    Parameters
    ----------
    task : str
        Which measurement.
    settings : object
        All that it is given, coordinates included; what msgspec can turn into plain values. A string in it that is the
        path of a file or folder stands for what is there as well.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    plain = msgspec.to_builtins(settings)
    named = {text: _state(Path(text)) for text in sorted(set(_strings(plain))) if "/" in text}
    content = msgspec.json.encode([task, plain, named, code_hash(), provenance.versions()], order="deterministic")
    return hashlib.sha256(content).hexdigest()


@cache
def code_hash() -> str:
    """SHA-256 of this project's own code, models and scenarios as they lie on disk.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    base = Path(testbed.__file__).resolve().parents[1]
    total = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted(p for p in (base / package).rglob("*") if p.suffix in CODE and p.is_file()):
            total.update(f"{path.relative_to(base)}\0{path.stat().st_size}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings(item)]


def _state(path: Path) -> Any:
    """A file by its content; a folder by its files' names, sizes and times of change; None if it is neither."""
    try:
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_dir():
            return _files_below(path)
    except OSError:
        pass
    return None


def _files_below(path: Path) -> list[list[Any]]:
    found: list[list[Any]] = []
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            state = os.stat(file)
            found.append([os.fsencode(os.path.relpath(file, path)).hex(), state.st_size, state.st_mtime_ns])
        if len(found) > MAX_FILES:
            break
    return sorted(found)
