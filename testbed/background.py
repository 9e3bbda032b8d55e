"""Work on a thread of its own: one piece whose error comes back to who started it, or a queue of items in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_S = 0.1  # how often who waits for room looks whether the work has failed


class Background:
    """Runs ``work`` on a daemon thread: a radio that blocks must not keep a node from hearing that the run ended."""

    def __init__(self, work: Callable[[], object], name: str) -> None:
        self._work = work
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # handed over, not swallowed: finished() raises it
            self._error = error
        finally:
            self._done.set()

    def finished(self, timeout_s: float = 0.0) -> bool:
        """Whether the work is done; raises what it raised."""
        done = self._done.wait(timeout_s)
        if done and self._error is not None:
            raise self._error
        return done


class Behind(Generic[T]):
    """Does ``work`` for each item, in the order in which they were put.

    Policy when ``limit`` items wait: `put` waits for room and counts it in ``waits``, so that what is done depends on
    the items alone; `offer` refuses, for a giver that cannot wait.

    Parameters
    ----------
    work : callable
        Takes one item. What it raises ends all work, and is raised by `put`, `offer` and `close`.
    limit : int
        Items that may wait.
    name : str
        Of the thread.
    """

    def __init__(self, work: Callable[[T], None], limit: int, name: str) -> None:
        self.waits = 0
        self._each = work
        self._limit = limit
        self._name = name
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._work: Background | None = None

    def put(self, item: T) -> None:
        """Hand over one item; raises what the work raised."""
        if self._work is None:
            self._work = Background(self._run, self._name)
        with self._changed:
            self.waits += len(self._items) >= self._limit
            while len(self._items) >= self._limit and not self._work.finished():
                self._changed.wait(LOOK_S)
            self._items.append(item)
            self._changed.notify_all()
        self._work.finished()

    def offer(self, item: T) -> bool:
        """Hand over one item if there is room for it; raises what the work raised."""
        if self._work is None:
            self._work = Background(self._run, self._name)
        with self._changed:
            room = len(self._items) < self._limit
            if room:
                self._items.append(item)
                self._changed.notify_all()
        self._work.finished()
        return room

    def close(self) -> None:
        """Wait until all is done; raises what the work raised. Nothing may be put after it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        while self._work is not None and not self._work.finished(LOOK_S):
            continue

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            self._each(item)
