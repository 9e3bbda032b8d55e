"""Where a number comes from: versions, commit, machine, command. What every result file states."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from testbed.text import printable

PACKAGES = ("semcom-testbed", "numpy", "scipy", "numba", "onnxruntime", "pyzmq", "msgspec", "scikit-image", "pillow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed as a distribution"
    return found


def git_commit() -> str:
    """Commit of the checkout that this package runs from, ``-dirty`` if changed; empty when it is not a checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def machine() -> str:
    """Cores and processor, as result files state it."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} cores, {model}"


def command() -> str:
    """The command line of this process, as one would type it again."""
    return " ".join(["semtb", *map(quoted, sys.argv[1:])])


def quoted(word: str) -> str:
    """A word as a shell takes it; one that is not UTF-8 as $'...', which names its bytes."""
    if printable(word) == word:
        return shlex.quote(word)
    return "$'" + printable(word.replace("\\", "\\\\").replace("'", "\\'")) + "'"
