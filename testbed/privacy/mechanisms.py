"""What is done to a value before it leaves a node: its sensitivity bounded, noise added. No accounting here."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
from scipy.special import ndtri

from testbed.errors import ShapeError

RECORD_BOUND = 1.0  # L2 norm that one record's contribution never exceeds; the unit in which evidence is counted


class NoiseSource(Protocol):
    """Where a mechanism's noise comes from."""

    name: str

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Independent standard normal values, float64."""
        ...


class SystemNoise:
    """Noise from the operating system's entropy: what a guarantee needs. Nobody can draw it again.

    Values are floating-point numbers: the guarantee is that of the real-valued mechanism. The attack on low bits of
    floating-point noise (I. Mironov, CCS 2012) is answered by rounding to a grid only in part (see ``gaussian``).
    """

    name = "operating system"

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(shape))
        integers = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)
        # In (0, 1), both ends left out: the largest integer and a half would round up to 1.
        uniform = np.minimum((integers.astype(np.float64) + 0.5) * 2.0**-53, 1 - 2.0**-53)
        return ndtri(uniform).reshape(shape)


class SeededNoise:
    """Noise that a seed repeats, for experiments. Whoever knows the seed subtracts it: then there is no privacy."""

    name = "seeded: no privacy against whoever knows the seed"

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._rng.standard_normal(shape)


def clip_rows(rows: np.ndarray, bound: float) -> np.ndarray:
    r"""Each row scaled down to an L2 norm of at most ``bound``: :math:`x \min(1, C/\lVert x\rVert)`.

    A row whose norm is not finite becomes zero: noise hides no infinity, and what is not a number stays none under it.

    Parameters
    ----------
    rows : [n, d] float
    bound : float

    Returns
    -------
    [n, d] float64
    """
    values = np.asarray(rows, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(values, axis=-1, keepdims=True)
    values = np.where(np.isfinite(norms), values, 0.0)
    norms = np.where(np.isfinite(norms), norms, 0.0)
    return values * np.minimum(1.0, bound / np.maximum(norms, np.finfo(np.float64).tiny))


def class_sums(rows: np.ndarray, labels: np.ndarray, classes: int, bound: float) -> np.ndarray:
    r"""Sum of the clipped rows of each class, :math:`S_{\cdot c} = \sum_{i: y_i=c} \mathrm{clip}_C(x_i)`.

    One record lies in one column and is at most C long, so the L2 sensitivity of the whole matrix is C if a record is
    added or removed, 2C if it is replaced (reached when the replacement points the opposite way in the same class).

    Parameters
    ----------
    rows : [n, d] float
    labels : [n] int, 0..classes - 1
    classes : int
    bound : float
        C.

    Returns
    -------
    [d, classes] float64
    """
    if rows.ndim != 2 or labels.shape != (len(rows),):
        raise ShapeError(f"rows [n, d] and labels [n] are wanted, not {list(rows.shape)} and {list(labels.shape)}")
    return clip_rows(rows, bound).T @ np.eye(classes)[labels]


def bounded_table_sensitivity(rows: int, bound: float) -> float:
    r"""L2 sensitivity of a table of ``rows`` rows, each at most ``bound`` long, of which any record may change all.

    :math:`2C\sqrt{m}`: what a model trained without protection says of m samples is such a table, because one record
    may change the whole model. It holds for an added, a removed and a replaced record alike.
    """
    return 2.0 * bound * rows**0.5


def gaussian(value: np.ndarray, sensitivity: float, noise_multiplier: float, noise: NoiseSource) -> np.ndarray:
    r"""The Gaussian mechanism, :math:`M(D) = f(D) + \mathcal{N}(0, (z\Delta)^2 I)`, rounded to float32.

    Parameters
    ----------
    value : [...] float
        f(D), of L2 sensitivity at most ``sensitivity`` for the neighbouring relation that is accounted for.
    sensitivity : float
        Delta.
    noise_multiplier : float
        z. Zero adds nothing and protects nothing.
    noise : NoiseSource

    Returns
    -------
    [...] float32

    References
    ----------
    C. Dwork, A. Roth, *The Algorithmic Foundations of Differential Privacy*, 2014, appendix A.
    """
    exact = np.asarray(value, np.float64)
    if noise_multiplier == 0.0:
        return exact.astype(np.float32)
    return (exact + sensitivity * noise_multiplier * noise.normal(exact.shape)).astype(np.float32)
