"""Where and how strongly a lab may transmit: what its file may say, where it lies, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.config.lab import EXAMPLE, FILE, Band, Lab, lab_file, load_lab, require_permission
from testbed.errors import RadioError, ScenarioError

LAB = Lab(bands=[Band(low_hz=2.4e9, high_hz=2.4835e9, max_eirp_dbm=10.0)], full_scale_dbm=8.0, antenna_gain_dbi=2.0)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No lab.toml of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SEMTB_LAB", raising=False)


@pytest.mark.parametrize(
    ("lo_hz", "tx_gain_db", "says"),
    [
        (2.4e9 + 0.96e6, 0.0, ""),  # the lower edge of 1.92 MHz lies on the band's
        (2.4e9 + 0.95e6, 0.0, "lies in none"),
        (2.4835e9 - 0.96e6, 0.0, ""),
        (2.4835e9 - 0.95e6, 0.0, "lies in none"),
        (5.8e9, -80.0, "lies in none of its bands: allowed: 2400..2483.5 MHz, at most 10 dBm EIRP"),
        (2.45e9, 0.25, "is 10.25 dBm EIRP: allowed: tx_gain_db <= 0 in 2400"),
        (float("nan"), 0.0, "lies in none"),
        (2.45e9, float("nan"), "dBm EIRP"),
    ],
)
def test_a_transmission_lies_within_a_band_and_below_its_power(lo_hz: float, tx_gain_db: float, says: str):
    why = LAB.refusal(lo_hz, 1.92e6, tx_gain_db)
    assert (says in why) if says else (why == "")


def test_the_strongest_of_overlapping_bands_counts():
    both = Lab(bands=[*LAB.bands, Band(low_hz=2.44e9, high_hz=2.46e9, max_eirp_dbm=20.0)], full_scale_dbm=20.0)
    assert both.refusal(2.45e9, 1.92e6, 0.0) == ""
    assert "tx_gain_db <= -10 in" in both.refusal(2.41e9, 1.92e6, 0.0)


def test_the_example_is_a_lab_and_allows_what_a_run_does_by_default(tmp_path: Path):
    """10 dB below the strongest output, in the band that it names."""
    (tmp_path / FILE).write_text(EXAMPLE)
    lab = load_lab(tmp_path / FILE)
    assert lab.refusal(2.45e9, 1.92e6, -10.0) == ""
    assert lab.refusal(2.45e9, 1.92e6, 0.25) != ""
    assert lab.virtual is False


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("band = []", "band: unknown key. Known here: bands, full_scale_dbm, antenna_gain_dbi, virtual. Did you mean"),
        ("", "bands"),
        ("[[bands]]\nlow_hz=2.4e9\nhigh_hz=2.5e9", "max_eirp_dbm"),
        ("[[bands]]\nlow_hz=2.4e9\nhigh_hz=2.3e9\nmax_eirp_dbm=1", "high_hz = 2300000000.0: allowed: above low_hz"),
        ("[[bands]]\nlow_hz=nan\nhigh_hz=2.3e9\nmax_eirp_dbm=1", "low_hz = nan: allowed"),
        ("[[bands]]\nlow_hz=1e9\nhigh_hz=2e9\nmax_eirp_dbm=inf", "max_eirp_dbm = inf: allowed: -100..60"),
        ("bands=[]\nantenna_gain_dbi=nan", "antenna_gain_dbi = nan"),
        ("bands = [", "lab.toml: "),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, says: str):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ScenarioError, match=r"lab\.toml: .*semtb radio lab --example") as caught:
        load_lab(tmp_path / FILE)
    assert says in str(caught.value)


def test_a_lab_is_found_where_it_is_named_then_here_then_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert lab_file() is None
    home = tmp_path / "config" / "semtb" / FILE
    home.parent.mkdir(parents=True)
    home.write_text(EXAMPLE)
    assert lab_file() == home
    Path(FILE).write_text(EXAMPLE)
    assert lab_file() == Path(FILE)
    monkeypatch.setenv("SEMTB_LAB", str(home))
    assert lab_file() == home
    monkeypatch.setenv("SEMTB_LAB", str(tmp_path / "none.toml"))
    with pytest.raises(ScenarioError, match=r"SEMTB_LAB = .*none\.toml: no such file"):
        lab_file()


def test_hardware_without_a_lab_only_receives_and_a_virtual_pluto_needs_none():
    require_permission("pluto:ip:127.0.0.2", 2.4e9, 1.92e6, 0.0, virtual=True)
    with pytest.raises(RadioError, match=r"usb:1\.4\.5: it may only receive: no lab\.toml .*semtb radio lab --example"):
        require_permission("pluto:usb:1.4.5", 2.4e9, 1.92e6, -80.0, virtual=False)


def test_a_lab_holds_for_hardware_and_on_wish_for_virtual_plutos():
    """Else a lab that has 433 MHz alone would refuse every rehearsal at another frequency."""
    Path(FILE).write_text("[[bands]]\nlow_hz = 433e6\nhigh_hz = 435e6\nmax_eirp_dbm = 0\n")
    require_permission("pluto:ip:127.0.0.2", 2.4e9, 1.92e6, 0.0, virtual=True)
    require_permission("pluto:usb:1.4.5", 434e6, 1.92e6, -8.0, virtual=False)
    with pytest.raises(RadioError, match=r"not transmitting: lab\.toml: tx_gain_db"):
        require_permission("pluto:usb:1.4.5", 434e6, 1.92e6, -7.0, virtual=False)
    Path(FILE).write_text("virtual = true\n" + Path(FILE).read_text())
    with pytest.raises(RadioError, match=r"not transmitting: lab\.toml: 2399\.04\.\.2400\.96 MHz lies in none"):
        require_permission("pluto:ip:127.0.0.2", 2.4e9, 1.92e6, -80.0, virtual=True)
