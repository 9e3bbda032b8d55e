"""Where the noise of privacy mechanisms comes from: the operating system's entropy, or a seed that repeats it."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
from scipy.special import ndtri


class NoiseSource(Protocol):
    """Where a mechanism's noise comes from."""

    name: str

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Independent standard normal values, ``shape`` float64."""
        ...

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Independent values of the open interval (0, 1), ``shape`` float64; neither end is ever drawn."""
        ...


class SystemNoise:
    """Noise from the operating system's entropy: what a guarantee needs. Nobody can draw it again.

    Values are floating-point numbers: the guarantee is that of the real-valued mechanism. The attack on low bits of
    floating-point noise (I. Mironov, CCS 2012) is answered by rounding to float32 only in part.
    """

    name = "operating system"

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return ndtri(self.uniform(shape))

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        integers = np.frombuffer(os.urandom(8 * int(np.prod(shape))), np.uint64)
        return inside_unit_interval(integers).reshape(shape)


class SeededNoise:
    """Noise that a seed repeats, for experiments. Whoever knows the seed subtracts it: then there is no privacy.

    Parameters
    ----------
    rng : numpy.random.Generator
    """

    name = "seeded: no privacy against whoever knows the seed"

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._rng.standard_normal(shape)

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        return inside_unit_interval(self._rng.integers(0, 2**64, shape, np.uint64, endpoint=False))


def inside_unit_interval(integers: np.ndarray) -> np.ndarray:
    """The upper 53 bits of each integer as the middle of its cell of (0, 1).

    Parameters
    ----------
    integers : [...] uint64

    Returns
    -------
    [...] float64
        From 2^-54 to 1 - 2^-53: the largest integer and a half would round up to 1.
    """
    return np.minimum(((integers >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53, 1 - 2.0**-53)
