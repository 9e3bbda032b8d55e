"""The Laplace mechanism."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import gamma

from testbed.privacy.accounting import library
from testbed.privacy.mechanisms.base import Mechanism
from testbed.privacy.noise import NoiseSource


class Laplace(Mechanism):
    r"""Laplace noise against the L1 sensitivity, of density :math:`\tfrac12 e^{-|x|}` at unit scale.

    One release of multiplier b keeps :math:`\epsilon = 1/b` at :math:`\delta = 0`. For a value of many numbers of which
    one record moves all, the L1 sensitivity is far above the L2 one, and so is the noise.

    References
    ----------
    C. Dwork, A. Roth, *The Algorithmic Foundations of Differential Privacy*, 2014, theorem 3.6.
    """

    name = "laplace"
    norm = 1
    unit_std = math.sqrt(2.0)

    def private_event(self) -> Any:
        return library().LaplaceDpEvent(self.noise_multiplier)

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> np.ndarray:
        uniform = noise.uniform(shape)
        return np.where(uniform < 0.5, np.log(2.0 * uniform), -np.log(2.0 * (1.0 - uniform)))

    def entry_tail(self, values: int, probability: float) -> float:
        return math.log(values / probability)  # P(|N| > t) = exp(-t), and the union bound

    def norm_tail(self, values: int, probability: float) -> float:
        return float(gamma.isf(probability, values))  # sums of |N| are gamma distributed

    @classmethod
    def first_guess(cls, epsilon: float, releases: int, delta: float) -> float:
        return releases / epsilon  # at delta 0; less is needed above
