"""Work done ahead of who takes it: an iterator on a thread of its own, behind a queue of bounded length."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from testbed.background import Background

T = TypeVar("T")


class Ahead(Generic[T]):
    """Runs ``items`` up to ``limit`` items ahead; when so many wait, it waits. Iterate over it once, or `poll` it.

    What ``items`` raises is raised by the iteration, behind all that came before it.
    """

    def __init__(self, items: Iterator[T], limit: int, name: str) -> None:
        self.waits = 0  # how often the taker found nothing
        self._limit = limit
        self._queue: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._work = Background(lambda: self._run(items), name)

    def filled(self) -> bool:
        """Whether as much is done as can be before something is taken; raises what the work raised."""
        with self._changed:
            done = self._ended or len(self._queue) >= self._limit
        if self._ended:
            self._work.finished(1.0)
        return done

    def close(self) -> None:
        """The work ends after its present item; what waits is dropped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def poll(self) -> T | None:
        """The next item if one is there, for a taker that cannot wait; raises what the work raised."""
        with self._changed:
            if self._queue:
                item = self._queue.popleft()
                self._changed.notify_all()
                return item
            self.waits += not self._ended
        if self._ended:
            self._work.finished(1.0)
        return None

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                if not self._queue and not self._ended and not self._closed:
                    self.waits += 1
                self._changed.wait_for(lambda: self._queue or self._ended or self._closed)
                if self._closed or not self._queue:
                    break
                item = self._queue.popleft()
                self._changed.notify_all()
            yield item
        self._work.finished(1.0)

    def _run(self, items: Iterator[T]) -> None:
        try:
            for item in items:
                with self._changed:
                    self._changed.wait_for(lambda: len(self._queue) < self._limit or self._closed)
                    if self._closed:
                        return
                    self._queue.append(item)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
