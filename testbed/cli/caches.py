"""Where compiled kernels and lists of fonts are kept: beside the code, at home, or for this command alone."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from testbed.cli.probes import can_write_below
from testbed.errors import DataError

TOP = Path(__file__).resolve().parents[2]
PACKAGES = ("testbed", "edge", "server")
KERNELS, FONTS = "NUMBA_CACHE_DIR", "MPLCONFIGDIR"  # what Numba and Matplotlib read, and children inherit


def home() -> Path:
    """This user's home; where the system knows of none, a path that nobody can make."""
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user without an entry among the system's users
        return Path(os.devnull) / "no-home"


def user_cache() -> Path:
    """The folder below which Numba keeps what it cannot keep beside the code."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home() / ".cache") / "numba"


def beside_the_code() -> bool:
    """Whether each file of kernels can have its cache next to it, as Numba does first."""
    files = [file for package in PACKAGES for file in (TOP / package).rglob("_*kernels.py")]
    return all(can_write_below(file.parent / "__pycache__") for file in files)


def kernel_cache() -> str:
    """Where compiled kernels outlive a command; empty: nowhere, so that each command compiles them again."""
    chosen = os.environ.get(KERNELS, "")
    if chosen and can_write_below(Path(chosen)):
        return chosen
    if beside_the_code():
        return "beside the code"
    return str(user_cache()) if can_write_below(user_cache()) else ""


def font_folder() -> Path:
    """Where Matplotlib keeps what it finds out about fonts."""
    return Path(os.environ.get(FONTS) or Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config"))


def keep_caches() -> str:
    """Call before Numba and Matplotlib are loaded: where they could keep nothing, they get a private folder.

    Numba would refuse to define any kernel, and Matplotlib would warn in every process. The folder is new, this user's
    alone, shared with the processes that this one starts, and removed when this one ends.

    Returns
    -------
    str
        A line for the person, if kernels will be compiled for this command alone; else empty.

    Raises
    ------
    DataError
        If there is no place for such a folder either.
    """
    no_kernels, no_fonts = not kernel_cache(), not can_write_below(font_folder())
    if not no_kernels and not no_fonts:
        return ""
    try:
        folder = tempfile.mkdtemp(prefix="semtb-cache-")
    except OSError as error:
        raise DataError(
            f"compiled kernels can be kept nowhere: neither {TOP} nor {user_cache()} can be written, nor a temporary "
            f"folder ({error.strerror or error}); export {KERNELS}=DIR, or TMPDIR=DIR, with a folder that can"
        ) from error
    atexit.register(_remove, folder, os.getpid())
    if no_fonts:
        os.environ[FONTS] = str(Path(folder) / "matplotlib")
    if not no_kernels:
        return ""
    os.environ[KERNELS] = str(Path(folder) / "numba")
    return (
        f"kernels are compiled for this command alone (some 20 s): neither {TOP} nor {user_cache()} can be written; "
        f"export {KERNELS}=DIR keeps them"
    )


def _remove(folder: str, owner: int) -> None:
    """In the process that made it, and not in those that it forked."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def tell_of_caches() -> None:
    """`keep_caches`, with its line on standard error."""
    if line := keep_caches():
        print(line, file=sys.stderr, flush=True)
