"""Radios of an air: defaults are ideal, values out of range and names of nobody are refused, TOML goes round."""

from __future__ import annotations

import pytest

from testbed.config import FrontEnd, Oscillator, RadioModel, Scenario, convert, dump, load_scenario
from testbed.errors import ScenarioError

SCENARIO = """
name = "radios"
[[edges]]
name = "edge-1"
user = 0
[[air.radios]]
name = "edge-1"
oscillator = { ppm = 12.5, drift_ppm_per_min = -0.1, linewidth_hz = 3.0, start_s = 1.25, phase_deg = 90 }
[air.radios.front_end]
rx_dc_dbfs = -40.0
tx_gain_error_db = [[-20.0, 0.5], [0.0, -0.25]]
rx_chain_phase_deg = [0.0, 35.0]
bits = 12
[[air.radios]]
name = "server"
"""


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "radios.toml"
    written.write_text(SCENARIO, encoding="utf-8")
    return written


def test_what_a_scenario_names_is_read_and_what_it_leaves_out_is_ideal(path):
    edge, server = load_scenario(path).air.radios
    assert edge.oscillator == Oscillator(ppm=12.5, drift_ppm_per_min=-0.1, linewidth_hz=3.0, start_s=1.25, phase_deg=90)
    assert edge.front_end.tx_gain_error_db == [(-20.0, 0.5), (0.0, -0.25)]
    assert (server.oscillator, server.front_end) == (Oscillator(), FrontEnd())
    assert load_scenario(path, ["air.radios.edge-1.oscillator.ppm=-3"]).air.radios[0].oscillator.ppm == -3


def test_a_scenario_with_radios_is_written_as_it_is_read(path, tmp_path):
    again = tmp_path / "again.toml"
    scenario = load_scenario(path)
    again.write_bytes(dump(scenario))
    assert load_scenario(again) == scenario
    assert isinstance(convert({"name": "edge-1"}, RadioModel), RadioModel)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("air.radios.edge-1.oscillator.ppm=101", r"oscillator.ppm = 101.0: allowed: -100..100"),
        ("air.radios.edge-1.oscillator.start_s=-1", r"start_s = -1.0: allowed: 0..3600"),
        ("air.radios.edge-1.front_end.bits=3", r"front_end.bits = 3: allowed: 4..16"),
        ("air.radios.edge-1.front_end.tx_gain_error_db=[[0, 1], [0, 2]]", r"tx_gain_error_db = .*settings rising"),
        ("air.radios.edge-1.front_end.rx_chain_gain_db=[30]", r"rx_chain_gain_db = \[30.0\]: allowed"),
        ("air.radios.edge-1.front_end.rx_dc_dbfs=1", r"rx_dc_dbfs = 1.0: allowed: -150..0"),
        ("air.radios.edge-1.front_end.p1db=3", r"p1db: unknown key"),
        ("air.radios.server.name=edge-1", r"air.radios.name = .*each radio once"),
        ("air.radios.server.name=edge-2", r"air.radios.name = edge-2: allowed: an edge or the server: edge-1, server"),
    ],
)
def test_what_no_radio_can_be_is_refused(path, setting, message):
    with pytest.raises(ScenarioError, match=message):
        load_scenario(path, [setting])


def test_an_air_has_no_radios_unless_it_names_some():
    assert convert({"name": "plain", "edges": [{"name": "edge-1", "user": 0}]}, Scenario).air.radios == []
