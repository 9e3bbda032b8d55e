"""A node's own record of what it has released, on its own disk, asked before anything leaves. It trusts no server.

One line of JSON a release, each with the hash of the line before it. A second file, ``.last``, keeps the number of
lines and the last one, and is written first: so a line that is missing or altered is noticed, the last one too, and
after a crash between the two writes the release counts as made, which costs budget and never privacy. What cannot be
noticed from inside is that both files were removed, or put back to an older state, by whoever owns the disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from testbed.errors import BudgetSpent, LedgerError
from testbed.files import replace
from testbed.privacy.accounting import NEIGHBOURING, Event, epsilon_spent

LOCK_FILE = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # nothing is ever written into it
FIRST = "0" * 64  # what the first entry names as the hash of the one before it
SLACK = 1e-9  # relative, for the rounding of an epsilon that was calibrated to equal the budget


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be spent on the records that a ledger stands for, over all releases ever made from them."""

    epsilon: float  # infinite: nothing is promised
    delta: float


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One release of any mechanism."""

    release: str  # what was released, for whom
    event: dict[str, Any]  # as testbed.privacy.accounting writes a DpEvent
    sensitivity: float  # of the released value, in the norm of the mechanism
    values: int  # how many numbers left
    epsilon: float | None  # composed over this entry and all before it; None: unbounded
    delta: float
    neighbouring: str = NEIGHBOURING
    at: str = ""  # UTC
    previous: str = FIRST  # SHA-256 of the line before


class Ledger:
    """The entries in one file and the budget that they may not exceed.

    Parameters
    ----------
    path : Path
        May not exist yet.
    budget : Budget
    compose : callable
        Composed epsilon of events at a delta.

    Raises
    ------
    LedgerError
        If the file is there and is not a whole, unaltered ledger: then nothing may be released.
    """

    def __init__(
        self, path: Path, budget: Budget, compose: Callable[[Sequence[Event], float], float] = epsilon_spent
    ) -> None:
        self.path = path
        self.budget = budget
        self._compose = compose
        self.entries()

    def entries(self) -> list[Entry]:
        """All entries, checked."""
        return read_entries(self.path)

    def spent(self) -> float:
        """Composed epsilon of all entries."""
        return self._compose([entry.event for entry in self.entries()], self.budget.delta)

    def charge(self, release: str, event: Event, sensitivity: float, values: int) -> Entry:
        """Write one release down, before it is made.

        Parameters
        ----------
        release : str
            What is released, for whom.
        event : mapping
            As :func:`testbed.privacy.accounting.as_tree` writes it.
        sensitivity : float
            In the norm of the mechanism; stated, not used.
        values : int
            How many numbers leave.

        Returns
        -------
        Entry

        Raises
        ------
        BudgetSpent
            If it would take the composed epsilon above the budget; nothing is written then.
        LedgerError
            If the ledger was altered or cannot be written, or the event cannot be accounted.
        """
        with self._locked():
            lines = read_lines(self.path)
            entries = [msgspec.json.decode(line, type=Entry) for line in lines]
            composed = self._compose([*(entry.event for entry in entries), event], self.budget.delta)
            if not composed <= self.budget.epsilon * (1 + SLACK):
                raise BudgetSpent(
                    f"{release}: refused: {len(entries)} releases are on the ledger and one more would make epsilon "
                    f"{composed:.2f} at delta {self.budget.delta:g}; the budget is {self.budget.epsilon:g}"
                )
            entry = Entry(
                release=release,
                event=dict(event),
                sensitivity=sensitivity,
                values=values,
                epsilon=None if math.isinf(composed) else composed,
                delta=self.budget.delta,
                at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                previous=line_hash(lines[-1]) if lines else FIRST,
            )
            lines.append(msgspec.json.encode(entry))
            last = Last(count=len(lines), line=lines[-1].decode())
            replace(last_file(self.path), msgspec.json.encode(last), durable=True)
            replace(self.path, b"".join(line + b"\n" for line in lines), durable=True)
            return entry

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, also of several processes."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), LOCK_FILE, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be written, so nothing is released: {error.strerror}") from error


class Last(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the second file says of the first."""

    count: int  # of lines
    line: str  # the last one


def last_file(path: Path) -> Path:
    """Where a ledger's number of lines and last line are kept."""
    return path.with_name(path.name + ".last")


def line_hash(line: bytes) -> str:
    """SHA-256 of a line without its end."""
    return hashlib.sha256(line).hexdigest()


def read_entries(path: Path) -> list[Entry]:
    """The entries of a ledger; none where there is no file yet.

    Raises
    ------
    LedgerError
        If a line is not an entry, does not follow the line before it, or is missing.
    """
    return [msgspec.json.decode(line, type=Entry) for line in read_lines(path)]


def read_lines(path: Path) -> list[bytes]:
    """The lines of a ledger, checked; with the one that a crash kept from being written to it.

    Raises
    ------
    LedgerError
        If it is cut off, changed, or does not end as the file beside it says.
    """
    content, second = read_file(path), read_file(last_file(path))
    if content is not None and not content.endswith(b"\n"):
        raise LedgerError(f"{path}: the last line is cut off, so nothing is released")
    lines = (content or b"").splitlines()
    if second is not None:
        try:
            last = msgspec.json.decode(second, type=Last)
        except msgspec.DecodeError as error:
            raise LedgerError(f"{last_file(path)}: cannot be understood, so nothing is released: {error}") from error
        if last.count == len(lines) + 1:
            lines.append(last.line.encode())
        if last.count < 1 or last.count != len(lines) or last.line.encode() != lines[-1]:
            raise LedgerError(f"{path}: does not end as {last_file(path).name} says it does, so nothing is released")
    elif lines:
        raise LedgerError(
            f"{last_file(path)}: is missing, so nothing is released: put it back beside {path.name}, or begin a ledger "
            "elsewhere for records of which nothing was released yet"
        )
    previous = FIRST
    for number, line in enumerate(lines, 1):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.DecodeError as error:
            raise LedgerError(f"{path}: line {number} is not an entry, so nothing is released: {error}") from error
        if entry.previous != previous:
            raise LedgerError(f"{path}: line {number} does not follow the line before it, so nothing is released")
        previous = line_hash(line)
    return lines


def read_file(path: Path) -> bytes | None:
    """Its bytes; None if there is no file.

    Raises
    ------
    LedgerError
        If it is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read, so nothing is released: {error.strerror}") from error
