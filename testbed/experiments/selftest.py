"""`semtb radio selftest`: what every radio must do, tried on one Pluto through its digital loopback, as a report."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from testbed.config.lab import require_permission
from testbed.errors import RadioError, SemtbError
from testbed.files import require_writable, write_aside
from testbed.radio import contract
from testbed.radio.base import RadioSettings, Tuning
from testbed.radio.contract_ends import Broken, SamplesLost, require
from testbed.radio.pluto import PlutoRadio
from testbed.radio.pluto_libraries import libraries
from testbed.radio.pluto_mute import PHY, is_mute
from testbed.radio.pluto_probe import Facts, Sustained, facts_of, highest_rate_hz, require_pluto, sustained
from testbed.radio.pluto_uri import Choice, parse
from testbed.record.provenance import machine, versions

RATE_HZ = 1.92e6
TRIES = 3  # of a check in which samples were lost, as a busy machine loses some
SEED = 1
MUTE_S = 15.0  # for a watchdog to mute what its owner left on
TRANSMITTER = """
import sys, time
from testbed.radio.base import RadioSettings
from testbed.radio.registry import open_radio
radio = open_radio(sys.argv[1], RadioSettings(float(sys.argv[2]), tx_channels=1))
print("on", flush=True)
time.sleep(60)
"""


class Checked(msgspec.Struct, frozen=True):
    """One check: passed, failed or left out, and why."""

    name: str
    outcome: str
    words: str = ""
    seconds: float = 0.0


class SelfTest(msgspec.Struct, frozen=True):
    """The report that is sent in."""

    facts: Facts
    machine: str
    versions: dict[str, str]
    checks: list[Checked]
    rates: list[Sustained]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome != "failed" for check in self.checks)


class LoopEnds:
    """One Pluto as its own far end: two connections, digital loopback, nothing radiated."""

    blocks, hears, gain, step = True, False, 0.5, 1 / 2048
    refused = (Tuning(lo_hz=7e9), Tuning(rx_gain_db=99.0))

    def __init__(self, uri: str, facts: Facts, waits: bool) -> None:
        self.channels, self.waits = facts.channels, waits
        self._uri = f"{uri},mute=1"
        self._opened: list[PlutoRadio] = []

    def sender(self) -> PlutoRadio:
        """See `testbed.radio.contract_ends.Ends`."""
        return self._open(RadioSettings(RATE_HZ, tx_channels=self.channels))

    def receiver(self) -> PlutoRadio:
        """See `testbed.radio.contract_ends.Ends`."""
        return self._open(RadioSettings(RATE_HZ, rx_channels=self.channels))

    def _open(self, settings: RadioSettings) -> PlutoRadio:
        self._opened.append(PlutoRadio(self._uri, settings))
        return self._opened[-1]

    def close(self) -> None:
        """Whatever a check left open."""
        while self._opened:
            self._opened.pop().close()


def selftest(uri: str, seconds: float, out: Path | None, should_stop: Callable[[], bool], console: Console) -> SelfTest:
    """Try on a Pluto what every radio must do; returns and writes the report.

    Parameters
    ----------
    uri : str
        Of a Pluto at ``ip:``; nobody else may use it meanwhile.
    seconds : float
        For each sample rate that is tried in the end; 0: none.
    out : Path, optional
        Of the report; else ``selftest-SERIAL.json`` here.
    should_stop : callable
    console : Console

    Raises
    ------
    RadioError, RadioNotFound, MissingExtra
        If there is no such Pluto.
    """
    require_pluto(uri)
    choice = parse(uri, RadioSettings(RATE_HZ, lo_hz=2.45e9, tx_gain_db=-80.0))
    if not choice.address.startswith("ip:"):
        raise RadioError(f"{uri}: a self-test needs two connections: write pluto:ip:192.168.2.1, as USB gives only one")
    with PlutoRadio(uri, RadioSettings(RATE_HZ)) as radio:
        facts, waits, before_hz = facts_of(radio), radio.paced, radio.device("rate").sdr.sample_rate
    out = out or Path(f"selftest-{facts.serial or 'pluto'}.json")
    require_writable(out)
    console.print(f"{facts.model}, serial number {facts.serial}, firmware {facts.firmware}", soft_wrap=True)
    checks = []
    for name, check in _checks(uri, choice, facts, waits):
        if should_stop():
            break
        checks.append(_run(name, check))
        one = checks[-1]
        console.print(f"{one.outcome:8} {one.name}{': ' + one.words if one.words else ''}", soft_wrap=True)
    rates = list(sustained(uri, facts.channels, seconds, should_stop, highest_rate_hz(facts))) if seconds else []
    with PlutoRadio(uri, RadioSettings(float(before_hz), rx_channels=1)):
        pass  # the rate as it was
    report = SelfTest(facts, machine(), versions() | _libraries(), checks, rates)
    write_aside(out, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    failed = sum(one.outcome == "failed" for one in checks)
    good = max((one.rate_hz for one in rates if one.holds), default=0.0)
    console.print(
        f"{len(checks) - failed} of {len(checks)} passed" + (f"; {good / 1e6:g} MS/s sustained" if good else "")
    )
    console.print(f"written: {out}; send it in, passed or not: it is what is known of real Plutos", soft_wrap=True)
    return report


def _checks(uri: str, choice: Choice, facts: Facts, waits: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """Titles and checks, in order."""
    seeded: list[Callable[..., None]] = [
        contract.arrives_bit_for_bit,
        contract.arrives_as_it_was,
        contract.close_frees_the_address,
    ]
    plain: list[Callable[..., None]] = [
        contract.beyond_full_scale_is_refused,
        contract.wrong_shapes_are_refused,
        contract.no_channel_is_said,
        contract.nothing_after_finish,
        contract.says_who_it_is,
        contract.is_retuned_or_cannot_be,
    ]
    for seeded_check in seeded:
        yield _title(seeded_check), partial(_looped, uri, facts, waits, seeded_check, seeded=True)
    for check in plain:
        yield _title(check), partial(_looped, uri, facts, waits, check, seeded=False)
    for end in ("sender", "receiver"):
        waiting = partial(contract.close_ends_a_wait, end=end)
        yield f"Close ends a {end} that waits", partial(_looped, uri, facts, waits, waiting, seeded=False)
    yield "A transmitter whose process is killed is mute", partial(_killed, uri, choice, facts)


def _looped(uri: str, facts: Facts, waits: bool, check: Callable[..., None], seeded: bool) -> None:
    """Run one check of the contract in digital loopback."""
    ends = LoopEnds(uri, facts, waits)
    with _loopback(facts.address):
        try:
            check(ends, *([np.random.default_rng(SEED)] if seeded else []))
        finally:
            ends.close()


def _killed(uri: str, choice: Choice, facts: Facts) -> None:
    """Kill -9 a process that transmits, and ask the device."""
    own = f"pluto:{choice.address},lo_hz={choice.lo_hz!r},tx_gain_db={choice.tx_gain_db!r}"
    require_permission(uri, choice.lo_hz, RATE_HZ, choice.tx_gain_db, facts.virtual)
    context = libraries()[1].Context(facts.address)
    process = subprocess.Popen(
        [sys.executable, "-c", TRANSMITTER, own, str(RATE_HZ)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        require(process.stdout.readline() == b"on\n", "it did not begin to transmit")
        require(not is_mute(context), "it is mute though it transmits")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    end_s = time.monotonic() + MUTE_S
    while not is_mute(context):
        require(time.monotonic() < end_s, f"not mute {MUTE_S:.0f} s after its process was killed: switch it off")
        time.sleep(0.1)


@contextmanager
def _loopback(address: str) -> Iterator[None]:
    """What is sent is received, within the chip."""
    context: Any = libraries()[1].Context(address)
    attribute = context.find_device(PHY).debug_attrs["loopback"]
    before, attribute.value = attribute.value, "1"
    try:
        yield
    finally:
        attribute.value = before


def _run(name: str, check: Callable[[], None]) -> Checked:
    begin_s = time.monotonic()

    def done(outcome: str, words: str = "") -> Checked:
        return Checked(name, outcome, " ".join(words.split()), round(time.monotonic() - begin_s, 2))

    for attempt in range(1, TRIES + 1):
        try:
            check()
            return done("passed", f"at attempt {attempt}" if attempt > 1 else "")
        except SamplesLost as error:
            words = str(error)
        except Broken as error:
            return done("failed", str(error))
        except SemtbError as error:
            left_out = "it may only receive" in str(error) or "not transmitting" in str(error)
            return done("left out" if left_out else "failed", str(error))
        except OSError as error:
            return done("failed", f"libiio: {error}")
    return done("failed", f"{words}, {TRIES} times")


def _libraries() -> dict[str, str]:
    """Versions of what leads to the device."""
    major, minor, tag = libraries()[1].version
    return {"pyadi-iio": metadata.version("pyadi-iio"), "libiio": f"{major}.{minor} ({tag})"}


def _title(check: Callable[..., None]) -> str:
    """The first sentence of a check."""
    return (check.__doc__ or check.__name__).strip().splitlines()[0].rstrip(".")
