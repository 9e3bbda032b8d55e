"""The Gaussian mechanism."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2

from testbed.privacy.accounting import library
from testbed.privacy.mechanisms.base import Mechanism
from testbed.privacy.noise import NoiseSource


class Gaussian(Mechanism):
    r"""Normal noise against the L2 sensitivity, :math:`N \sim \mathcal{N}(0, I)`.

    References
    ----------
    C. Dwork, A. Roth, *The Algorithmic Foundations of Differential Privacy*, 2014, appendix A.
    """

    name = "gaussian"
    norm = 2
    unit_std = 1.0

    def private_event(self) -> Any:
        return library().GaussianDpEvent(self.noise_multiplier)

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> np.ndarray:
        return noise.normal(shape)

    def entry_tail(self, values: int, probability: float) -> float:
        return float(-ndtri(probability / (2 * values)))  # the union bound over values and signs

    def norm_tail(self, values: int, probability: float) -> float:
        return float(np.sqrt(chi2.isf(probability, values)))

    @classmethod
    def first_guess(cls, epsilon: float, releases: int, delta: float) -> float:
        return math.sqrt(2 * releases * math.log(1.25 / delta)) / epsilon  # Dwork and Roth, theorem A.1
