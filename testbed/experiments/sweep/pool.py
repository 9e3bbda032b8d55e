"""Worker processes of a sweep on this machine; they end with it, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, InvalidStateError, ProcessPoolExecutor
from contextlib import contextmanager

from testbed.errors import SemtbError


@contextmanager
def workers(jobs: int) -> Iterator[Executor | None]:
    """An executor of ``jobs`` processes, or None for one: what runs alone needs no pool, nor what a pool needs.

    Parameters
    ----------
    jobs : int
        At least 1.

    Yields
    ------
    concurrent.futures.Executor or None

    Raises
    ------
    SemtbError
        If the system grants no semaphores (a read-only /dev/shm) or no processes.
    """
    if jobs == 1:
        yield None
        return
    before = set(multiprocessing.active_children())
    try:
        # Spawned, not forked: this process has threads, of numerical libraries and of its progress bar.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker)
    except (OSError, ImportError) as error:
        raise SemtbError(
            f"--jobs {jobs}: no pool of processes on this machine ({error}); --jobs 1 needs none"
        ) from error
    try:
        yield pool
    except BaseException:
        _pass_over_cancelled()
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    pool.shutdown()


def _pass_over_cancelled() -> None:
    """No traceback from the pool's own thread, which (until Python 3.12) fails on futures that were cancelled."""
    before = threading.excepthook

    def passing_over(failure: threading.ExceptHookArgs) -> None:
        if not issubclass(failure.exc_type, InvalidStateError):
            before(failure)

    threading.excepthook = passing_over


def _begin_worker() -> None:
    """Ctrl-C ends a worker without a word (its parent speaks), and so does the end of its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
