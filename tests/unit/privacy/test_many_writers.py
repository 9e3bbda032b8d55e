"""One ledger, several processes at once: what was charged is on it, all of it, and no more than the budget allows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from testbed.privacy.ledger import read_entries

ALLOWED, WRITERS = 12, 4
# Composed by counting, slowly: whoever reads the ledger and does not hold the lock writes over what came meanwhile.
WRITER = """
import json, pathlib, sys, time
from testbed.errors import BudgetSpent
from testbed.privacy.ledger import Budget, Ledger

def count(events, delta):
    time.sleep(0.002)
    return float(len(events))

path, name, allowed = sys.argv[1:]
ledger = Ledger(pathlib.Path(path), Budget(float(allowed), 1e-5), count)
print("ready", flush=True)
sys.stdin.readline()
made = []
try:
    while True:
        release = f"{name}, {len(made)}"
        ledger.charge(release, {"kind": "NoOpDpEvent"}, 1.0, 1)
        made.append(release)
except BudgetSpent:
    print(json.dumps(made))
"""


def test_writers_at_once_charge_exactly_what_the_budget_allows(tmp_path: Path):
    """Four processes charge until they are refused: 12 releases are allowed among them, and those 12 are written."""
    path = tmp_path / "ledger.jsonl"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"writer-{number}", str(ALLOWED)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        outputs = [writer.communicate(timeout=50) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
    for writer, (_, errors) in zip(writers, outputs, strict=True):
        assert writer.returncode == 0, errors
    made = [release for output, _ in outputs for release in json.loads(output)]
    assert len(made) == ALLOWED
    assert sorted(made) == sorted(entry.release for entry in read_entries(path))
