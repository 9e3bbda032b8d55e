"""Measures of error between what was sent and what came out. No plots, no averaging over runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from testbed.units import power_to_db


def evm_percent(x: np.ndarray, x_hat: np.ndarray) -> float:
    r"""Error vector magnitude, :math:`100 \sqrt{\sum|\hat x - x|^2 / \sum|x|^2}`.

    Parameters
    ----------
    x, x_hat : [...] complex64
        Sent and received symbols, of one shape.

    Returns
    -------
    float
        In percent; not a number where nothing was sent.
    """
    error, power = _powers(x, x_hat)
    return float(100.0 * np.sqrt(error / power)) if power > 0 else float("nan")


def sinr_db(x: np.ndarray, x_hat: np.ndarray) -> float:
    r"""Power of what was sent over power of the error, :math:`10 \log_{10} \sum|x|^2 / \sum|\hat x - x|^2`.

    Parameters
    ----------
    x, x_hat : [...] complex64
        Sent and received symbols, of one shape.

    Returns
    -------
    float
        In dB; infinite without an error, not a number where nothing was sent.
    """
    error, power = _powers(x, x_hat)
    if error == 0:
        return float("inf") if power > 0 else float("nan")
    return float(power_to_db(power / error))


def psnr_db(mse: ArrayLike, peak: float = 255.0) -> np.ndarray | float:
    r"""Peak signal-to-noise ratio of mean squared errors, :math:`10 \log_{10} peak^2 / mse`; infinite for no error.

    Parameters
    ----------
    mse : float or [...] float64
        In the square of the values' unit.
    peak : float
        Largest value.

    Returns
    -------
    float or [...] float64
        In dB.
    """
    result = power_to_db(peak**2) - power_to_db(mse)
    return float(result) if result.ndim == 0 else result


def percentiles(values: ArrayLike, points: Sequence[float] = (5, 50, 95)) -> dict[str, float]:
    """Percentiles by name (``p5``, ``p50``, ...), linear between values; not a number where there are none.

    Parameters
    ----------
    values : [...] float64
    points : sequence of float
        In percent.

    Returns
    -------
    {name: value}
    """
    data = np.asarray(values, np.float64).ravel()
    found = np.percentile(data, points) if data.size else np.full(len(points), np.nan)
    return {f"p{point:g}": float(value) for point, value in zip(points, found, strict=True)}


def _powers(x: np.ndarray, x_hat: np.ndarray) -> tuple[float, float]:
    """Sums of |x_hat - x|^2 and |x|^2, in double precision."""
    sent = np.asarray(x, np.complex128)
    error = np.asarray(x_hat, np.complex128) - sent
    return float(np.sum(np.abs(error) ** 2)), float(np.sum(np.abs(sent) ** 2))
