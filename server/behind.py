"""Work that must not keep its giver waiting: done in order on a thread of its own, behind a queue of bounded length."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from testbed.background import Background

T = TypeVar("T")

LOOK_S = 0.1  # how often who waits for room looks whether the work has failed


class Behind(Generic[T]):
    """Does ``work`` for each item, in the order in which they were put.

    Policy when ``limit`` items wait: `put` waits for room and counts it in ``waits``. Nothing is ever dropped, so that
    what is done depends on the items alone.

    Parameters
    ----------
    work : callable
        Takes one item. What it raises ends all work, and is raised by `put` and `close`.
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
