"""A radio corrected by its records: what changes, what stays, and which records are in use."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest

from calibration.apply import CalibratedRadio, calibrations_of, full_scale_dbm_of, open_calibrated
from calibration.record import Conditions, Quantity, Record, utc
from calibration.store import save
from testbed.errors import DataError, ShapeError
from testbed.radio.base import Radio, RadioSettings, Tuning
from testbed.radio.registry import open_radio
from tests.unit.calibration.loop import LOOPS, put_up

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
RX, TX = RadioSettings(1.92e6, rx_channels=1), RadioSettings(1.92e6, tx_channels=1)


def known(procedure: str, *quantities: Quantity, days: float = 0.0, **conditions: float) -> Record:
    return Record(
        procedure=procedure,
        serial="loop-1",
        date=utc(NOW - timedelta(days=days)),
        conditions=msgspec.structs.replace(Conditions(1.92e6, 2.4e9), **conditions),
        quantities=list(quantities),
        absolute=procedure != "oscillator",
        reference="another",
    )


def dc(value: float, **about: float) -> Record:
    return known("receive-iq", Quantity("receive_dc", value, 1e-4, "", at=0.0), **about)


def test_only_a_radio_with_records_is_wrapped(monkeypatch, tmp_path):
    uri = put_up(monkeypatch)
    with open_calibrated(uri, RX, tmp_path) as plain:
        assert not isinstance(plain, CalibratedRadio)
        assert calibrations_of(plain) == [] and calibrations_of(None) == []
        assert full_scale_dbm_of(plain) is None
    record = msgspec.structs.replace(dc(0.01), date=utc(datetime.now(timezone.utc)))
    path = save(record, tmp_path)
    with open_calibrated(uri, RX, tmp_path) as radio:
        assert isinstance(radio, CalibratedRadio) and isinstance(radio, Radio)
        assert calibrations_of(radio) == [record.name]
        assert (radio.paced, radio.identity.serial, radio.tuning) == (True, "loop-1", Tuning(2.4e9, None, 40.0))
    path.write_text("{")
    with pytest.raises(DataError, match="not a calibration record"):
        open_calibrated(uri, RX, tmp_path)


def test_records_are_those_of_the_side_that_is_used_and_relative_ones_say_so(monkeypatch):
    uri = put_up(monkeypatch)
    records = [
        dc(0.01),
        known("transmit-iq", Quantity("transmit_leakage", 0.02, 1e-4, "", at=0.0)),
        known("oscillator", Quantity("ppm", 4.0, 0.01, "ppm")),
    ]
    for settings, own in ((RX, records[0]), (TX, records[1])):
        with CalibratedRadio(open_radio(uri, settings), records, NOW) as radio:
            assert radio.corrections.names == [f"{records[2].name} (relative to another)", own.name]


def test_a_retune_takes_the_record_that_is_nearest_then(monkeypatch, caplog):
    """Three LOs, with two records: the second beyond half of what is allowed is used with a warning, none at the
    third."""
    uri = put_up(monkeypatch, noise_dbm_per_hz=-170)
    records = [dc(0.01), dc(0.02, lo_hz=2.6e9)]
    with CalibratedRadio(open_radio(uri, RX), records, NOW) as radio, caplog.at_level(logging.WARNING):
        for lo_hz, value in ((2.4e9, 0.01), (2.67e9, 0.02), (3.0e9, None)):
            caplog.clear()
            radio.retune(Tuning(lo_hz=lo_hz))
            found = radio.receive(100).samples.mean()
            assert found == pytest.approx(-(value or 0.0), abs=5e-4)
            assert ("hardly fits" in caplog.text, "not valid here" in caplog.text) == (value == 0.02, value is None)


def test_the_frequency_is_the_true_one(monkeypatch):
    uri = put_up(monkeypatch)
    record = known("oscillator", Quantity("ppm", 10.0, 0.01, "ppm"))
    with CalibratedRadio(open_radio(uri, RX), [record], NOW) as radio:
        assert radio.radio.tuning.lo_hz == round(2.4e9 / (1 + 10e-6))
        assert radio.tuning.lo_hz == pytest.approx(2.4e9, abs=1)
        got = radio.retune(Tuning(lo_hz=2.45e9, rx_gain_db=31.0))
        assert radio.radio.tuning.lo_hz == round(2.45e9 / (1 + 10e-6))
        assert got.lo_hz == pytest.approx(2.45e9, abs=1)
        radio.retune(Tuning(rx_gain_db=32.0))
        assert radio.radio.tuning == Tuning(round(2.45e9 / (1 + 10e-6)), None, 32.0)


def test_what_was_lost_stays_zero_and_events_keep_their_place(monkeypatch):
    uri = put_up(monkeypatch, lose=1, noise_dbm_per_hz=-170)
    with CalibratedRadio(open_radio(uri, RX), [dc(0.01)], NOW) as radio:
        radio.receive(100)
        block = radio.receive(1000)
    (event,) = block.events
    assert (event.kind, event.sample, event.count, block.first_sample) == ("overflow", 200, 50, 100)
    lost = np.zeros(1000, bool)
    lost[100:150] = True
    assert np.all(block.samples[0][lost] == 0)
    assert block.samples[0][~lost] == pytest.approx(-0.01, abs=1e-3)


def test_predistortion_stays_within_full_scale_and_counts_what_it_cut(monkeypatch):
    """A leakage of 0.1 takes as much from what is sent; only what is driven beyond -1 is cut."""
    uri = put_up(monkeypatch)
    record = known("transmit-iq", Quantity("transmit_leakage", 0.1, 1e-4, "", at=0.0))
    with CalibratedRadio(open_radio(uri, TX), [record], NOW) as radio:
        radio.send(np.array([[0.5, -0.95, -1.0, 1j]], np.complex64))
        assert LOOPS["radio"].queue[0] == pytest.approx([0.4, -1.0, -1.0, 1j - 0.1], abs=1e-6)
        assert radio.clipped_samples == 2
        with pytest.raises(ShapeError):
            radio.send(np.zeros((2, 4), np.complex64))


def test_levels_need_an_absolute_record_and_follow_the_table(monkeypatch):
    uri = put_up(monkeypatch)
    table = [
        Quantity("receive_gain_error_db", e, 0.03, "dB", at=g) for g, e in ((34.0, 0.01), (40.0, 0.0), (46.0, 1.0))
    ]
    full_scale = Quantity("full_scale_dbm", -33.0, 0.03, "dBm", at=40.0, correction=False)
    with CalibratedRadio(open_radio(uri, RX), [known("gain-table", *table)], NOW) as radio:
        assert full_scale_dbm_of(radio) is None
    with CalibratedRadio(open_radio(uri, RX), [known("gain-table", *table, full_scale)], NOW) as radio:
        assert full_scale_dbm_of(radio) == pytest.approx(-33)
        for gain, dbm in ((34.0, -27.0), (43.0, -36.5), (46.0, -40.0)):
            radio.retune(Tuning(rx_gain_db=gain))
            assert radio.level_dbm(0.0) == pytest.approx(dbm), "an error under three standard errors is none"


def test_a_splitters_arm_of_any_phase_is_turned_back(monkeypatch):
    uri = put_up(monkeypatch, generator=(2.4e9 + 1e5, -40.0), antenna=0.5j, noise_dbm_per_hz=-170)
    record = known("antennas", Quantity("antenna", -1.0, 0.003, "", imag=0.5, at=1.0))
    with CalibratedRadio(open_radio(uri, RadioSettings(1.92e6, rx_channels=2)), [record], NOW) as radio:
        y = radio.receive(1000).samples
    assert y[1] == pytest.approx(y[0], abs=3e-3)
