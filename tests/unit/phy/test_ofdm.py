"""OFDM against the sum that defines it, and QPSK through it against the Q-function."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from testbed.errors import ShapeError
from testbed.phy import ofdm
from testbed.phy.modulation import qpsk, qpsk_hard
from testbed.phy.waveform import Waveform

OTA = Waveform()


def random_grid(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64) / np.sqrt(2)


def test_a_symbol_is_the_sum_of_its_subcarriers(rng):
    """The defining sum in double precision, prefix included: to float32 rounding."""
    grid = random_grid(rng, 3, OTA.occupied_subcarriers)
    times = np.arange(-OTA.cp_samples, OTA.fft_size)
    tones = np.exp(2j * np.pi * np.outer(OTA.subcarriers, times) / OTA.fft_size) / np.sqrt(OTA.fft_size)
    samples = ofdm.modulate(grid, OTA)
    assert samples.dtype == np.complex64
    np.testing.assert_allclose(samples, (grid @ tones).ravel(), atol=1e-5)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_demodulate_undoes_modulate(rng, lead):
    """Any leading axes, any offset; rounding only."""
    grid = random_grid(rng, *lead, 5, OTA.occupied_subcarriers)
    samples = np.concatenate([np.ones((*lead, 7)), ofdm.modulate(grid, OTA)], axis=-1)
    back = ofdm.demodulate(samples, OTA, 5, offset=7)
    assert back.dtype == np.complex64
    np.testing.assert_allclose(back, grid, atol=1e-5)


@pytest.mark.parametrize("delay", [0, 5, OTA.cp_samples])
def test_a_delay_within_the_prefix_is_a_phase_slope(rng, delay):
    """exp(-j 2 pi k d / N), for d from 0 to the whole prefix."""
    grid = random_grid(rng, 4, OTA.occupied_subcarriers)
    samples = np.concatenate([np.zeros(delay), ofdm.modulate(grid, OTA)])
    slope = np.exp(-2j * np.pi * OTA.subcarriers * delay / OTA.fft_size)
    np.testing.assert_allclose(ofdm.demodulate(samples, OTA, 4), grid * slope, atol=1e-5)


def test_white_noise_keeps_its_variance_on_the_grid(rng):
    """Orthonormal: 1.4e4 elements, 4 standard errors."""
    noise = random_grid(rng, 200 * OTA.symbol_samples)
    variance = np.mean(np.abs(ofdm.demodulate(noise, OTA, 200)) ** 2)
    assert variance == pytest.approx(1, abs=4 / np.sqrt(200 * OTA.occupied_subcarriers))


def test_the_amplitude_brings_unit_power_elements_to_the_level_asked_for(rng):
    """-12 dBFS over 200 symbols, within 0.1 dB."""
    samples = ofdm.tx_amplitude(OTA) * ofdm.modulate(random_grid(rng, 200, OTA.occupied_subcarriers), OTA)
    assert 10 * np.log10(np.mean(np.abs(samples) ** 2)) == pytest.approx(-12, abs=0.1)


def test_the_limiter_keeps_phases_and_counts_what_it_changed():
    """Three samples, by hand."""
    samples = np.array([0.5, 3 + 4j, -2j], np.complex64)
    limited, clipped = ofdm.limit(samples)
    assert clipped == 2
    assert limited.dtype == np.complex64
    np.testing.assert_allclose(limited, [0.5, 0.6 + 0.8j, -1j], rtol=1e-6)
    assert ofdm.limit(samples[:1])[1] == 0


@pytest.mark.parametrize(("offset", "symbols"), [(-1, 1), (0, 3), (1, 2)])
def test_symbols_outside_the_samples_are_refused(offset, symbols):
    """Never a short or shifted grid."""
    with pytest.raises(ShapeError, match="outside"):
        ofdm.demodulate(np.zeros(2 * OTA.symbol_samples, np.complex64), OTA, symbols, offset)


def test_a_grid_of_another_width_is_refused():
    """One subcarrier too many."""
    with pytest.raises(ShapeError):
        ofdm.modulate(np.zeros((2, OTA.occupied_subcarriers + 1), np.complex64), OTA)


@pytest.mark.parametrize("snr_db", [0.0, 4.0, 8.0])
@pytest.mark.parametrize("taps", [[(0, 1.0)], [(0, 0.8), (3, 0.5j), (16, -0.33)]], ids=["flat", "three-paths"])
def test_qpsk_with_genie_channel_and_timing_meets_the_q_function(snr_db, taps, rng):
    """3e5 bits: errors within 3.5 standard deviations of sum Q(|H_k| sqrt(Es/N0)), Es/N0 per element."""
    symbols = 2100
    bits = rng.integers(0, 2, (symbols, 2 * OTA.occupied_subcarriers))
    amplitude = ofdm.tx_amplitude(OTA)
    sent = amplitude * ofdm.modulate(qpsk(bits), OTA)
    received = np.zeros(len(sent) + OTA.cp_samples, np.complex128)
    for delay, gain in taps:
        received[delay : delay + len(sent)] += gain * sent
    deviation = np.sqrt(amplitude**2 / 10 ** (snr_db / 10) / 2)
    received += deviation * (rng.standard_normal(len(received)) + 1j * rng.standard_normal(len(received)))

    channel = sum(g * np.exp(-2j * np.pi * OTA.subcarriers * d / OTA.fft_size) for d, g in taps)
    decided = qpsk_hard(ofdm.demodulate(received, OTA, symbols) / channel)
    probability = np.repeat(norm.sf(np.abs(channel) * 10 ** (snr_db / 20)), 2)
    expected = symbols * probability.sum()
    spread = np.sqrt(symbols * np.sum(probability * (1 - probability)))
    assert abs(np.count_nonzero(decided != bits) - expected) < 3.5 * spread
