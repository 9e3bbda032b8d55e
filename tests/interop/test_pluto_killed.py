"""Whatever ends a process that transmits: read from the virtual Pluto's own state, no carrier stays on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from testbed.air.iiod.air import present
from testbed.air.iiod.server import IiodServer
from testbed.errors import RadioError
from testbed.radio.base import RadioSettings
from testbed.radio.registry import open_radio
from tests.addresses import own_address
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("pluto", "libiio")

# One process imports what takes a second; each line that it reads becomes a child that transmits and then does as told.
NURSERY = """
import os, sys, time
import adi
import numpy as np
from testbed.radio.base import RadioSettings
from testbed.radio.registry import open_radio

for line in iter(sys.stdin.readline, ""):
    address, ending = line.split()
    if os.fork():
        continue
    os.setpgid(0, 0)
    radio = open_radio(f"pluto:ip:{address},tx_gain_db=-20", RadioSettings(1.92e6, tx_channels=1))
    radio.send(np.full((1, 9600), 0.5, np.complex64))
    if ending == "forked" and not os.fork():
        time.sleep(20)  # a child that lives on
        os._exit(0)
    print(os.getpid(), flush=True)
    if ending == "exception":
        raise RuntimeError("uncaught")
    if ending == "exit":
        os._exit(3)
    if ending == "abort":
        os.abort()
    with radio:
        time.sleep(30)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True
    )
    yield process
    process.communicate(timeout=30)


@pytest.fixture
def pluto() -> Iterator[IiodServer]:
    (server,) = present([own_address()], channels=2)
    yield server
    server.close()


def transmitting(nursery: subprocess.Popen, pluto: IiodServer, ending: str) -> int:
    """The id of a process that transmits."""
    assert nursery.stdin is not None and nursery.stdout is not None
    nursery.stdin.write(f"{pluto.pluto.address} {ending}\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def mute(pluto: IiodServer) -> bool:
    phy = pluto.pluto.phy
    return phy.tx_lo.off and [float(gain_db) for gain_db in phy.tx_gains_db] == [-89.75, -89.75]


@pytest.mark.parametrize("ending", ["KILL", "KILL-group", "TERM", "INT", "HUP", "SEGV", "exception", "exit", "abort"])
def test_whatever_ends_the_process_the_transmitter_is_mute(nursery, pluto, ending: str):
    """The oscillator is off and both channels at their strongest attenuation, within seconds; before, it was on."""
    on: list[bool] = []
    change = pluto.pluto.phy.write_tx_gain

    def watched(channel: int, text: str) -> None:
        change(channel, text)
        on.append(not pluto.pluto.phy.tx_lo.off and pluto.pluto.phy.tx_gains_db[0] == -20)

    pluto.pluto.phy.write_tx_gain = watched  # type: ignore[method-assign]
    pid = transmitting(nursery, pluto, ending)
    assert any(on)
    number = getattr(signal, f"SIG{ending.partition('-')[0]}", None)
    if number is not None:
        assert not mute(pluto)
        (os.killpg if ending.endswith("group") else os.kill)(pid, number)
    wait_until(lambda: mute(pluto), 20)


def test_a_child_that_lives_on_does_not_keep_the_transmitter_on(nursery, pluto):
    """A process that was forked from the owner has its files open, and is no owner."""
    pid = transmitting(nursery, pluto, "forked")
    assert not mute(pluto)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: mute(pluto), 15)
    os.killpg(pid, signal.SIGKILL)  # the child, whose group is its parent's


def test_a_watchdog_that_was_ended_ends_the_transmission(pluto):
    """Kill -9 of the watchdog: the next send mutes the transmitter and says so."""
    with open_radio(f"pluto:ip:{pluto.pluto.address},tx_gain_db=-20", RadioSettings(1.92e6, tx_channels=1)) as radio:
        radio.send(np.zeros((1, 100), np.complex64))
        radio._watchdog._process.kill()
        radio._watchdog._process.wait(10)
        with pytest.raises(RadioError, match="muted: the watchdog"):
            radio.send(np.zeros((1, 100), np.complex64))
        assert mute(pluto)


def test_a_watchdog_told_to_end_mutes_only_when_its_owner_has_had_time(pluto):
    """Who ends a service ends all of its processes: the owner closes by itself meanwhile, or is muted after 5 s."""
    with open_radio(f"pluto:ip:{pluto.pluto.address},tx_gain_db=-20", RadioSettings(1.92e6, tx_channels=1)) as radio:
        radio._watchdog._process.terminate()
        time.sleep(0.5)
        assert radio._watchdog.watches and not mute(pluto)
        wait_until(lambda: mute(pluto), 20)


def test_who_transmits_next_waits_for_the_watchdog_of_who_was_killed(nursery, pluto):
    """A service that is started again at once is not muted by what is left of its predecessor."""
    pid = transmitting(nursery, pluto, "stay")
    os.kill(pid, signal.SIGKILL)
    second = transmitting(nursery, pluto, "stay")
    time.sleep(1.0)
    assert not mute(pluto)
    os.kill(second, signal.SIGKILL)
