"""Files written whole or not at all. Shared by everything that leaves something on disk."""

from __future__ import annotations

import os
from pathlib import Path

ASIDE = ".tmp"  # suffix of a file that is being written; only a killed process leaves one


def write_aside(path: Path, content: bytes) -> Path:
    """Write beside ``path``, then rename: a reader sees the old file or the new one, never a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ASIDE)
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return path
