"""Taps from a file: what was measured is what lies on the link; files that hold no taps are refused, line by line."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.air.links import link_of
from testbed.air.medium import Medium
from testbed.channels.base import Place
from testbed.channels.registry import find_channel
from testbed.config import Air
from testbed.errors import ScenarioError
from testbed.phy.waveform import Waveform

PROFILE = "delay_s,power_db,phase_deg,doppler_hz\n250e-9,-3,30,\n0.75e-6,-9,-120,40\n250e-9,-60,0,\n"


@pytest.fixture
def taps(tmp_path):
    def write(text):
        path = tmp_path / "taps.csv"
        path.write_text(text, encoding="utf-8")
        return f"taps:{path}"

    return write


def test_the_medium_has_the_taps_of_the_file(taps):
    """The response at three frequencies and two times, against the file's own numbers; power 1, first delay 0."""
    air = Air(
        channel=taps(PROFILE), doppler_hz=9.0, delay_spread_s=1e-6, common_cfo_hz=0.0,
        user_cfo_hz=[0.0], user_delay_samples=[0.0],
    )  # fmt: skip
    waveform = Waveform()
    medium = Medium(waveform, air, [0], 1, 1)
    frequencies_hz, samples = np.array([-400e3, 0.0, 300e3]), np.array([0.0, 9600.0])
    powers = 10 ** (np.array([-3, -9, -60]) / 10)
    amplitudes = np.sqrt(powers / powers.sum()) * np.exp(1j * np.deg2rad([30, -120, 0]))
    turn = np.exp(2j * np.pi * np.array([0, 40, 0])[:, None] * samples / waveform.sample_rate_hz)
    delays_s = np.array([0, 0.5e-6, 0]) + medium.truth.latency_samples / waveform.sample_rate_hz
    expected = np.einsum("l,ls,lf->sf", amplitudes, turn, np.exp(-2j * np.pi * delays_s[:, None] * frequencies_hz))
    assert medium.response(samples, frequencies_hz)[:, :, 0, 0] == pytest.approx(expected, abs=1e-5)
    share = powers[1] / powers.sum()
    assert link_of(air, 0, 0).delay_spread_s == pytest.approx(0.5e-6 * np.sqrt(share * (1 - share)))


def test_taps_may_belong_to_one_antenna_or_user_and_phases_may_be_left_out(taps):
    model = find_channel(taps("delay_s, power_db, antenna, user\n0,0,0,\n1e-7,0,1,0\n2e-7,0,1,1\n2e-7,0,1,1\n"))
    rng = np.random.default_rng(1)
    lines = {(a, u): model.draw(1.0, 0.0, Place(a, u, 2), rng) for a in range(2) for u in range(2)}
    assert [len(lines[place].delays_s) for place in ((0, 0), (0, 1), (1, 0), (1, 1))] == [1, 1, 1, 2]
    assert all(line.powers.sum() == pytest.approx(1) for line in lines.values())
    assert lines[0, 0].phases[0, 0] != lines[0, 1].phases[0, 0]
    with pytest.raises(ScenarioError, match="no tap for antenna 2 and user 0"):
        model.draw(1.0, 0.0, Place(2, 0, 3), rng)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delay_s,gain\n0,0\n", "columns delay_s, gain: needed: delay_s, power_db; known: .*phase_deg"),
        ("", "columns none: needed"),
        ("delay_s,power_db\n", "0 taps: allowed: 1..4096"),
        ("delay_s,power_db\n0,0\n-1e-9,0\n", "line 3: delay_s = -1e-9: allowed: 0..0.0001"),
        ("delay_s,power_db\n0,loud\n", "line 2: power_db = loud: allowed"),
        ("delay_s,power_db\n0\n", "line 2: power_db = : allowed"),
        ("delay_s,power_db,user\n0,0,16\n", "line 2: user = 16: allowed: 0..15"),
    ],
)
def test_a_file_without_taps_is_refused(taps, text, message):
    with pytest.raises(ScenarioError, match=message):
        find_channel(taps(text), "air.channel")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"air.channel = taps:.*none.csv: no CSV file of taps that can be read"):
        find_channel(f"taps:{tmp_path / 'none.csv'}", "air.channel")
