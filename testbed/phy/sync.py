"""Finding a frame: detection by its preamble over a bank of carrier offsets, at a false-alarm rate in closed form.

Finer time and frequency are in `testbed.phy.fine_sync`, and can be imported from here.
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
import numpy as np

from testbed.errors import ShapeError
from testbed.phy.correlator import lags_at_once, match, threshold, word_spectra
from testbed.phy.fine_sync import derotate, estimate_arrivals, estimate_cfo, estimate_timing, window_offset
from testbed.phy.preamble import preamble
from testbed.phy.waveform import PREAMBLE_PERIODS, Waveform

__all__ = [
    "Detection",
    "cfo_hypotheses",
    "derotate",
    "detect",
    "detection_statistic",
    "detection_threshold",
    "estimate_arrivals",
    "estimate_cfo",
    "estimate_timing",
    "window_offset",
]

RATE_WINDOW_S = 0.01  # false alarms are counted per 10 ms


class Detection(msgspec.Struct, frozen=True):
    """A preamble found in an array of samples."""

    start: int  # sample where its prefix begins, to the nearest sample of the strongest correlation
    cfo_hz: float  # the nearest hypothesis, see `cfo_hypotheses`
    statistic: float  # 0..1, the share of the received energy that the preamble explains


def cfo_hypotheses(waveform: Waveform, max_cfo_hz: float) -> np.ndarray:
    """Carrier offsets that are tried: half the resolution of two periods apart.

    Parameters
    ----------
    waveform : Waveform
    max_cfo_hz : float
        Largest offset in Hz, either way.

    Returns
    -------
    [hypotheses] float64
        In Hz, ascending, symmetric about 0.
    """
    spacing = waveform.sample_rate_hz / (2 * PREAMBLE_PERIODS * waveform.fft_size)
    side = max(0, math.ceil(max_cfo_hz / spacing - 0.5))
    return spacing * np.arange(-side, side + 1)


def detection_threshold(waveform: Waveform, antennas: int, false_alarms_per_10ms: float, hypotheses: int) -> float:
    r"""Threshold on the statistic for a false-alarm rate, in closed form.

    There is one trial for every sample and hypothesis, each as `testbed.phy.correlator.threshold` has it; the sum of
    their probabilities bounds the rate of false alarms from above whatever their dependence.

    Parameters
    ----------
    waveform : Waveform
    antennas : int
    false_alarms_per_10ms : float
        Between 0 and 1.
    hypotheses : int
        ``len(cfo_hypotheses(...))``.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    ValueError
        If the rate lies outside (0, 1).
    """
    if not 0 < false_alarms_per_10ms < 1:
        raise ValueError(f"false_alarms_per_10ms = {false_alarms_per_10ms}: allowed: between 0 and 1")
    trials = RATE_WINDOW_S * waveform.sample_rate_hz * hypotheses
    return threshold(PREAMBLE_PERIODS * waveform.fft_size, antennas, false_alarms_per_10ms / trials)


def detection_statistic(samples: np.ndarray, waveform: Waveform, max_cfo_hz: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Match of two preamble periods at every lag, the best over all hypotheses.

    .. math:: T[n] = \max_f \frac{\sum_a |\sum_m s^*[m] e^{-j 2\pi f m / f_s} y_a[n + m]|^2}
              {\sum_m |s[m]|^2 \; \sum_a \sum_m |y_a[n + m]|^2}

    Parameters
    ----------
    samples : [A, n] complex64
    waveform : Waveform
    max_cfo_hz : float
        Largest carrier offset in Hz, either way.

    Returns
    -------
    statistic : [n - 2 fft_size + 1] float32
        0..1; 0 in silence.
    hypothesis : [n - 2 fft_size + 1] int16
        Index into `cfo_hypotheses`.
    """
    spectrum = _reference(waveform, max_cfo_hz)
    length = PREAMBLE_PERIODS * waveform.fft_size
    step = lags_at_once(spectrum)
    total = max(0, samples.shape[-1] - length + 1)
    statistic, hypothesis = np.empty(total, np.float32), np.empty(total, np.int16)
    for first in range(0, total, step):
        lags = min(step, total - first)
        part = slice(first, first + lags)
        statistic[part], hypothesis[part] = match(samples[:, first : first + lags + length - 1], spectrum, lags)
    return statistic, hypothesis


def detect(
    samples: np.ndarray,
    waveform: Waveform,
    threshold: float,
    max_cfo_hz: float,
    search_samples: int | None = None,
) -> Detection | None:
    """Find the first frame whose preamble lies wholly in ``samples``.

    The first crossing of the threshold opens a window of ``preamble_samples``, and the strongest statistic in it wins:
    the half match one period early never does.

    Parameters
    ----------
    samples : [A, n] complex64
        What is not finite matches nothing.
    waveform : Waveform
    threshold : float
        From `detection_threshold`.
    max_cfo_hz : float
        Largest carrier offset in Hz, either way.
    search_samples : int, optional
        Look for the crossing at the first so many starts only. A caller that cuts a stream gives windows that overlap
        by ``2 * preamble_samples`` and searches the rest: then no preamble is missed or judged by half.

    Returns
    -------
    Detection or None
        ``start`` counts from the first of ``samples``; it may lie up to ``preamble_samples`` behind the crossing.

    Raises
    ------
    ShapeError
        If ``samples`` is not [antenna, sample].
    """
    samples = np.asarray(samples, np.complex64)
    if samples.ndim != 2:
        raise ShapeError(f"samples {samples.shape}: must be [antenna, sample]")
    spectrum = _reference(waveform, max_cfo_hz)
    length = PREAMBLE_PERIODS * waveform.fft_size
    prefix = waveform.preamble_samples - length
    starts = samples.shape[-1] - waveform.preamble_samples + 1
    searched = starts if search_samples is None else min(starts, search_samples)
    step = lags_at_once(spectrum)
    crossing, best = -1, Detection(start=-1, cfo_hz=0.0, statistic=-1.0)
    first = 0
    while first < (searched if crossing < 0 else min(starts, crossing + waveform.preamble_samples)):
        lags = min(step, starts - first)
        block = samples[:, prefix + first : prefix + first + lags + length - 1]
        statistic, hypothesis = match(block, spectrum, lags)
        begin = 0
        if crossing < 0:
            above = np.flatnonzero(statistic[: searched - first] > threshold)
            if above.size:
                begin = int(above[0])
                crossing = first + begin
        if crossing >= 0:
            within = statistic[begin : crossing + waveform.preamble_samples - first]
            peak = begin + int(np.argmax(within))
            if statistic[peak] > best.statistic:
                cfo_hz = float(cfo_hypotheses(waveform, max_cfo_hz)[hypothesis[peak]])
                best = Detection(start=first + peak, cfo_hz=cfo_hz, statistic=float(statistic[peak]))
        first += lags
    return best if crossing >= 0 else None


@lru_cache(maxsize=8)
def _reference(waveform: Waveform, max_cfo_hz: float) -> np.ndarray:
    """[hypothesis, transform] complex64: conjugate spectra of the two periods at every hypothesis."""
    word = preamble(waveform)[-PREAMBLE_PERIODS * waveform.fft_size :]
    return word_spectra(word, cfo_hypotheses(waveform, max_cfo_hz) / waveform.sample_rate_hz)
