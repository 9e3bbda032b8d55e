"""Procedures on virtual Plutos with known faults, through unmodified pyadi-iio, by the code path of hardware.

Emulator and procedures were written from the same notes; `tests/unit/calibration` has signals by other formulas.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from calibration.apply import CalibratedRadio, corrections_from
from calibration.bench import Bench, Given, Player, Station
from calibration.plan import TonePlan
from calibration.record import Record
from calibration.registry import calibrate, find_procedure
from calibration.store import read
from testbed.air.iiod.air import present
from testbed.air.iiod.cabling import Cable
from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.live_device import CORRECTED
from testbed.air.iiod.pace import SLACK_S, WallClock
from testbed.config import FrontEnd, Oscillator, RadioModel
from testbed.phy.beacon import beacon_period
from testbed.phy.waveform import Waveform
from testbed.radio.base import RadioSettings
from testbed.radio.registry import open_radio
from tests.addresses import own_address
from tests.unit.calibration.textbook import level_dbc

pytestmark = [pytest.mark.needs("pluto", "libiio"), pytest.mark.timeout(180)]

RATE = 1.92e6
SPEED, PATIENCE_S = 0.5, 1.0  # of the wall clock, and for which it waits: for machines that are busy
FIR_DB = -6.02  # of the filter for this rate, interpolating by 4: its taps sum to 2 x 2^15
TONES_DBM = 7 - 10 + FIR_DB + 10 * np.log10(4 * 0.2**2) - 30  # at the antenna, behind a cable of 30 dB
AT_20_DB = TONES_DBM - 20 + 174 - 10 * np.log10(RATE)  # noise figure


@pytest.fixture
def served() -> Iterator[Callable[..., list[str]]]:
    """URIs of virtual Plutos with these models, one by default."""
    servers = []

    def serve(models: Sequence[RadioModel], cables: Sequence[Cable] = (), channels: int = 1, pacer=None):
        addresses = [own_address() for _ in models]
        up = present(addresses, channels, models=models, cables=cables, pacer=pacer or WallClock(SPEED, PATIENCE_S))
        servers.extend(up)
        if pacer is not None:
            pacer.plutos = [server.pluto for server in up]
        return [f"pluto:ip:{address},rx_gain_db=40" for address in addresses]

    yield serve
    for server in servers:
        server.close()


def done(name: str, uri: str, transmitter: str | None = None, antennas: int = 1, **given: float) -> Record:
    return calibrate(find_procedure(name), Station(uri, RATE, transmitter, Given(**given), antennas))


def figure(record: Record, name: str) -> complex:
    (found,) = [q for q in record.quantities if q.name == name]
    return found.complex if found.imag else found.value


def test_iq_delay_and_noise_of_one_pluto_over_a_cable(served):
    """At 20 dB: image at most -65 dBc, DC at most -70 dBFS as received, image and leakage at most -50 dBc as sent,
    through CalibratedRadio; the fraction of the delay to 0.05 samples of what filters add on a Pluto without, whole
    samples being the openings'; noise figure to 0.5 dB."""
    ends = {"noise_figure_db": AT_20_DB, "bits": 12}
    faults = {
        "rx_iq_gain_db": 3.0,  # of which the device's own tracking leaves a twentieth
        "rx_iq_phase_deg": 20.0,
        "rx_dc_dbfs": -15.0,
        "rx_dc_phase_deg": 40.0,
        "tx_iq_gain_db": 0.5,
        "tx_iq_phase_deg": -3.0,
        "tx_leakage_dbfs": -32.0,
        "tx_leakage_phase_deg": 120.0,
        "tx_delay_samples": 3.25,
        "rx_delay_samples": 5.5,
    }
    (uri,) = served([RadioModel(name="one", front_end=FrontEnd(**ends, **faults))])
    (plain,) = served([RadioModel(name="two", front_end=FrontEnd(**ends))])
    records = [done("receive-iq", uri), done("transmit-iq", uri)]
    dc = next(q for q in records[0].quantities if q.name == "receive_dc")
    assert abs(dc.complex) == pytest.approx(10 ** (-15 / 20) * CORRECTED, rel=0.05)
    leakage = abs(figure(records[1], "transmit_leakage"))
    assert 20 * np.log10(leakage) == pytest.approx(-32 - FIR_DB, abs=0.2)
    assert all(q.significant for record in records for q in record.quantities)
    plan = TonePlan(RATE)
    lines = plan.received().frequencies
    now = datetime.now(timezone.utc)
    with (
        CalibratedRadio(open_radio(uri, RadioSettings(RATE, tx_channels=1)), records, now) as sender,
        CalibratedRadio(open_radio(uri, RadioSettings(RATE, rx_channels=1)), records, now) as receiver,
    ):
        bench = Bench(receiver, sender)
        y = bench.tones(plan, 960_000)[0]
        bench.close()
    for k in range(4):
        assert level_dbc(y, lines[9 + k], lines[k]) < -65
        assert level_dbc(y, lines[4 + k], lines[k]) < -50
        assert level_dbc(y, lines[8], lines[k]) < -50
    assert 20 * np.log10(abs(np.mean(y))) < -70
    late, filters = (figure(done("delay", each), "delay_fraction_samples") for each in (uri, plain))
    assert (late - filters) % 1 == pytest.approx(0.75, abs=0.05)
    noise = done("noise", plain, source_dbm=TONES_DBM)
    assert figure(noise, "noise_figure_db") == pytest.approx(AT_20_DB, abs=0.5)


def test_gain_tables_of_a_pluto(served):
    """Every setting that is known at all to 0.2 dB, of both tables, against the injected errors."""
    rx, tx = [(0, 1.0), (30, 0.0), (40, -0.7), (71, 1.3)], [(-60, -1.0), (-10, 0.0), (0, 0.4)]
    front_end = FrontEnd(noise_figure_db=AT_20_DB - 20, bits=12, rx_gain_error_db=rx, tx_gain_error_db=tx)
    (uri,) = served([RadioModel(name="one", front_end=front_end)])
    record = done("gain-table", uri, source_dbm=TONES_DBM)
    for name, table, reference, least in (("receive", rx, 40, 9), ("transmit", tx, -10, 6)):
        settings, errors = np.array(table).T
        found = [q for q in record.quantities if q.name == f"{name}_gain_error_db"]
        assert len(found) >= least
        for q in found:
            true = np.interp(q.at, settings, errors) - np.interp(reference, settings, errors)
            assert q.value == pytest.approx(true, abs=0.2), q
    assert figure(record, "full_scale_dbm") == pytest.approx(7 - 40 + 0.7, abs=0.2)


def test_p1db_of_a_pluto(served):
    """An output of -13 dBm at 1 dB of compression, 20 dB above the noise at full scale: to 0.3 dB."""
    front_end = FrontEnd(p1db_dbm=-13.0, noise_figure_db=AT_20_DB + 8, bits=12)
    (uri,) = served([RadioModel(name="one", front_end=front_end)])
    record = done("compression", uri, output_dbm=7 - 10 + FIR_DB - 20)
    assert figure(record, "p1db_dbm") == pytest.approx(-13, abs=0.3)


def test_the_phase_of_a_second_antenna(served):
    """A splitter to both: 77 degrees to 1 degree, 1.2 dB to 0.1 dB, at 20 dB."""
    front_end = FrontEnd(noise_figure_db=AT_20_DB, bits=12, rx_chain_gain_db=[0, 1.2], rx_chain_phase_deg=[0, 77.0])
    splitter = [Cable(0, 0, 0, 0, 30.0), Cable(0, 0, 0, 1, 30.0)]
    (uri,) = served([RadioModel(name="one", front_end=front_end)], splitter, channels=2)
    g = 1 + figure(done("antennas", uri, antennas=2), "antenna")
    assert np.angle(g, deg=True) == pytest.approx(77, abs=1)
    assert 20 * np.log10(abs(g)) == pytest.approx(1.2, abs=0.1)


def test_the_oscillator_of_a_pluto_against_another(served):
    """13.37 and -7 ppm, both drifting 0.1 ppm a minute, at 20 dB: to 0.02 ppm where the other's is known, and relative
    where it is not; images and DC are found between the two as well."""
    models = [
        RadioModel(
            name="one",
            oscillator=Oscillator(ppm=13.37, drift_ppm_per_min=0.1, start_s=0.01),
            front_end=FrontEnd(noise_figure_db=AT_20_DB, bits=12, rx_iq_phase_deg=20.0, rx_dc_dbfs=-15.0),
        ),
        RadioModel(name="two", oscillator=Oscillator(ppm=-7.0, drift_ppm_per_min=-0.1, linewidth_hz=1.0)),
    ]
    uri, other = served(models)
    record = done("oscillator", uri, other, transmitter_ppm=-7.0)
    assert record.absolute
    assert figure(record, "ppm") == pytest.approx(13.37, abs=0.02 + 0.2 / 60 * 10)  # ten seconds of drift, at most
    relative = done("oscillator", uri, other)
    assert not relative.absolute
    assert figure(relative, "ppm") == pytest.approx(20.37, abs=0.02 + 0.2 / 60 * 20)
    with open_radio(other, RadioSettings(RATE, tx_channels=1)) as server:
        player = Player(server)
        player.play(beacon_period(Waveform(), 1))
        by_beacon = done("oscillator", uri, beacon=True, transmitter_ppm=-7.0)
        player.end()
    assert by_beacon.absolute
    assert figure(by_beacon, "ppm") == pytest.approx(13.37, abs=0.02 + 0.2 / 60 * 30)
    iq = done("receive-iq", uri, other)
    image, dc = iq.quantities
    assert abs(image.complex) == pytest.approx(np.tan(np.radians(20 * CORRECTED) / 2), rel=0.1)
    assert abs(dc.complex) == pytest.approx(10 ** (-15 / 20) * CORRECTED, rel=0.05)


def test_a_healthy_pluto_stays_as_it_is(served, tmp_path: Path):
    """`semtb calibrate all`: records and pages of what can be done, reasons for the rest, and no correction but the
    delay of the filters."""
    (uri,) = served([RadioModel(name="one", front_end=FrontEnd(noise_figure_db=AT_20_DB, bits=12))])
    command = [sys.executable, "-m", "testbed.cli.main", "calibrate", "all", uri, "--store", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    records = [read(path) for path in sorted(tmp_path.glob("*/*.json"))]
    assert {record.procedure for record in records} == {"receive-iq", "transmit-iq", "gain-table", "noise", "delay"}
    for left_out in ("oscillator: a radio cannot be its own reference", "compression: ", "antennas: needs 2 antennas"):
        assert f"left out: {left_out}" in ran.stdout
    found = corrections_from(records, records[0].conditions, datetime.now(timezone.utc))
    assert (found.ppm, found.receive, found.transmit, found.antennas) == (0, {}, {}, {})
    assert (found.receive_gain_error_db, found.transmit_gain_error_db) == ([], [])
    assert found.warnings == []
    pages = sorted(tmp_path.glob("*/*.html"))
    assert [page.stem for page in pages] == sorted(record.name for record in records)
    assert all("<svg" in page.read_text() for page in pages)


class WhileHeard:
    """Time passes while somebody receives: streams that are opened one after the other begin together."""

    speed, patience_s = SPEED, PATIENCE_S

    def __init__(self) -> None:
        self.plutos: Sequence[VirtualPluto] = ()
        self._passed_s, self._before_s = 0.0, time.monotonic()

    def now_s(self, passed_s: float) -> float:
        now_s = time.monotonic()
        if any(pluto.rx_buffers for pluto in self.plutos):
            self._passed_s = min(self._passed_s + (now_s - self._before_s) * self.speed, passed_s + SLACK_S)
        self._before_s = now_s
        return self._passed_s


def test_the_delay_of_a_pluto_whose_streams_begin_together(served):
    """3.25 samples before the antenna and 5.5 behind it, on top of what filters take on a Pluto without: to 0.05."""
    ends = {"noise_figure_db": AT_20_DB, "bits": 12}
    found = []
    for faults in ({"tx_delay_samples": 3.25, "rx_delay_samples": 5.5}, {}):
        (uri,) = served([RadioModel(name="one", front_end=FrontEnd(**ends, **faults))], pacer=WhileHeard())
        record = done("delay", uri)
        assert not record.notes
        found.append(figure(record, "delay_samples"))
    assert found[0] - found[1] == pytest.approx(8.75, abs=0.05)
