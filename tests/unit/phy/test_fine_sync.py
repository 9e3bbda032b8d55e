"""Carrier offset and timing against their Cramer-Rao bounds, and FFT windows that keep every path in the prefix."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.errors import ShapeError
from testbed.phy import ofdm, sync
from testbed.phy.modulation import qpsk
from testbed.phy.preamble import preamble
from testbed.phy.waveform import Waveform

OTA = Waveform()
MARGIN = 64  # silence before the nominal start


def white(rng, *shape, variance=1.0):
    return np.sqrt(variance / 2) * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def received(rng, delays, gains, cfo_hz, snr_db):
    """[A, n] from the nominal start on: preamble and four symbols over paths of ``gains`` [A, path]."""
    body = ofdm.modulate(qpsk(rng.integers(0, 2, (4, 2 * OTA.occupied_subcarriers))), OTA)
    sent = np.concatenate([np.zeros(MARGIN), preamble(OTA), body, np.zeros(MARGIN)])
    ramps = np.exp(-2j * np.pi * np.outer(delays, np.fft.fftfreq(len(sent))))
    paths = np.fft.ifft(np.fft.fft(sent) * ramps)
    times = (np.arange(len(sent)) - MARGIN) / OTA.sample_rate_hz
    paths = paths * np.exp(2j * np.pi * np.outer(np.broadcast_to(cfo_hz, len(delays)), times))
    signal = np.asarray(gains) @ paths
    return (signal + white(rng, *signal.shape, variance=10 ** (-snr_db / 10)))[:, MARGIN:].astype(np.complex64)


def bounds(snr_db: float) -> tuple[float, float]:
    """Variances of offset (Hz^2) and delay (samples^2) that no unbiased estimator beats: the whole preamble known, its
    complex gain not. 1 / (2 |d|^2 / N0), d the derivative of the signal with what the gain explains taken out."""
    wave, times = preamble(OTA).astype(complex), np.arange(OTA.preamble_samples) / OTA.sample_rate_hz
    period = wave[-OTA.fft_size :]
    by_delay = np.fft.ifft(-2j * np.pi * np.fft.fftfreq(len(period)) * np.fft.fft(period))
    by_delay = np.concatenate([by_delay[-2 * OTA.cp_samples :], by_delay, by_delay])
    slopes = [2j * np.pi * times * wave, by_delay]
    left = [s - wave * np.vdot(wave, s) / np.vdot(wave, wave) for s in slopes]
    return tuple(10 ** (-snr_db / 10) / (2 * np.vdot(s, s).real) for s in left)


@pytest.mark.parametrize("snr_db", [5, 10, 15, 20, 25])
def test_offset_and_timing_are_within_3_db_of_their_bounds(snr_db, rng):
    """Single path, one antenna, any fraction of a sample, any offset to +-25 kHz, hypothesis up to half a step off.

    3 dB is the goal. 400 trials, so +-0.6 dB (two standard errors): the offset keeps 1 dB from it, the timing 1.5 dB.
    """
    errors = []
    for _ in range(400):
        delay, cfo_hz = rng.uniform(-0.5, 0.5), rng.uniform(-25e3, 25e3)
        samples = received(rng, [delay], [[np.exp(2j * np.pi * rng.random())]], cfo_hz, snr_db)
        estimate = sync.estimate_cfo(samples, OTA, cfo_hz + rng.uniform(-1875, 1875))
        errors.append((estimate - cfo_hz, sync.estimate_timing(samples, OTA, estimate) - delay))
    loss_db = 10 * np.log10(np.mean(np.square(errors), axis=0) / bounds(snr_db))
    assert np.all(loss_db < (2.0, 1.5))
    assert np.all(loss_db > -0.8)
    bias = np.abs(np.mean(errors, axis=0)) / (np.std(errors, axis=0) / np.sqrt(400))
    assert np.all(bias < 4)


def test_antennas_add_up(rng):
    """Four antennas at 10 dB: a quarter of one antenna's bound, within 3 dB, for offset and timing."""
    errors = []
    for _ in range(200):
        gains = np.exp(2j * np.pi * rng.random((4, 1)))
        samples = received(rng, [0.3], gains, 1234.0, 10)
        estimate = sync.estimate_cfo(samples, OTA, 0.0)
        errors.append((estimate - 1234, sync.estimate_timing(samples, OTA, estimate) - 0.3))
    assert np.all(10 * np.log10(np.mean(np.square(errors), axis=0) * 4 / bounds(10)) < 3)


def test_offset_is_unbiased_by_multipath(rng):
    """Paths over the whole prefix, 300 Rayleigh draws at 20 dB on two antennas: within 6 dB of the single-path bound,
    fades included, and no error above 60 Hz where a hypothesis is 3750 Hz wide."""
    errors = []
    for _ in range(300):
        delays = np.array([0, 3.3, 7.1, 14.8])
        gains = white(rng, 2, 4, variance=0.25)
        samples = received(rng, delays, gains, -9_876.0, 20)
        errors.append(sync.estimate_cfo(samples, OTA, -11_250.0) + 9_876)
    assert 10 * np.log10(np.mean(np.square(errors)) * 2 / bounds(20)[0]) < 6
    assert np.abs(errors).max() < 60


def test_offset_of_two_users_lies_between_theirs(rng):
    """100 Hz either side, equal powers: the estimate is between them, give or take noise, and so +-200 Hz for both."""
    for _ in range(50):
        gains = np.exp(2j * np.pi * rng.random((2, 2)))
        samples = received(rng, [0.0, 6.0], gains, [900.0, 1100.0], 20)
        assert 850 < sync.estimate_cfo(samples, OTA, 0.0) < 1150


def test_timing_finds_the_strongest_of_several(rng):
    """A path 10 samples later and 6 dB weaker pulls by less than a tenth of a sample."""
    samples = received(rng, [2.4, 12.4], [[1.0, 0.5j]], 0.0, 30)
    assert sync.estimate_timing(samples, OTA, 0.0) == pytest.approx(2.4, abs=0.1)


def test_windows_keep_both_users_inside_the_prefix(rng):
    """Two users with delays to half a prefix and echoes to 2 samples behind, Rayleigh on two antennas, 20 dB, the start
    known no better than detection gives it (one user's delay): 500 draws, and no path that matters is left outside."""
    outside = 0.0
    for _ in range(500):
        users = rng.uniform(0, OTA.cp_samples / 2, 2)
        start = round(users[rng.integers(2)])
        delays = np.concatenate([users, users + rng.uniform(0, 2, 2)]) - start
        gains = white(rng, 2, 4, variance=1.0) * np.sqrt([0.8, 0.8, 0.2, 0.2])
        samples = received(rng, delays, gains, 0.0, 20)
        offset = sync.window_offset(sync.estimate_arrivals(samples, OTA, 0.0), OTA)
        power = np.sum(np.abs(gains) ** 2, axis=0)
        misses = (delays < offset) | (delays > offset + OTA.cp_samples)
        outside = max(outside, power[misses].sum() / power.sum())
    assert outside < 0.01


@pytest.mark.parametrize("delay", [-8, 0, 8])
def test_a_single_path_ends_in_the_middle_of_the_prefix(delay, rng):
    """Window half a prefix before it, to two samples, at 0 dB; by its timing alone, a quarter before it."""
    samples = received(rng, [delay], [[1.0]], 0.0, 0)
    first, last = sync.estimate_arrivals(samples, OTA, 0.0)
    assert first <= delay <= last
    assert sync.window_offset((first, last), OTA) == pytest.approx(delay - OTA.cp_samples / 2, abs=2)
    assert sync.window_offset(float(delay), OTA) == delay - OTA.cp_samples // 4


def test_derotation_keeps_its_phase_over_any_length(rng):
    """Sample 1e12 of a stream, two antennas, against double-precision phasors: to float32 rounding."""
    samples = white(rng, 2, 1000)
    first, cycles = 10**12, 25e3 / OTA.sample_rate_hz
    phase = np.mod(first * cycles, 1) + cycles * np.arange(1000)
    np.testing.assert_allclose(
        sync.derotate(samples, 25e3, OTA, first), samples * np.exp(-2j * np.pi * phase), atol=2e-3
    )
    whole = sync.derotate(samples, 25e3, OTA)
    parts = [sync.derotate(samples[:, :333], 25e3, OTA), sync.derotate(samples[:, 333:], 25e3, OTA, 333)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_samples_that_say_nothing_give_finite_answers(value):
    """Silence, not-a-number, infinity: a receiver goes on."""
    samples = np.full((2, OTA.preamble_samples), value, np.complex64)
    assert np.isfinite(sync.estimate_cfo(samples, OTA, 0.0))
    assert np.isfinite(sync.estimate_timing(samples, OTA, 0.0))
    assert isinstance(sync.window_offset(sync.estimate_arrivals(samples, OTA, 0.0), OTA), int)


def test_less_than_a_preamble_is_refused():
    """All three say so."""
    for estimate in (sync.estimate_cfo, sync.estimate_timing, sync.estimate_arrivals):
        with pytest.raises(ShapeError):
            estimate(np.zeros((1, OTA.preamble_samples - 1), np.complex64), OTA, 0.0)
