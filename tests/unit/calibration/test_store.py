"""Records on disk: found again by the nearest valid conditions, expired, doubted, refused."""

from __future__ import annotations

import stat
from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from calibration.record import Conditions, Quantity, Record, utc
from calibration.registry import PROCEDURES
from calibration.store import find, folder_of, read, records_of, save, store_folder
from testbed.errors import DataError

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
HERE = Conditions(1.92e6, 2.4e9, -10.0, 40.0, 30.0)
IQ = PROCEDURES["receive-iq"]


def record(days=0.0, **changes) -> Record:
    conditions = msgspec.structs.replace(HERE, **changes)
    quantity = Quantity("receive_image", 0.01, 1e-4, "", 0.02, at=0.0)
    return Record(
        procedure="receive-iq",
        serial="10447/3",
        date=utc(NOW - timedelta(days=days)),
        conditions=conditions,
        quantities=[quantity],
        absolute=True,
        reference="tones",
    )


def test_what_is_saved_is_read_and_belongs_to_its_radio_alone(tmp_path, monkeypatch):
    one = record()
    path = save(one, tmp_path)
    assert path == tmp_path / "10447_3" / "receive-iq-20261125T120000Z.json"
    assert read(path) == one
    assert records_of("10447/3", tmp_path) == [one]
    assert records_of("10447_3", tmp_path) == [], "another's, whose folder has the same name"
    assert records_of("", tmp_path) == records_of("none", tmp_path) == []
    monkeypatch.setenv("SEMTB_CALIBRATION", str(tmp_path))
    assert store_folder() == tmp_path
    monkeypatch.delenv("SEMTB_CALIBRATION")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert str(store_folder()) == "/data/semtb/calibration"


@pytest.mark.parametrize("serial", ["..", "", "/", "../../x"])
def test_no_serial_number_leads_outside(tmp_path, serial):
    assert folder_of(serial, tmp_path).parent == tmp_path
    assert folder_of(serial, tmp_path).name not in ("", ".", "..")


def test_newest_first(tmp_path):
    for days in (3, 1, 2):
        save(record(days), tmp_path)
    assert [NOW - r.taken for r in records_of("10447/3", tmp_path)] == [timedelta(days=d) for d in (1, 2, 3)]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"procedure": "delay"}', b"\xff\xfe", b'{"format": 1}'],
)
def test_a_damaged_record_is_named(tmp_path, content):
    path = save(record(), tmp_path)
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name}: not a calibration record"):
        records_of("10447/3", tmp_path)


@pytest.mark.parametrize("change", [{"date": "yesterday"}, {"surplus": 1}, {"quantities": 3}, {"format": 99}])
def test_a_record_is_read_strictly(tmp_path, change):
    path = save(record(), tmp_path)
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | change))
    with pytest.raises(DataError, match="calibrate anew, or delete it"):
        read(path)


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "10447_3").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        save(record(), tmp_path)


def test_records_may_be_read_by_everybody(tmp_path):
    assert stat.S_IMODE(save(record(), tmp_path).stat().st_mode) & 0o400


def test_the_nearest_is_found():
    near, far = record(lo_hz=2.41e9), record(lo_hz=2.44e9)
    found, reason = find([far, near], IQ, HERE, NOW)
    assert found.record is near and not found.warnings and not reason
    older = record(days=10)
    assert find([older, near], IQ, HERE, NOW)[0].record is near
    assert find([older, far], IQ, HERE, NOW)[0].record is older


@pytest.mark.parametrize(
    "change, what",
    [
        ({"days": 31}, "31 days old (30 allowed)"),
        ({"lo_hz": 2.29e9}, "LO 1.1e+08 Hz off (1e+08 allowed)"),
        ({"rx_gain_db": 47.0}, "rx gain 7 dB off (6 allowed)"),
        ({"temperature_c": 51.0}, "temperature 21 °C off (20 allowed)"),
    ],
)
def test_what_does_not_fit_is_not_used_and_the_reason_said(change, what):
    found, reason = find([record(**change)], IQ, HERE, NOW)
    assert found is None
    assert what in reason and "calibrate anew" in reason


@pytest.mark.parametrize(
    "change, what",
    [
        ({"days": 16}, "16 days old"),
        ({"lo_hz": 2.34e9}, "LO 6e+07 Hz off"),
        ({"temperature_c": 18.0}, "temperature 12 °C off (20 allowed)"),
    ],
)
def test_what_hardly_fits_is_used_with_a_warning(change, what):
    found, reason = find([record(**change)], IQ, HERE, NOW)
    assert not reason
    assert what in found.warnings[0]


def test_what_does_not_matter_or_is_not_known_does_not_count():
    other = record(tx_gain_db=-80.0, sample_rate_hz=3.84e6, temperature_c=None)
    found, _ = find([other], IQ, HERE, NOW)
    assert found.record is other and not found.warnings
    delayed = msgspec.structs.replace(other, procedure="delay")
    found, reason = find([delayed], PROCEDURES["delay"], HERE, NOW)
    assert found is None and "rate" in reason
    assert find([delayed], IQ, HERE, NOW) == (None, "")


def test_three_standard_errors_decide():
    for value, error, far in ((3.1e-4, 1e-4, True), (2.9e-4, 1e-4, False), (0.0, 0.0, False)):
        assert Quantity("x", 0.0, error, "", imag=-value).significant is far
        assert Quantity("x", -value, error, "").significant is far
