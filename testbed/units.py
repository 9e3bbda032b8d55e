"""Decibels and linear ratios. Powers use 10 log10, amplitudes 20 log10; nothing here guesses which is meant."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def db_to_power(db: ArrayLike) -> np.ndarray:
    """Power ratio :math:`10^{x/10}`.

    Parameters
    ----------
    db : [...] float
        In dB.

    Returns
    -------
    [...] float64
    """
    return np.power(10.0, np.asarray(db, dtype=np.float64) / 10.0)


def power_to_db(power: ArrayLike) -> np.ndarray:
    """Decibels of a power ratio, :math:`10\\log_{10} p`.

    Parameters
    ----------
    power : [...] float
        Linear; zero gives -inf without a warning.

    Returns
    -------
    [...] float64
        In dB.
    """
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(np.asarray(power, dtype=np.float64))


def db_to_amplitude(db: ArrayLike) -> np.ndarray:
    """Amplitude ratio :math:`10^{x/20}`.

    Parameters
    ----------
    db : [...] float
        In dB.

    Returns
    -------
    [...] float64
    """
    return np.power(10.0, np.asarray(db, dtype=np.float64) / 20.0)
