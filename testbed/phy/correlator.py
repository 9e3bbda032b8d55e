"""A known word sought in noise over a bank of carrier offsets: match at every lag, threshold in closed form."""

from __future__ import annotations

import numpy as np
import scipy.fft
from scipy.special import betaincinv

from testbed.phy._kernels import normalise, strongest_hypothesis

TRANSFORM_FACTOR = 4  # length of the correlator's FFT over that of its word: a 1024-point one stays in cache
# The correlator's float32 rounding, seen from a window of silence next to a strong signal, must not look like a match.
SILENCE = 1e-10


def threshold(length: int, antennas: int, probability: float) -> float:
    r"""Threshold on the match that noise alone exceeds with this probability, at one lag and hypothesis.

    In white noise of any power the statistic :math:`T \sim \mathrm{Beta}(A, A(M - 1))`, with a word of M samples and A
    antennas.

    Parameters
    ----------
    length : int
        M.
    antennas : int
        A.
    probability : float

    Returns
    -------
    float
        0 to 1.

    References
    ----------
    S. M. Kay, *Fundamentals of Statistical Signal Processing: Detection Theory*, ch. 9 (unknown noise power).
    """
    # P(T > t) = P(1 - T < 1 - t), and 1 - T ~ Beta(A(M - 1), A): exact far into the tail.
    return 1.0 - float(betaincinv(antennas * (length - 1), antennas, probability))


def word_spectra(word: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    """Conjugate spectra of a word of unit energy at each carrier offset.

    Parameters
    ----------
    word : [M] complex64
    cycles : [hypotheses] float64
        Offsets in cycles a sample.

    Returns
    -------
    [hypotheses, TRANSFORM_FACTOR * M] complex64
    """
    length = len(word)
    wave = word.astype(np.complex128)
    wave /= np.linalg.norm(wave)
    shifted = wave * np.exp(2j * np.pi * np.asarray(cycles)[:, None] * np.arange(length))
    return np.conj(np.fft.fft(shifted, TRANSFORM_FACTOR * length)).astype(np.complex64)


def lags_at_once(spectra: np.ndarray) -> int:
    """Lags that one call of `match` can look at."""
    return spectra.shape[-1] - spectra.shape[-1] // TRANSFORM_FACTOR + 1


def match(samples: np.ndarray, spectra: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Share of the received energy that the word explains at the first ``lags`` lags, the best over all hypotheses.

    .. math:: T[n] = \max_f \frac{\sum_a |\sum_m s^*[m] e^{-j 2\pi f m} y_a[n + m]|^2}
              {\sum_m |s[m]|^2 \; \sum_a \sum_m |y_a[n + m]|^2}

    Parameters
    ----------
    samples : [A, lags + M - 1] complex64
    spectra : [hypotheses, transform] complex64
        From `word_spectra`.
    lags : int
        At most `lags_at_once`.

    Returns
    -------
    statistic : [lags] float32
        0..1; 0 in silence.
    hypothesis : [lags] int16
    """
    with np.errstate(invalid="ignore", over="ignore"):
        received = scipy.fft.fft(samples, spectra.shape[-1])
        correlation = scipy.fft.ifft(received[:, None, :] * spectra, overwrite_x=True)
        power, hypothesis = strongest_hypothesis(correlation, lags)
    return normalise(power, samples, SILENCE), hypothesis


def strongest(samples: np.ndarray, spectra: np.ndarray) -> tuple[int, int, float]:
    """The lag of the best match in an array.

    Parameters
    ----------
    samples : [A, n] complex64
        At least one word long.
    spectra : [hypotheses, transform] complex64
        From `word_spectra`.

    Returns
    -------
    lag, hypothesis : int
    statistic : float
        0..1; 0 where there is nothing but silence.
    """
    length = spectra.shape[-1] // TRANSFORM_FACTOR
    total, step = samples.shape[-1] - length + 1, lags_at_once(spectra)
    best = (0, 0, 0.0)
    for first in range(0, total, step):
        lags = min(step, total - first)
        statistic, hypothesis = match(samples[:, first : first + lags + length - 1], spectra, lags)
        peak = int(np.argmax(statistic))
        if statistic[peak] > best[2]:
            best = (first + peak, int(hypothesis[peak]), float(statistic[peak]))
    return best
