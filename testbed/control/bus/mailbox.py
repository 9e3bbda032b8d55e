"""What members have said and the server has not taken yet: bounded for each member, so that none crowds out another.

The policy: nothing that was taken in is ever dropped. What a member *is* (ready, lost) is kept once for each and always
has room. What it *says* counts against a limit of its own; a member that keeps to the bus's window never reaches it,
and one that exceeds it is refused, by name, while the others go on. A message that repeats the one before it, still
waiting, is kept once.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Container
from typing import Generic, TypeVar

import msgspec

WINDOW = 16  # messages that a member may have said and the server not taken; then it waits, as its callers do
MAX_WAITING = 4 * WINDOW  # of one member: its window, what it says in closing, and as much again
MAX_WAITING_BYTES = 2**29  # of one member: two messages of the largest size

Event = TypeVar("Event")


class Waiting(msgspec.Struct, Generic[Event], eq=False):
    """One event that nobody has taken."""

    node: str
    event: Event
    size: int
    counted: bool


class Mailbox(Generic[Event]):
    """Events by member, in the order in which they came. Any thread may put and get."""

    def __init__(self) -> None:
        self._events: deque[Waiting[Event]] = deque()
        self._last: dict[str, Waiting[Event]] = {}
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._changed = threading.Condition()

    def put(self, node: str, event: Event, size: int) -> bool | None:
        """Whether there is room; None where the event repeats the one before it and was not kept again."""
        with self._changed:
            last = self._last.get(node)
            if last is not None and last.counted and last.event == event:
                return None
            if self._count[node] >= MAX_WAITING or self._bytes[node] + size > MAX_WAITING_BYTES:
                return False
            self._append(Waiting(node, event, size, True))
            return True

    def put_state(self, node: str, event: Event) -> None:
        """What a member is: room is always there, and what it was of the same kind before, unread, is replaced."""
        with self._changed:
            for waiting in self._events:
                if waiting.node == node and not waiting.counted and type(waiting.event) is type(event):
                    self._events.remove(waiting)
                    break
            self._append(Waiting(node, event, 0, False))

    def get(self, timeout_s: float, of: Container[str] | None = None) -> tuple[str, Event, bool] | None:
        """The first event, of these members alone if given, and whether it counted; None if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._first(of) is not None, max(timeout_s, 0.0))
            waiting = self._first(of)
            if waiting is None:
                return None
            self._events.remove(waiting)
            if self._last.get(waiting.node) is waiting:
                del self._last[waiting.node]
            if waiting.counted:
                self._count[waiting.node] -= 1
                self._bytes[waiting.node] -= waiting.size
            if not self._count[waiting.node]:
                del self._count[waiting.node], self._bytes[waiting.node]
            return waiting.node, waiting.event, waiting.counted

    def _append(self, waiting: Waiting[Event]) -> None:
        self._events.append(waiting)
        self._last[waiting.node] = waiting
        if waiting.counted:
            self._count[waiting.node] += 1
            self._bytes[waiting.node] += waiting.size
        self._changed.notify_all()

    def _first(self, of: Container[str] | None) -> Waiting[Event] | None:
        return next((w for w in self._events if of is None or w.node in of), None)
