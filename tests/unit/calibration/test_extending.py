"""The example of docs/extending.md on calibration procedures, as it stands there; and the page that a record draws."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from calibration.bench import Station
from calibration.record import Conditions, Line, Plot, Quantity, Record
from calibration.registry import PROCEDURES, calibrate, find_procedure
from calibration.store import read, save
from testbed.report.calibration import calibration_page
from tests.unit.calibration.loop import put_up
from tests.unit.calibration.textbook import rapp

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"


def test_the_procedure_of_the_page_is_found_measures_and_draws(monkeypatch, tmp_path):
    """Two tones of -8 dBFS into an amplifier whose P1dB is -15 dBm: products as a transform of its AM/AM has them, to
    0.3 dB and three standard errors."""
    (code,) = re.findall(r"```python calibration\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, f"{PAGE.name}, calibration", "exec"), names)
    monkeypatch.setitem(PROCEDURES, "intermodulation", names["INTERMODULATION"])
    uri = put_up(monkeypatch, p1db_dbm=-15.0, noise_dbm_per_hz=-135.0)
    record = calibrate(find_procedure("intermodulation"), Station(uri, 1.92e6))
    (found,) = record.quantities
    n = np.arange(4800)
    x = 10 ** (-10 / 20) * 0.4 * (np.exp(2j * np.pi * 3 / 48 * n) + np.exp(2j * np.pi * 4 / 48 * n))
    saturation = 10 ** (-14 / 20) / (10 ** (2 / 10) - 1) ** (1 / 4)
    power = np.abs(np.fft.fft(rapp(x, saturation, 2.0))[::100]) ** 2
    true_dbc = 10 * np.log10((power[2] + power[5]) / (power[3] + power[4]))
    assert found.value == pytest.approx(true_dbc, abs=0.3)
    assert abs(found.value - true_dbc) < 3 * found.standard_error + 0.02
    page = calibration_page(read(save(record, tmp_path)))
    assert "intermodulation: measured" in page
    assert page.count("<svg") == 1


def test_a_page_says_what_is_applied_what_is_not_and_against_what():
    """Of a relative record with one correction that is far from nothing, one that is not, and one figure to keep."""
    record = Record(
        procedure="gain-table",
        serial="<script>",
        date="2026-11-25T10:15:00Z",
        conditions=Conditions(1.92e6, 2.4e9, -10.0, 40.0, 36.8),
        quantities=[
            Quantity("error_db", 1.25, 0.03, "dB", at=46.0),
            Quantity("error_db", 0.05, 0.03, "dB", at=52.0),
            Quantity("level", 0.5, 0.1, "", imag=-0.25, correction=False),
        ],
        absolute=False,
        reference="setting 40 dB",
        notes=["only here"],
        plots=[Plot("table", "setting (dB)", "error (dB)", [Line("a", [46.0, 52.0], [1.25, 0.05], points=True)])] * 2,
    )
    page = calibration_page(record)
    text = re.sub(r"<[^>]+>", " ", page[: page.index("<svg")] + page[page.rindex("</svg>") :])
    words = " ".join(text.split())
    assert "gain-table: 1 of 2 figures are beyond three standard errors, and corrected" in words
    assert "error db at 46 1.25 0.03 dB yes" in words
    assert "error db at 52 0.05 0.03 dB no: too small" in words
    assert "level 0.5 − 0.25j 0.1 no: knowledge" in words
    assert "Relative to setting 40 dB" in words and "only here" in words
    assert "LO 2400 MHz, 1.92 MS/s, transmit gain -10 dB, receive gain 40 dB, 36.8 °C" in words
    assert "<script>" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "figures of one page have ids of their own"
