"""One process at a time sets up a Pluto, and nothing that another user lays in its way is touched."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from testbed.errors import RadioError
from testbed.radio.pluto_alone import Alone

HOLD = """
import sys
from testbed.radio.pluto_alone import Alone
with Alone(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_at_a_time_also_over_processes_and_free_when_its_owner_is_killed():
    """Held by another process; another Pluto is free meanwhile; after kill -9 it is free without any clearing up."""
    owner = subprocess.Popen([sys.executable, "-c", HOLD, "ip:10.0.0.1"], stdin=-1, stdout=-1)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with Alone("ip:10.0.0.2"), pytest.raises(RadioError, match=r"ip:10\.0\.0\.1: another process"):
            Alone("ip:10.0.0.1", wait_s=0.1).__enter__()
    finally:
        owner.kill()
        owner.communicate()
    with Alone("ip:10.0.0.1", wait_s=10.0):
        pass


def test_who_waits_gets_it():
    got = threading.Event()

    def second() -> None:
        with Alone("ip:10.0.0.3"):
            got.set()

    thread = threading.Thread(target=second)
    with Alone("ip:10.0.0.3"):
        thread.start()
        time.sleep(0.1)
        assert not got.is_set()
    thread.join(20)
    assert got.is_set()


def test_nothing_lies_in_the_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A name there can be guessed and a link laid under it; so there is no file at all."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Alone("ip:10.0.0.4"):
        assert not list(tmp_path.iterdir())
