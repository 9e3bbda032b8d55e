"""`semtb radio lab`: what it prints can be used, and what it says is what the driver holds to."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from testbed.cli.radio import radio_app


def lab(*more: str) -> str:
    done = CliRunner().invoke(radio_app, ["lab", *more])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_example_becomes_the_lab_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without one it says how to write one; 10 dBm EIRP less 8 dBm and 2 dBi leave a gain of 0 dB."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SEMTB_LAB", raising=False)
    assert "semtb radio lab --example > lab.toml" in lab()
    Path("lab.toml").write_text(lab("--example"))
    said = lab()
    assert "every Pluto but virtual ones" in said
    assert "2.4 GHz (2400..2483.5 MHz, at most 10 dBm EIRP): tx_gain_db <= 0" in said
