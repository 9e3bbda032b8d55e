"""Subspaces that hold every channel within given delays or Doppler shifts: what all LMMSE estimators share."""

from __future__ import annotations

import numpy as np

from testbed.phy.waveform import Waveform

DELAY_MARGIN_SAMPLES = 1.5  # paths may lie so far outside the prefix: the FFT window stands on whole samples
SUBSPACE_EDGE = 1e-6  # eigenvalues below this share of the largest hold no channel that noise at 50 dB would not hide


def prefix_window(waveform: Waveform) -> tuple[float, float]:
    """Earliest and latest delay, in samples behind the FFT window's earliest path, of what the prefix is made for."""
    return -DELAY_MARGIN_SAMPLES, waveform.cp_samples + DELAY_MARGIN_SAMPLES


def delay_correlation(lag: np.ndarray, waveform: Waveform, window: tuple[float, float]) -> np.ndarray:
    r"""Correlation over subcarriers of delays uniform in ``window``, complex by their mean.

    .. math:: R(\Delta k) = \mathrm{sinc}\left(\frac{b - a}{N} \Delta k\right) e^{-j \pi (a + b) \Delta k / N}

    Parameters
    ----------
    lag : [...] int
        Subcarriers apart.
    waveform : Waveform
    window : (float, float)
        Earliest and latest delay in samples, a and b.

    Returns
    -------
    [...] complex128
    """
    width = (window[1] - window[0]) / waveform.fft_size
    centre = (window[1] + window[0]) / 2 / waveform.fft_size
    return np.sinc(width * lag) * np.exp(-2j * np.pi * centre * lag)


def subspace(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors and eigenvalues above the subspace's edge, largest first.

    Parameters
    ----------
    correlation : [n, n] float64 or complex128
        Hermitian.

    Returns
    -------
    v : [n, rank] as ``correlation``
    value : [rank] float64
    """
    value, v = np.linalg.eigh(correlation)
    keep = value > SUBSPACE_EDGE * value[-1]
    return v[:, keep][:, ::-1], value[keep][::-1]


def delay_bases(waveform: Waveform, combs: list[np.ndarray], window: tuple[float, float]) -> np.ndarray:
    """Bases over each user's comb of all delays in ``window``.

    Parameters
    ----------
    waveform : Waveform
    combs : list of [n] int
        Subcarrier numbers of each user's pilots.
    window : (float, float)
        In samples.

    Returns
    -------
    [U, n, J] complex128
        Conjugate, so that coefficients = h_ls @ v; zero columns where a user's subspace is smaller by one than
        another's, as happens where DC is left out.
    """
    bases = [subspace(delay_correlation(c[:, None] - c, waveform, window))[0].conj() for c in combs]
    size = max(v.shape[1] for v in bases)
    return np.stack([np.pad(v, ((0, 0), (0, size - v.shape[1]))) for v in bases])


def symbol_seconds(waveform: Waveform) -> np.ndarray:
    """[S] float64: when each body symbol comes, from the first."""
    return np.arange(waveform.body_symbols) * waveform.symbol_samples / waveform.sample_rate_hz
