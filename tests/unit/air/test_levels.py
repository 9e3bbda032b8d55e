"""The level at which transmitters send, and what it does to the SNR."""

import numpy as np
import pytest

from testbed.air.levels import LevelMeter, level_warnings
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.phy.waveform import PROFILES, Waveform

HEADER = Header(user=0, frame=0, picture=0, part=0, codec=1, codec_hash=0, height=32, width=32, k=1, scale=1.0)


def test_silence_is_left_out_and_pieces_do_not_matter(rng):
    """Rms 22 of uniform phase, half of the time: 26.85 dBFS to rounding, in one piece or many."""
    x = np.zeros(10_000, np.complex64)
    x[2000:7000] = 22 * np.exp(1j * rng.uniform(-np.pi, np.pi, 5000))
    whole, pieces = LevelMeter(), LevelMeter()
    whole.add(x)
    for part in np.split(x, [1, 2000, 2001, 7005]):
        pieces.add(part)
    assert whole.level_dbfs == pytest.approx(20 * np.log10(22), abs=1e-4)
    assert pieces.level_dbfs == pytest.approx(whole.level_dbfs, abs=1e-9)


def test_nothing_and_the_largest_float_have_a_level_or_none():
    meter = LevelMeter()
    meter.add(np.zeros(5, np.complex64))
    assert meter.level_dbfs is None
    meter.add(np.full(5, 3e38, np.complex64))
    assert meter.level_dbfs == pytest.approx(20 * np.log10(3e38), abs=1e-3)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rms_dbfs", [-12.0, -20.0, -6.0])
def test_the_testbeds_own_frames_are_not_warned_of(profile, rms_dbfs, rng):
    waveform = Waveform(profile=profile, rms_dbfs=rms_dbfs)
    data = (rng.standard_normal((waveform.data_elements, 2)) @ np.array([1, 1j]) / np.sqrt(2)).astype(np.complex64)
    meter = LevelMeter()
    meter.add(build_frame(HEADER, data, waveform)[0])
    assert meter.level_dbfs == pytest.approx(rms_dbfs, abs=1.0)
    assert level_warnings({0: meter.level_dbfs}, waveform, 20.0, [0]) == []


def test_another_level_is_told_with_what_it_does_to_the_snr():
    (line,) = level_warnings({0: -12.5, 1: 26.85, 2: None}, Waveform(), 10.0, [0, 1, 2])
    assert line == (
        "user 1 sends at 26.9 dBFS (rms 22), the waveform is laid out for -12: its SNR is 48.9 dB instead of "
        "air.snr_db = 10; scale what it sends by -38.9 dB"
    )
    (line,) = level_warnings({0: -40.0}, Waveform(), 10.0, [0])
    assert "its SNR is -18.0 dB" in line
    assert "by +28.0 dB" in line
