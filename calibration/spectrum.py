"""Power spectra, for the pages of procedures and for the density of noise."""

from __future__ import annotations

import numpy as np

from calibration.record import Line, Plot

PLOTTED_BINS = 512


def density(y: np.ndarray, rate_hz: float, bins: int = PLOTTED_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Welch's estimate of the power spectral density, frequencies rising.

    Parameters
    ----------
    y : [n] complex64
    rate_hz : float
    bins : int

    Returns
    -------
    frequency_hz, power_per_hz : [bins] float64
        Full scale squared for each Hz.
    """
    from scipy.signal import welch  # takes a while to load, and a node that only corrects needs none

    frequency_hz, power = welch(y, rate_hz, "hann", bins, return_onesided=False, detrend=False)
    return np.fft.fftshift(frequency_hz), np.fft.fftshift(power)


def before_and_after(before: np.ndarray, after: np.ndarray, rate_hz: float) -> Plot:
    """The spectrum of a capture as it came, and of another, or as corrected.

    Parameters
    ----------
    before, after : [n] complex64
    rate_hz : float

    Returns
    -------
    Plot
    """
    lines = [spectrum_line(name, y, rate_hz) for name, y in (("as received", before), ("corrected", after))]
    return Plot("spectrum", "frequency from the receiver's LO (kHz)", "level in a bin (dBFS)", lines)


def spectrum_line(name: str, y: np.ndarray, rate_hz: float) -> Line:
    """A spectrum in dB of full scale in each bin.

    Parameters
    ----------
    name : str
    y : [n] complex64
    rate_hz : float

    Returns
    -------
    Line
    """
    frequency_hz, power = density(y, rate_hz)
    level = 10 * np.log10(power * rate_hz / PLOTTED_BINS + 1e-20)
    return Line(name, [round(f / 1e3, 3) for f in frequency_hz], [round(float(v), 2) for v in level])
