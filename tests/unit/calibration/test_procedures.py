"""Whole procedures on a radio of textbook faults, 20 dB above its noise, and what is left once they are corrected."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from calibration.apply import CalibratedRadio, corrections_from
from calibration.bench import Given, Station
from calibration.plan import PERIOD, TonePlan
from calibration.record import Record
from calibration.registry import PROCEDURES, calibrate, find_procedure
from testbed.errors import RadioError
from testbed.radio.base import RadioSettings, Tuning
from testbed.radio.registry import open_radio
from tests.unit.calibration.loop import LOOPS, put_up
from tests.unit.calibration.textbook import level_dbc

RATE, LO = 1.92e6, 2.4e9
NOW = datetime(2026, 11, 25, 10, 15, tzinfo=timezone.utc)
# The plan's tones, -8 dBFS, arrive at -8 dBFS; so much noise is 20 dB below them at the gains that radios open with.
AT_20_DB = -8 - 30 - 20 - 10 * np.log10(RATE)


def done(name: str, uri: str, antennas: int = 1, **given: float) -> Record:
    record = calibrate(find_procedure(name), Station(uri, RATE, given=Given(**given), antennas=antennas), NOW)
    assert record.serial == "loop-1" and record.date == "2026-11-25T10:15:00Z"
    return record


def figure(record: Record, name: str, at: float | None = None) -> complex:
    (found,) = [q for q in record.quantities if q.name == name and (at is None or q.at == at)]
    return found.complex if found.imag else found.value


def calibrated(uri: str, records: list[Record], **channels: int) -> CalibratedRadio:
    return CalibratedRadio(open_radio(uri, RadioSettings(RATE, **channels)), records, NOW)


def test_the_oscillator_against_a_generator(monkeypatch):
    uri = put_up(monkeypatch, ppm=-17.3, generator=(LO, -38.0), noise_dbm_per_hz=AT_20_DB)
    record = done("oscillator", uri, reference_hz=LO)
    assert figure(record, "ppm") == pytest.approx(-17.3, abs=0.02)
    assert record.absolute
    with calibrated(uri, [record], rx_channels=1) as radio:
        assert radio.tuning.lo_hz == pytest.approx(LO, abs=1)
        y = radio.receive(96_000).samples[0]
    n = np.arange(len(y))
    assert abs(np.mean(y * np.exp(-2j * np.pi * 0 * n))) > 0.2, "the generator's tone lies at 0 Hz now"


def test_a_radio_is_not_its_own_reference(monkeypatch):
    with pytest.raises(RadioError, match="--reference-hz"):
        done("oscillator", put_up(monkeypatch))


def test_both_iq_paths_after_correction(monkeypatch):
    """Image at most -65 dBc and DC at most -70 dBFS of what is received, image and leakage at most -50 dBc of what is
    sent, each through the other's faults."""
    uri = put_up(
        monkeypatch,
        tx_iq=(0.5, -3.0),
        leakage=0.04 - 0.03j,
        rx_iq=(0.8, 4.0),
        dc=0.015 + 0.013j,
        delay_samples=37.3,
        noise_dbm_per_hz=AT_20_DB,
    )
    records = [done("receive-iq", uri), done("transmit-iq", uri)]
    assert all(q.significant for record in records for q in record.quantities)
    LOOPS["radio"].noise_dbm_per_hz = -170
    plan = TonePlan(RATE)
    lines = plan.received().frequencies
    with calibrated(uri, records, rx_channels=1) as receiver, calibrated(uri, records, tx_channels=1) as sender:
        receiver.retune(Tuning(lo_hz=LO - plan.shift_hz))
        for _ in range(8):
            sender.send(np.tile(plan.waveform(), 9_600 // PERIOD)[None])
        y = receiver.receive(76_800).samples[0][9_600:]
    for k in range(4):
        assert level_dbc(y, lines[9 + k], lines[k]) < -65
        assert level_dbc(y, lines[4 + k], lines[k]) < -50
        assert level_dbc(y, lines[8], lines[k]) < -50
    assert 20 * np.log10(abs(np.mean(y))) < -70


def test_gain_tables_of_both_sides(monkeypatch):
    """Steps to 0.2 dB; with the level at the antenna known, levels come out in dBm at every setting to 0.2 dB."""
    rx = {float(g): 1.5 * np.sin(g) for g in range(-2, 76, 6)}
    tx = {float(g): 0.8 * np.cos(g) for g in range(-58, 1, 6)}
    rx_40, tx_10 = rx[40.0], tx[-10.0]
    uri = put_up(monkeypatch, rx_error_db=rx, tx_error_db=tx, noise_dbm_per_hz=AT_20_DB - 15)
    source_dbm = -10 + 10 * np.log10(4 * 0.2**2) + tx_10 - 20
    record = done("gain-table", uri, source_dbm=source_dbm)
    for name, table, reference in (("receive", rx, rx_40), ("transmit", tx, tx_10)):
        found = [q for q in record.quantities if q.name == f"{name}_gain_error_db"]
        assert len(found) >= 10
        for q in found:
            assert q.value == pytest.approx(table[q.at] - reference, abs=0.2)
    with calibrated(uri, [record], rx_channels=1) as radio:
        for gain in (16.0, 40.0, 58.0):
            radio.retune(Tuning(rx_gain_db=gain))
            true_dbm_of_full_scale = -30 - (gain - 40) - rx[gain]
            assert radio.level_dbm(0.0) == pytest.approx(true_dbm_of_full_scale, abs=0.2)


def test_the_noise_figure_needs_a_source(monkeypatch):
    uri = put_up(monkeypatch, noise_dbm_per_hz=-173.975 + 35)
    record = done("noise", uri)
    assert not record.absolute and "--source-dbm" in record.notes[0]
    assert not [q for q in record.quantities if q.name == "noise_figure_db"]
    against_itself = done("noise", uri, source_dbm=-10 + 10 * np.log10(4 * 0.2**2) - 20)
    assert against_itself.absolute
    assert figure(against_itself, "noise_figure_db") == pytest.approx(35, abs=0.3)
    LOOPS["radio"].generator = (LO, -50.0)
    assert figure(done("noise", uri, source_dbm=-50.0, reference_hz=LO), "noise_figure_db") == pytest.approx(
        35, abs=0.3
    )


def test_p1db(monkeypatch):
    """At 20 dB above the noise at full scale; with a power meter's reading in dBm."""
    uri = put_up(monkeypatch, p1db_dbm=-15.0, noise_dbm_per_hz=AT_20_DB)
    record = done("compression", uri, output_dbm=-30.0)
    assert record.absolute
    assert figure(record, "p1db_dbfs") == pytest.approx(-4, abs=0.3)
    assert figure(record, "p1db_dbm") == pytest.approx(-15, abs=0.3)
    LOOPS["radio"].p1db_dbm = None
    with pytest.raises(RadioError, match="less than 1 dB"):
        done("compression", uri)


def test_what_cannot_be_measured_says_why(monkeypatch):
    """Too strong, not there at all, too many pauses."""
    with pytest.raises(RadioError, match="clips: lower its rx_gain_db"):
        done("receive-iq", put_up(monkeypatch, rx_error_db={40.0: 12.0}))
    with pytest.raises(RadioError, match="not heard"):
        done("antennas", put_up(monkeypatch, antenna=0.0), antennas=2)


def test_the_delay_is_taken_out_of_the_stream(monkeypatch):
    uri = put_up(monkeypatch, delay_samples=61.37, noise_dbm_per_hz=AT_20_DB)
    record = done("delay", uri)
    assert LOOPS["radio"].opened == 3
    assert figure(record, "delay_samples") == pytest.approx(61.37, abs=0.05)
    with calibrated(uri, [record], tx_channels=1, rx_channels=1) as radio:
        step = np.zeros((1, 19_200), np.complex64)
        step[:, 5000:] = 0.5
        radio.send(step)
        block = radio.receive(10_000)
    assert block.first_sample == 0
    assert np.flatnonzero(np.abs(block.samples[0]) > 0.25)[0] == pytest.approx(5000, abs=1)


def test_the_second_antenna_comes_to_the_first(monkeypatch):
    uri = put_up(monkeypatch, antenna=1.12 * np.exp(2.2j), noise_dbm_per_hz=AT_20_DB)
    record = done("antennas", uri, antennas=2)
    g = 1 + figure(record, "antenna")
    assert np.angle(g, deg=True) == pytest.approx(np.degrees(2.2), abs=1)
    LOOPS["radio"].noise_dbm_per_hz = -170
    LOOPS["radio"].generator = (LO + 1e5, -40.0)
    with calibrated(uri, [record], rx_channels=2) as radio:
        y = radio.receive(9_600).samples
    assert np.angle(np.vdot(y[0], y[1]), deg=True) == pytest.approx(0, abs=1)
    with pytest.raises(RadioError, match="--antennas 2"):
        done("antennas", uri)


@pytest.mark.parametrize("name", [n for n in PROCEDURES if n not in ("noise", "compression")])
def test_a_healthy_radio_stays_as_it_is(monkeypatch, name):
    """No quantity of any procedure that corrects is significant, but for the delay of the cable's filter."""
    uri = put_up(monkeypatch, noise_dbm_per_hz=AT_20_DB)
    given = {}
    if name == "oscillator":
        LOOPS["radio"].generator, given = (LO, -38.0), {"reference_hz": LO}
    record = done(name, uri, antennas=2 if name == "antennas" else 1, **given)
    found = corrections_from([record], record.conditions, NOW)
    assert found.names == [record.name] or not record.absolute
    assert (found.ppm, found.receive, found.transmit, found.antennas) == (0, {}, {}, {})
    assert (found.receive_gain_error_db, found.transmit_gain_error_db) == ([], [])
    assert found.delay_samples == pytest.approx(32 if name == "delay" else 0, abs=0.05)


def test_lost_samples_are_captured_anew_and_named_in_the_end(monkeypatch):
    uri = put_up(monkeypatch, lose=5)
    done("receive-iq", uri)
    LOOPS["radio"].lose = 1000
    with pytest.raises(RadioError, match="lower --rate"):
        done("receive-iq", uri)


def test_an_unknown_procedure_is_named_with_those_that_are_known():
    with pytest.raises(RadioError, match=r"'iq': unknown. Known here: oscillator, receive-iq, .*antennas, or all"):
        find_procedure("iq")
