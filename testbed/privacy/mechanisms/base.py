r"""What every mechanism has in common: :math:`M(D) = f(D) + s N`, the scale s a multiple of the sensitivity of f."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from testbed.errors import ScenarioError
from testbed.privacy.accounting import library
from testbed.privacy.noise import NoiseSource
from testbed.privacy.sensitivity import Sensitivity

MULTIPLIERS = (0.05, 1e4)  # below, an accountant would need minutes and gigabytes; above, nothing is left of a value


class Mechanism(ABC):
    r"""Adds independent noise to every value, :math:`M(D) = f(D) + z \Delta N`, rounded to float32.

    :math:`\Delta` is the sensitivity of f in the norm of the mechanism, z the noise multiplier, N the noise of unit
    scale that a mechanism draws. A multiplier of zero adds nothing and protects nothing.

    Parameters
    ----------
    noise_multiplier : float
        z, without dimension: 0, or in ``MULTIPLIERS``.

    Raises
    ------
    ScenarioError
        If it is out of range.
    """

    name: ClassVar[str]
    norm: ClassVar[int]  # 1 or 2: in which the sensitivity is measured
    unit_std: ClassVar[float]  # standard deviation of the noise of unit scale

    def __init__(self, noise_multiplier: float) -> None:
        low, high = MULTIPLIERS
        if not (noise_multiplier == 0 or low <= noise_multiplier <= high):
            raise ScenarioError(f"noise multiplier = {noise_multiplier}: allowed: 0 (no noise) and {low:g} to {high:g}")
        self.noise_multiplier = float(noise_multiplier)

    @abstractmethod
    def private_event(self) -> Any:
        """The release as dp-accounting knows it, a ``DpEvent``, where there is noise."""

    @abstractmethod
    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> np.ndarray:
        """N: independent noise of unit scale.

        Parameters
        ----------
        shape : tuple of int
        noise : NoiseSource

        Returns
        -------
        [*shape] float64
        """

    @abstractmethod
    def entry_tail(self, values: int, probability: float) -> float:
        r"""What the largest of some magnitudes of unit noise seldom exceeds: t with :math:`P(\max_i |N_i| > t) \le p`.

        Parameters
        ----------
        values : int
            How many.
        probability : float
            p, 0 to 1.

        Returns
        -------
        float
            Without dimension: times the scale.
        """

    @abstractmethod
    def norm_tail(self, values: int, probability: float) -> float:
        r"""What the norm of some unit noises seldom exceeds: t with :math:`P(\|N\| > t) \le p`, in ``self.norm``.

        Parameters
        ----------
        values : int
            How many.
        probability : float
            p, 0 to 1.

        Returns
        -------
        float
            Without dimension: times the scale.
        """

    @classmethod
    @abstractmethod
    def first_guess(cls, epsilon: float, releases: int, delta: float) -> float:
        """A multiplier near, and rather above, the one at which so many releases compose to ``epsilon``.

        Parameters
        ----------
        epsilon : float
        releases : int
        delta : float

        Returns
        -------
        float
        """

    def event(self) -> Any:
        """What one release is to an accountant.

        Returns
        -------
        dp_accounting.DpEvent

        Raises
        ------
        MissingExtra
            If dp-accounting is not installed.
        """
        return self.private_event() if self.noise_multiplier else library().NonPrivateDpEvent()

    def scale(self, sensitivity: Sensitivity) -> float:
        r"""s = z \Delta, in units of the values; without noise 0, whatever the sensitivity.

        Parameters
        ----------
        sensitivity : Sensitivity

        Returns
        -------
        float

        Raises
        ------
        ScenarioError
            If there is to be noise, but no bound on what one record can do.
        """
        if not self.noise_multiplier:
            return 0.0
        bound = self.bound_of(sensitivity)
        if not (math.isfinite(bound) and bound >= 0):
            raise ScenarioError(f"{self.name}: sensitivity = {bound}: noise can hide a finite one alone")
        return self.noise_multiplier * bound

    def bound_of(self, sensitivity: Sensitivity) -> float:
        """The sensitivity in this mechanism's norm."""
        return sensitivity.l1 if self.norm == 1 else sensitivity.l2

    def std(self, sensitivity: Sensitivity) -> float:
        """Standard deviation of the noise in each value, in units of the values."""
        return self.unit_std * self.scale(sensitivity)

    def add(self, value: np.ndarray, sensitivity: Sensitivity, noise: NoiseSource) -> np.ndarray:
        """M(D).

        Parameters
        ----------
        value : [...] float
            f(D).
        sensitivity : Sensitivity
            Of all that is released together, of which ``value`` may be one part.
        noise : NoiseSource

        Returns
        -------
        [...] float32
        """
        exact, scale = np.asarray(value, np.float64), self.scale(sensitivity)
        return (exact + scale * self.draw(exact.shape, noise) if scale else exact).astype(np.float32)
