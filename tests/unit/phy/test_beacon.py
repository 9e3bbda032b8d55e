"""The beacon: found over 130 kHz, measured as well as the Cramér-Rao bound allows, and read."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2

from testbed.errors import ShapeError
from testbed.phy import beacon, ofdm
from testbed.phy.waveform import Waveform

WAVEFORM = Waveform()
PERIOD, BURST = beacon.period_samples(WAVEFORM), beacon.burst_samples(WAVEFORM)
MAX_CFO_HZ = 130e3


def received(rng, number: int, delay: float, cfo_hz: float, snr_db: float, antennas: int = 1) -> np.ndarray:
    """Two periods, the burst delayed by any fraction of a sample (a phase ramp over the DFT) and turned, in noise."""
    sent = np.concatenate([beacon.beacon_period(WAVEFORM, number), np.zeros(PERIOD)])
    ramp = np.exp(-2j * np.pi * np.fft.fftfreq(2 * PERIOD) * delay)
    seconds = np.arange(2 * PERIOD) / WAVEFORM.sample_rate_hz
    turned = np.fft.ifft(np.fft.fft(sent) * ramp) * np.exp(2j * np.pi * (cfo_hz * seconds + rng.random()))
    sigma = np.sqrt(ofdm.tx_amplitude(WAVEFORM) ** 2 / 10 ** (snr_db / 10) / 2)
    noise = rng.standard_normal((antennas, 2 * PERIOD, 2)) @ [1, 1j]
    return (turned + sigma * noise).astype(np.complex64)


@pytest.mark.parametrize("snr_db, trials", [(0.0, 40), (20.0, 25)])
def test_a_beacon_is_found_and_measured_at_the_bounds(snr_db: float, trials: int, rng):
    """Any number, delay and offset within 130 kHz: all read; errors' variances within the 99.9 % range of chi-square,
    widened by 15 %, about the Cramér-Rao bounds of offset and delay."""
    offsets, delays = [], []
    for _ in range(trials):
        number, delay = int(rng.integers(2**32)), rng.uniform(WAVEFORM.cp_samples, PERIOD - 2)
        cfo_hz = rng.uniform(-MAX_CFO_HZ, MAX_CFO_HZ)
        y = received(rng, number, delay, cfo_hz, snr_db)
        found = beacon.find_beacon(y, WAVEFORM, MAX_CFO_HZ)
        assert found is not None
        assert found.start == pytest.approx(delay, abs=2)
        measured = beacon.measure_beacon(y, WAVEFORM, found.start, found.cfo_hz)
        assert measured is not None
        assert measured.number == number
        assert measured.snr_db == pytest.approx(snr_db, abs=1.0)
        offsets.append(measured.cfo_hz - cfo_hz)
        delays.append(measured.arrival - delay)
    carriers = WAVEFORM.subcarriers * 2 * np.pi / WAVEFORM.fft_size
    energy = 2 * 10 ** (snr_db / 10) * beacon.SYMBOLS
    delay_bound = 1 / np.sqrt(energy * np.sum((carriers - carriers.mean()) ** 2))
    low, high = chi2.ppf([5e-4, 1 - 5e-4], trials) / trials
    for errors, bound in ((offsets, beacon.cfo_deviation_hz(snr_db, 1, WAVEFORM)), (delays, delay_bound)):
        assert low < np.mean(np.square(errors)) / bound**2 < high * 1.15


def test_at_minus_three_db_nine_of_ten_are_read(rng):
    """40 bursts: a receiver that misses 10 % of them or less passes with 99.9 %."""
    read = 0
    for number in range(40):
        y = received(rng, number, 1000.25, -118e3, -3.0)
        found = beacon.find_beacon(y, WAVEFORM, MAX_CFO_HZ)
        measured = found and beacon.measure_beacon(y, WAVEFORM, found.start, found.cfo_hz)
        read += bool(measured and measured.number == number)
    assert read >= binom.ppf(1e-3, 40, 0.9)


def test_noise_alone_is_found_as_seldom_as_the_threshold_says(rng, monkeypatch):
    """At 0.3 a search: a union bound, so between a tenth of it and itself, within the 99.9 % range of a binomial."""
    monkeypatch.setattr(beacon, "FALSE_ALARMS", 0.3)
    searches = 60
    alarms = sum(
        beacon.find_beacon(
            (rng.standard_normal((1, PERIOD + BURST, 2)) @ [1, 1j]).astype(np.complex64), WAVEFORM, MAX_CFO_HZ
        )
        is not None
        for _ in range(searches)
    )
    assert binom.ppf(1e-3, searches, 0.03) <= alarms <= binom.ppf(1 - 1e-3, searches, 0.3)
    assert alarms > 0


def test_silence_noise_and_another_burst_have_no_number(rng):
    """None, whatever is asked of them; numbers that are no numbers are taken for silence."""
    silence = np.zeros((1, 2 * PERIOD), np.complex64)
    assert beacon.find_beacon(silence, WAVEFORM, MAX_CFO_HZ) is None
    noise = (rng.standard_normal((1, 2 * PERIOD, 2)) @ [1, 1j]).astype(np.complex64)
    y = received(rng, 7, 100.0, 0.0, 30.0)
    for samples in (silence, noise, np.full_like(silence, np.nan)):
        assert beacon.measure_beacon(samples, WAVEFORM, 100, 0.0) is None
        assert beacon.measure_beacon(samples, WAVEFORM, 100, 0.0, number=7) is None
    assert beacon.measure_beacon(y, WAVEFORM, 100, 0.0, number=7) is not None
    assert beacon.measure_beacon(y, WAVEFORM, 100, 0.0, number=8) is None
    for samples in (y[0], y[:, :100]):
        with pytest.raises(ShapeError):
            beacon.find_beacon(samples, WAVEFORM, MAX_CFO_HZ)
    with pytest.raises(ShapeError):
        beacon.measure_beacon(y, WAVEFORM, 3, 0.0)


def test_two_antennas_halve_the_offset_s_variance(rng):
    """Over 40 bursts at 0 dB, within the 99.9 % range of chi-square about the bound for two antennas."""
    trials, errors = 40, []
    for number in range(trials):
        y = received(rng, number, 200.0, 1234.5, 0.0, antennas=2)
        measured = beacon.measure_beacon(y, WAVEFORM, 200, 1000.0, number=number)
        assert measured is not None
        errors.append(measured.cfo_hz - 1234.5)
    low, high = chi2.ppf([5e-4, 1 - 5e-4], trials) / trials
    bound = beacon.cfo_deviation_hz(0.0, 2, WAVEFORM)
    assert low < np.mean(np.square(errors)) / bound**2 < high * 1.15


def test_a_late_echo_hides_neither_number_nor_arrival(rng):
    """A path 6 samples later at -6 dB: the strongest still tells the arrival, to a tenth of a sample."""
    y = received(rng, 99, 500.0, 50e3, 40.0)
    y[:, 6:] += 0.5j * y[:, :-6]
    found = beacon.find_beacon(y, WAVEFORM, MAX_CFO_HZ)
    assert found is not None
    measured = beacon.measure_beacon(y, WAVEFORM, found.start, found.cfo_hz)
    assert measured is not None
    assert measured.number == 99
    assert measured.arrival == pytest.approx(500.0, abs=0.1)
    assert measured.cfo_hz == pytest.approx(50e3, abs=1.0)


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**32 - 1])
def test_no_burst_has_peaks_that_are_cut(number: int):
    """A limiter that changed samples would leave other elements than those that are known."""
    burst = beacon.beacon_burst(WAVEFORM, number)
    assert np.abs(burst).max() < 1.0
    assert np.sqrt(np.mean(np.abs(burst) ** 2)) == pytest.approx(10 ** (WAVEFORM.rms_dbfs / 20), rel=0.02)
