"""A node's own record of what it has released, on its own disk, asked before anything leaves. It trusts no server.

One line of JSON a release, each with the hash of the line before it. The file is replaced whole, so that a reader sees
all of an entry or nothing of it; an entry is on the disk before the release exists, so that a crash in between costs
budget and never privacy.
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

import msgspec

from testbed.errors import BudgetSpent, LedgerError
from testbed.files import ASIDE
from testbed.privacy.accounting import NEIGHBOURING, epsilon_spent

FIRST = "0" * 64  # what the first entry names as the hash of the one before it
SLACK = 1e-9  # relative, for the rounding of an epsilon that was calibrated to equal the budget


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be spent on the records that a ledger stands for, over all releases ever made from them."""

    epsilon: float  # infinite: nothing is promised
    delta: float


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One Gaussian release."""

    release: str  # what was released, for whom
    noise_multiplier: float  # standard deviation over sensitivity; 0: no noise
    sensitivity: float  # L2, of the released value
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
        Composed epsilon of noise multipliers at a delta.

    Raises
    ------
    LedgerError
        If the file is there and is not a whole, unaltered ledger: then nothing may be released.
    """

    def __init__(
        self, path: Path, budget: Budget, compose: Callable[[Sequence[float], float], float] = epsilon_spent
    ) -> None:
        self.path = path
        self.budget = budget
        self._compose = compose
        self.entries()

    def entries(self) -> list[Entry]:
        """All entries, checked against their chain of hashes."""
        return read_entries(self.path)

    def spent(self) -> float:
        """Composed epsilon of all entries."""
        return self._compose([entry.noise_multiplier for entry in self.entries()], self.budget.delta)

    def charge(self, release: str, noise_multiplier: float, sensitivity: float, values: int) -> Entry:
        """Write one release down, before it is made.

        Raises
        ------
        BudgetSpent
            If it would take the composed epsilon above the budget; nothing is written then.
        LedgerError
            If the ledger was altered or cannot be written.
        """
        with self._locked():
            entries = self.entries()
            multipliers = [entry.noise_multiplier for entry in entries] + [noise_multiplier]
            composed = self._compose(multipliers, self.budget.delta)
            if composed > self.budget.epsilon * (1 + SLACK):
                raise BudgetSpent(
                    f"{release}: refused: {len(entries)} releases are on the ledger and one more would make epsilon "
                    f"{composed:.2f} at delta {self.budget.delta:g}; the budget is {self.budget.epsilon:g}"
                )
            lines = self.path.read_bytes() if entries else b""
            entry = Entry(
                release=release,
                noise_multiplier=noise_multiplier,
                sensitivity=sensitivity,
                values=values,
                epsilon=None if math.isinf(composed) else composed,
                delta=self.budget.delta,
                at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                previous=line_hash(lines.splitlines()[-1]) if lines else FIRST,
            )
            self._replace(lines + msgspec.json.encode(entry) + b"\n")
            return entry

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, also of several processes."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.with_name(self.path.name + ".lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be written, so nothing is released: {error.strerror}") from error

    def _replace(self, content: bytes) -> None:
        """On the disk, not only in its cache, when this returns."""
        aside = self.path.with_name(self.path.name + ASIDE)
        try:
            with aside.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(aside, self.path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def line_hash(line: bytes) -> str:
    """SHA-256 of a line without its end."""
    return hashlib.sha256(line).hexdigest()


def read_entries(path: Path) -> list[Entry]:
    """The entries of a ledger's file; none if there is no file.

    Raises
    ------
    LedgerError
        If a line is not an entry, or does not follow the line before it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read, so nothing is released: {error.strerror}") from error
    entries, previous = [], FIRST
    for number, line in enumerate(content.splitlines(), 1):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.DecodeError as error:
            raise LedgerError(f"{path}: line {number} is not an entry, so nothing is released: {error}") from error
        if entry.previous != previous:
            raise LedgerError(f"{path}: line {number} does not follow the line before it, so nothing is released")
        entries.append(entry)
        previous = line_hash(line)
    if content and not content.endswith(b"\n"):
        raise LedgerError(f"{path}: the last line is cut off, so nothing is released")
    return entries
