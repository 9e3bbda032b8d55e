"""Detection: how often it finds a preamble, how often one in noise, and that cutting a stream changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom

from testbed.errors import ShapeError
from testbed.phy import ofdm, sync
from testbed.phy.modulation import qpsk
from testbed.phy.preamble import preamble
from testbed.phy.waveform import Waveform

OTA = Waveform()
WIDE = Waveform(profile="wide")
MAX_CFO_HZ = 26e3
LENGTH = 2 * OTA.fft_size


def white(rng, *shape, variance=1.0):
    values = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    return values * np.float32(np.sqrt(variance / 2))


def threshold(waveform=OTA, antennas=1, rate=1e-4, max_cfo_hz=MAX_CFO_HZ):
    return sync.detection_threshold(waveform, antennas, rate, len(sync.cfo_hypotheses(waveform, max_cfo_hz)))


def transmission(rng, waveform, delay, cfo_hz, count):
    """[count] samples: a preamble and ten symbols of QPSK at ``delay``, fractional too, turned by an offset."""
    body = ofdm.modulate(qpsk(rng.integers(0, 2, (10, 2 * waveform.occupied_subcarriers))), waveform)
    sent = np.concatenate([preamble(waveform), body])
    points = 2 * max(count, len(sent))
    late = np.fft.ifft(np.fft.fft(sent, points) * np.exp(-2j * np.pi * np.fft.fftfreq(points) * delay))[:count]
    turns = cfo_hz / waveform.sample_rate_hz * np.arange(count) + rng.random()
    return late * np.exp(2j * np.pi * turns)


@pytest.mark.parametrize("waveform", [OTA, WIDE], ids=["ota", "wide"])
def test_preambles_are_found_at_minus_3_db(waveform, rng):
    """One antenna, AWGN, Es/N0 -3 dB, 1e-4 per 10 ms, any offset to +-25 kHz and any fraction of a sample.

    600 trials: at least 99 %, each within one sample and one hypothesis (plus what noise adds) of the truth.
    """
    found, limit = 0, threshold(waveform)
    hypothesis = sync.cfo_hypotheses(waveform, MAX_CFO_HZ)
    spacing = hypothesis[1] - hypothesis[0]
    for _ in range(600):
        delay, cfo_hz = rng.uniform(100, 900), rng.uniform(-25e3, 25e3)
        received = transmission(rng, waveform, delay, cfo_hz, 2000) + white(rng, 2000, variance=10**0.3)
        detection = sync.detect(received[None, :], waveform, limit, MAX_CFO_HZ)
        if detection is not None:
            found += abs(detection.start - delay) <= 1 and abs(detection.cfo_hz - cfo_hz) <= spacing
    assert found >= 594


@pytest.mark.parametrize("antennas", [1, 2])
def test_statistic_in_noise_is_beta_distributed(antennas, rng):
    """One hypothesis, 2e6 correlated lags; tails at 1e-2 .. 1e-4 within 4 standard errors, 3 lags making one trial."""
    statistic, _ = sync.detection_statistic(white(rng, antennas, 2_000_000, variance=7.0), OTA, 0.0)
    for p in (1e-2, 1e-3, 1e-4):
        tail = np.mean(statistic > beta.isf(p, antennas, antennas * (LENGTH - 1)))
        assert tail == pytest.approx(p, abs=4 * np.sqrt(3 * p / len(statistic)))


@pytest.mark.parametrize(
    ("hypotheses_hz", "antennas", "windows", "rates"),
    [(0.0, 1, 2500, (1e-2, 1e-3)), (MAX_CFO_HZ, 1, 700, (1e-2, 1e-3)), (MAX_CFO_HZ, 2, 150, (1e-1,))],
    ids=["one-hypothesis", "all", "two-antennas"],
)
def test_false_alarms_come_at_the_rate_of_the_closed_form(hypotheses_hz, antennas, windows, rates, rng):
    """10 ms of noise at a time: alarms within the 99.9 % interval of a binomial between 0.6 and 1 times the setting.

    The form is a bound that correlation between neighbours leaves nearly tight: over 200 s of noise and one hypothesis
    1.015 +- 0.07 of 1e-2, over 60 s and fifteen 0.8 +- 0.1.
    """
    limits = [threshold(OTA, antennas, rate, hypotheses_hz) for rate in rates]
    count = round(0.01 * OTA.sample_rate_hz) + LENGTH - 1
    alarms = np.zeros(len(rates), int)
    for _ in range(windows):
        statistic, _ = sync.detection_statistic(white(rng, antennas, count), OTA, hypotheses_hz)
        alarms += statistic.max() > limits
    for rate, number in zip(rates, alarms, strict=True):
        assert binom.ppf(5e-4, windows, 0.6 * rate) <= number <= binom.ppf(1 - 5e-4, windows, rate)


def test_threshold_is_the_inverse_of_the_beta_tail():
    """Against scipy.stats, for 1 to 4 antennas, where its survival function is still exact."""
    for antennas in (1, 2, 4):
        limit = sync.detection_threshold(OTA, antennas, 1e-2, 15)
        p = beta.sf(limit, antennas, antennas * (LENGTH - 1))
        assert p * 0.01 * OTA.sample_rate_hz * 15 == pytest.approx(1e-2, rel=1e-6)


def test_statistic_is_the_normalised_correlation(rng):
    """The double sum written out at a few lags, two antennas; best of all hypotheses."""
    samples = white(rng, 2, 1500)
    statistic, hypothesis = sync.detection_statistic(samples, OTA, MAX_CFO_HZ)
    wave, offsets = preamble(OTA)[-LENGTH:], sync.cfo_hypotheses(OTA, MAX_CFO_HZ)
    bank = wave * np.exp(2j * np.pi * np.outer(offsets, np.arange(LENGTH)) / OTA.sample_rate_hz)
    for lag in (0, 1, 767, 768, 769, 770, 1500 - LENGTH):
        part = samples[:, lag : lag + LENGTH]
        match = np.sum(np.abs(bank.conj() @ part.T) ** 2, axis=1)
        match /= np.sum(np.abs(wave) ** 2) * np.sum(np.abs(part) ** 2)
        assert statistic[lag] == pytest.approx(match.max(), rel=1e-4)
        assert hypothesis[lag] == np.argmax(match)
    assert len(statistic) == 1500 - LENGTH + 1


def test_hypotheses_cover_the_offsets_asked_for():
    """Half the resolution of two periods apart, none farther than half a step from a hypothesis."""
    offsets = sync.cfo_hypotheses(OTA, MAX_CFO_HZ)
    assert np.diff(offsets) == pytest.approx(OTA.sample_rate_hz / (4 * OTA.fft_size))
    assert offsets[-1] + 1875 >= MAX_CFO_HZ
    np.testing.assert_array_equal(offsets, -offsets[::-1])
    np.testing.assert_array_equal(sync.cfo_hypotheses(OTA, 0), [0])


@pytest.mark.parametrize("snr_db", [-3.0, 10.0, 60.0])
def test_neither_half_match_one_period_away_wins(snr_db, rng):
    """100 preambles each, from noise to hardly any: the start is never a period off."""
    for _ in range(100):
        cfo_hz = rng.uniform(-25e3, 25e3)
        received = transmission(rng, OTA, 600, cfo_hz, 1600) + white(rng, 1600, variance=10 ** (-snr_db / 10))
        detection = sync.detect(received[None, :], OTA, threshold(), MAX_CFO_HZ)
        assert detection is not None
        assert abs(detection.start - 600) <= 1


def test_two_users_that_overlap_are_one_detection(rng):
    """Two antennas, Rayleigh gains, delays to half a prefix, offsets 200 Hz apart, 5 dB: 300 trials, 99 %."""
    found = 0
    for _ in range(300):
        delays, cfo_hz = 500 + rng.uniform(0, OTA.cp_samples / 2, 2), rng.uniform(-25e3, 25e3)
        users = [transmission(rng, OTA, d, cfo_hz + o, 1500) for d, o in zip(delays, (-100, 100), strict=True)]
        received = white(rng, 2, 2) @ np.array(users) + white(rng, 2, 1500, variance=10**-0.5)
        detection = sync.detect(received, OTA, threshold(antennas=2), MAX_CFO_HZ)
        found += detection is not None and delays.min() - 2 <= detection.start <= delays.max() + 2
    assert found >= 297


@pytest.mark.parametrize("window", [577, 1000, 4096])
def test_a_stream_cut_into_windows_gives_what_the_whole_gives(window, rng):
    """Every alignment of a frame to a window: same start, offset and statistic (to rounding) as in one piece."""
    limit, margin = threshold(antennas=2), 2 * OTA.preamble_samples
    for delay in rng.integers(0, 3000, 25):
        received = transmission(rng, OTA, delay, -17_300.0, 5000) + white(rng, 2, 5000, variance=0.5)
        whole = sync.detect(received, OTA, limit, MAX_CFO_HZ)
        assert whole is not None
        for first in range(0, 5000, window):
            part = received[:, first : first + window + margin]
            cut = sync.detect(part, OTA, limit, MAX_CFO_HZ, search_samples=window)
            if cut is not None:
                break
        assert (first + cut.start, cut.cfo_hz) == (whole.start, whole.cfo_hz)
        assert cut.statistic == pytest.approx(whole.statistic, rel=1e-5)


def test_a_preamble_must_lie_wholly_in_the_samples():
    """Found with its first and last sample at the very ends; not when one is missing."""
    wave = preamble(OTA)[None, :]
    found = sync.detect(wave, OTA, 0.5, MAX_CFO_HZ)
    assert found is not None
    assert found.start == 0
    assert found.statistic == pytest.approx(1, abs=1e-5)
    assert sync.detect(wave[:, :-1], OTA, 0.5, MAX_CFO_HZ) is None
    assert sync.detect(wave[:, :10], OTA, 0.5, MAX_CFO_HZ) is None


def test_silence_and_what_is_not_finite_match_nothing(rng):
    """Zeros alone, a whisper 180 dB below what stands beside it, not-a-number, infinity."""
    nothing = np.zeros((1, 3000), np.complex64)
    assert sync.detect(nothing, OTA, threshold(), MAX_CFO_HZ) is None
    loud = white(rng, 1, 3000, variance=1e-12)
    loud[:, 1500:] = white(rng, 1, 1500, variance=1e6)
    statistic, _ = sync.detection_statistic(loud, OTA, MAX_CFO_HZ)
    assert statistic[: 1500 - LENGTH].max() < threshold()
    for bad in (np.nan, np.inf):
        broken = white(rng, 1, 3000)
        broken[0, 1000] = bad
        assert sync.detect(broken, OTA, threshold(), MAX_CFO_HZ) is None


def test_arguments_out_of_range_are_refused():
    """One line each."""
    with pytest.raises(ShapeError):
        sync.detect(np.zeros(1000, np.complex64), OTA, 0.1, MAX_CFO_HZ)
    with pytest.raises(ValueError, match="false_alarms_per_10ms"):
        sync.detection_threshold(OTA, 1, 0.0, 1)
