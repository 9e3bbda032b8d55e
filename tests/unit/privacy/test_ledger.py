"""The ledger: nothing above the budget, nothing half written, nothing altered unnoticed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from testbed.errors import BudgetSpent, LedgerError
from testbed.files import ASIDE
from testbed.privacy.accounting import Event
from testbed.privacy.ledger import Budget, Ledger, last_file, read_entries
from tests.requirements import TRAINING


def by_hand(events: Sequence[Event], delta: float) -> float:
    """An easy composition in place of the accountant: the ledger's own work is what is tested here."""
    multipliers = [event["noise_multiplier"] for event in events]
    return math.inf if 0.0 in multipliers else sum(1 / z for z in multipliers)


def gaussian(z: float) -> Event:
    return {"kind": "GaussianDpEvent", "noise_multiplier": z}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "own" / "ledger.jsonl", Budget(epsilon=1.0, delta=1e-5), by_hand)


def charge(ledger: Ledger, z: float = 3.0) -> None:
    ledger.charge("evidence", gaussian(z), 1.0, 4000)


def test_what_would_overspend_is_refused_and_not_written(ledger: Ledger):
    for _ in range(3):
        charge(ledger)
    before = ledger.path.read_bytes()
    assert ledger.spent() == pytest.approx(1.0)
    for z in (3.0, 1e6, 0.0):
        with pytest.raises(BudgetSpent, match="budget is 1"):
            charge(ledger, z)
    assert ledger.path.read_bytes() == before


def test_entries_say_what_was_composed_until_then(ledger: Ledger):
    charge(ledger, 4.0)
    charge(ledger, 2.0)
    first, second = ledger.entries()
    assert (first.epsilon, second.epsilon) == (pytest.approx(0.25), pytest.approx(0.75))
    assert first.neighbouring == "add or remove one record of one client"


def test_it_counts_over_processes_and_restarts(ledger: Ledger):
    """A second ledger on the same file, and one opened anew, know what the first has spent."""
    other = Ledger(ledger.path, ledger.budget, by_hand)
    charge(ledger)
    charge(other)
    charge(ledger)
    with pytest.raises(BudgetSpent):
        charge(Ledger(ledger.path, ledger.budget, by_hand))


def test_a_crash_between_the_two_files_counts_as_a_release(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    """The last line is in the second file only: it is charged, and stands in the ledger once the next is written."""
    charge(ledger)
    real = os.replace

    def die_at_the_ledger(aside: Path, path: Path) -> None:
        if path == ledger.path:
            raise KeyboardInterrupt
        real(aside, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die_at_the_ledger)
        with pytest.raises(KeyboardInterrupt):
            charge(ledger)
    assert len(ledger.path.read_bytes().splitlines()) == 1
    again = Ledger(ledger.path, ledger.budget, by_hand)
    assert len(again.entries()) == 2
    charge(again)
    assert len(ledger.path.read_bytes().splitlines()) == 3
    with pytest.raises(BudgetSpent):
        charge(again)


def test_dropping_the_last_line_gains_nothing(ledger: Ledger):
    """It stands in the second file too, so the budget stays spent."""
    for _ in range(3):
        charge(ledger)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:2]))
    assert ledger.spent() == pytest.approx(1.0)
    with pytest.raises(BudgetSpent):
        charge(ledger, 1e6)


def test_a_link_in_place_of_the_lock_is_not_followed(ledger: Ledger, tmp_path: Path):
    """The name of the lock can be guessed, so it is not opened where it is a link; nothing is released then."""
    target = tmp_path / "elsewhere"
    ledger.path.parent.mkdir(parents=True)
    ledger.path.with_name(ledger.path.name + ".lock").symlink_to(target)
    with pytest.raises(LedgerError, match="nothing is released"):
        charge(ledger)
    assert not target.exists()


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_ledger_whole(ledger: Ledger, broken: str, monkeypatch: pytest.MonkeyPatch):
    """The disk fills up, or the process dies before the rename: nothing is charged, and the caller must not release."""
    charge(ledger)
    before = ledger.path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(LedgerError, match="nothing is released"):
            charge(ledger)
    assert ledger.path.read_bytes() == before
    assert not list(ledger.path.parent.glob(f"*{ASIDE}"))
    charge(ledger)


@pytest.mark.parametrize(
    "damage",
    [
        *("removed", "changed", "cut", "not text", "last changed", "two last removed", "emptied", "both emptied"),
        *("second file gone", "second file says none"),
    ],
)
def test_a_damaged_ledger_allows_nothing(ledger: Ledger, damage: str):
    for _ in range(3):
        charge(ledger)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    content = {
        "removed": b"".join([lines[0], lines[2]]),
        "changed": b"".join(lines).replace(b'"noise_multiplier":3.0', b'"noise_multiplier":9.0', 1),
        "cut": b"".join(lines)[:-1],
        "not text": b"\xff\xfe" + b"".join(lines),
        "last changed": b"".join(lines[:2]) + lines[2].replace(b'"noise_multiplier":3.0', b'"noise_multiplier":9.0'),
        "two last removed": lines[0],
        "emptied": b"",
        "second file gone": b"".join(lines),
        "both emptied": b"",
        "second file says none": b"",
    }[damage]
    if damage == "second file gone":
        last_file(ledger.path).unlink()
    if damage == "both emptied":
        last_file(ledger.path).write_bytes(b"")
    if damage == "second file says none":
        ledger.path.unlink()
        last_file(ledger.path).write_bytes(b'{"count":0,"line":""}')
    if damage != "second file says none":
        ledger.path.write_bytes(content)
    with pytest.raises(LedgerError, match="nothing is released"):
        charge(ledger, 1e6)
    with pytest.raises(LedgerError):
        Ledger(ledger.path, ledger.budget, by_hand)


def test_a_release_without_noise_needs_a_budget_without_bound(tmp_path: Path):
    free = Ledger(tmp_path / "ledger.jsonl", Budget(epsilon=math.inf, delta=1e-5), by_hand)
    free.charge("evidence", gaussian(0.0), 1.0, 1)
    assert read_entries(free.path)[0].epsilon is None
    assert free.spent() == math.inf


def test_releases_of_several_mechanisms_compose_and_what_cannot_be_accounted_is_refused(tmp_path: Path):
    """Gaussian after Laplace: below the sum of both, above each; an event unknown to the accountant writes nothing."""
    pytest.importorskip("dp_accounting", reason=TRAINING)
    ledger = Ledger(tmp_path / "ledger.jsonl", Budget(epsilon=10.0, delta=1e-5))
    spent = []
    for event in ({"kind": "LaplaceDpEvent", "noise_multiplier": 0.5}, gaussian(2.0)):
        alone = Ledger(tmp_path / f"{event['kind']}.jsonl", Budget(epsilon=10.0, delta=1e-5))
        spent.append(alone.charge("evidence", event, 1.0, 1).epsilon)
        ledger.charge("evidence", event, 1.0, 1)
    assert max(spent) < ledger.spent() < sum(spent)
    assert [entry.event["kind"] for entry in ledger.entries()] == ["LaplaceDpEvent", "GaussianDpEvent"]
    before = ledger.path.read_bytes()
    with pytest.raises(LedgerError, match="ZCDpEvent"):
        ledger.charge("evidence", {"kind": "ZCDpEvent", "rho": 1e-9, "xi": 0.0}, 1.0, 1)
    assert ledger.path.read_bytes() == before


def test_a_composition_that_is_no_number_is_above_every_budget(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.jsonl", Budget(epsilon=10.0, delta=1e-5), lambda *_: math.nan)
    with pytest.raises(BudgetSpent):
        ledger.charge("evidence", gaussian(1.0), 1.0, 1)
