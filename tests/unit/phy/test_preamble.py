"""The preamble: power, peak, and no false peak over delay and carrier offset.

Run as a script, this file searches for the sequences that `testbed.phy.preamble` names: `python test_preamble.py 72`.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from testbed.phy.modulation import qpsk
from testbed.phy.ofdm import modulate
from testbed.phy.preamble import preamble, preamble_grid
from testbed.phy.sequences import gold_bits
from testbed.phy.waveform import Waveform

OTA = Waveform()
WIDE = Waveform(profile="wide")
# Offsets at which a correlator may be led astray: twice the largest of +-26 kHz, in steps of a quarter resolution.
OFFSETS_HZ = np.arange(-52_500, 52_501, 1875.0)


def ambiguity(period: np.ndarray, waveform: Waveform) -> np.ndarray:
    """[offset, lag] |match|^2 of two periods with a preamble in silence; 1 where all of it matches.

    Lags run from -2 fft_size to 2 fft_size around the true one.
    """
    size, prefix = waveform.fft_size, 2 * waveform.cp_samples
    reference = np.tile(period, 2) / np.linalg.norm(np.tile(period, 2))
    sent = np.concatenate([np.zeros(2 * size - prefix), reference[-prefix:], reference, np.zeros(2 * size)])
    times = np.arange(len(sent))
    shifted = sent * np.exp(2j * np.pi * np.outer(OFFSETS_HZ / waveform.sample_rate_hz, times))
    points = 8 * size
    spectra = np.fft.fft(shifted, points) * np.fft.fft(reference, points).conj()
    return np.abs(np.fft.ifft(spectra)[:, : 4 * size + 1]) ** 2


def worst_sidelobe(period: np.ndarray, waveform: Waveform) -> float:
    """Largest match away from the true lag, and from one period on either side, at any offset (0..1)."""
    surface = ambiguity(period, waveform)
    lags = np.arange(-2 * waveform.fft_size, 2 * waveform.fft_size + 1)
    near_offset = np.abs(OFFSETS_HZ) < waveform.spacing_hz
    for centre in (-waveform.fft_size, 0, waveform.fft_size):
        near = np.abs(lags - centre) <= 3
        surface[np.ix_(near_offset, near)] = 0
    return float(surface.max())


def peak_to_mean_db(samples: np.ndarray) -> float:
    """Largest over mean sample power."""
    power = np.abs(samples) ** 2
    return float(10 * np.log10(power.max() / power.mean()))


@pytest.mark.parametrize("waveform", [OTA, WIDE], ids=["ota", "wide"])
def test_preamble_has_unit_power_elements_and_two_equal_periods_behind_a_cyclic_prefix(waveform):
    """Exact but for rounding."""
    wave, size, prefix = preamble(waveform), waveform.fft_size, 2 * waveform.cp_samples
    assert wave.shape == (waveform.preamble_samples,)
    assert wave.dtype == np.complex64
    np.testing.assert_array_equal(wave[prefix : prefix + size], wave[prefix + size :])
    np.testing.assert_array_equal(wave[:prefix], wave[size : size + prefix])
    np.testing.assert_allclose(np.abs(preamble_grid(waveform)), 1, rtol=1e-6)
    assert np.mean(np.abs(wave[prefix:]) ** 2) == pytest.approx(waveform.occupied_subcarriers / size, rel=1e-5)


@pytest.mark.parametrize("waveform", [OTA, WIDE], ids=["ota", "wide"])
def test_preamble_stays_below_full_scale_with_room_to_spare(waveform):
    """12 dB of room at -12 dBFS rms; a fade-free preamble uses half of it."""
    assert peak_to_mean_db(preamble(waveform)) < 6.0


@pytest.mark.parametrize("waveform", [OTA, WIDE], ids=["ota", "wide"])
def test_preamble_confuses_no_offset_with_a_delay(waveform):
    """Worst match off the peak, any delay, any offset to +-52 kHz: under 6 % of the energy of a true one.

    A Zadoff-Chu sequence in its place fails: it matches itself at another delay once the offset is a subcarrier.
    """
    period = preamble(waveform)[-waveform.fft_size :]
    assert worst_sidelobe(period, waveform) < 0.06
    index = np.arange(waveform.occupied_subcarriers)
    chu = np.exp(-1j * np.pi * 25 * index * (index + 1) / (waveform.occupied_subcarriers + 1))
    chu_period = modulate(chu[None, :], waveform)[waveform.cp_samples :]
    assert worst_sidelobe(chu_period, waveform) > 0.5


@pytest.mark.parametrize("waveform", [OTA, WIDE], ids=["ota", "wide"])
def test_preamble_matches_itself_by_half_one_period_away(waveform):
    """(N + prefix)^2 / (2 N)^2 one period early, 1/4 one late: closed form."""
    surface = ambiguity(preamble(waveform)[-waveform.fft_size :], waveform)[len(OFFSETS_HZ) // 2]
    size, prefix = waveform.fft_size, 2 * waveform.cp_samples
    assert surface[2 * size] == pytest.approx(1, rel=1e-5)
    assert surface[size] == pytest.approx(((size + prefix) / (2 * size)) ** 2, abs=0.05)
    assert surface[3 * size] == pytest.approx(0.25, rel=1e-5)


def search(occupied: int, seeds: int) -> None:
    """Print the best sequences: lowest sidelobe among those with a peak below 5.5 dB."""
    waveform = next(w for w in (OTA, WIDE) if w.occupied_subcarriers == occupied)
    found = []
    for c_init in range(1, seeds):
        grid = qpsk(gold_bits(c_init, 2 * occupied))
        period = modulate(grid[None, :], waveform)[waveform.cp_samples :]
        peak = peak_to_mean_db(period)
        if peak < 5.5:
            found.append((worst_sidelobe(period, waveform), peak, c_init))
    for sidelobe, peak, c_init in sorted(found)[:5]:
        print(f"c_init {c_init}: worst sidelobe {sidelobe:.3f}, peak {peak:.2f} dB")


if __name__ == "__main__":
    search(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4000)
