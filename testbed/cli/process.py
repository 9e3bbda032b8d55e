"""What a command is run in: one thread for numerics, a log, an end that is sure, one line when something is wrong."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import typer

from testbed.errors import DataError, SemtbError
from testbed.experiments.stopping import ONE_THREAD, StopRequest

DEBUG = "SEMTB_DEBUG"


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return bool(os.environ.get(DEBUG))


def tell(error: SemtbError) -> None:
    """One line for the person; the traceback before it where it is wanted."""
    if debugging():
        import traceback

        traceback.print_exception(error)
    print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)


def require_working_directory() -> None:
    """Paths are relative to it, and libraries ask for it when they are loaded.

    Raises
    ------
    DataError
        If it was deleted, or cannot be entered any more.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise DataError(
            f"the working directory is gone or cannot be read ({error.strerror}); cd to one that exists"
        ) from error


class NodeProcess:
    """Surroundings of a node: one thread for numerics, a log on standard error, and an end that is sure."""

    def __init__(self, name: str, last_resort: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.last_resort = last_resort

    def __enter__(self) -> Callable[[], bool]:
        keep_to_one_thread()
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s {self.name}: %(message)s")
        self.stop = StopRequest(self.last_resort)
        return self.stop

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SemtbError) and self.stop():
            tell(error)
            raise typer.Exit(self.stop.exit_status)


def keep_to_one_thread() -> None:
    """Call before NumPy is loaded: more threads make results depend on the machine, and nodes fight for cores."""
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
