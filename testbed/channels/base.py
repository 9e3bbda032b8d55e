"""What a channel model is, and what it draws: a tapped delay line whose gains are closed forms of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True)
class TappedDelayLine:
    r"""One realisation of the channel from one transmitter to one antenna: taps, each a sum of sinusoids.

    .. math::  g_l(t) = a_l \sum_{m=0}^{M-1} \exp\{j (2\pi f_{lm} t + \varphi_{lm})\}

    The gain at any time is a closed form, so it does not depend on how a stream is cut into blocks.

    Attributes
    ----------
    delays_s : [taps] float64
        Several taps may share a delay.
    amplitudes : [taps] float64
        :math:`a_l`, of each sinusoid.
    doppler_hz : [taps, M] float64
    phases : [taps, M] float64
        In radians.
    powers : [taps] float64
        :math:`E|g_l|^2` over realisations.
    max_doppler_hz : float
        No sinusoid is faster.
    """

    delays_s: np.ndarray
    amplitudes: np.ndarray
    doppler_hz: np.ndarray
    phases: np.ndarray
    powers: np.ndarray
    max_doppler_hz: float

    def gains(self, times_s: np.ndarray) -> np.ndarray:
        """The gain of each tap, by the closed form.

        Parameters
        ----------
        times_s : [n] float

        Returns
        -------
        [taps, n] complex128
        """
        times = np.asarray(times_s, dtype=np.float64)
        turn = 2j * np.pi * self.doppler_hz[..., None] * times
        return self.amplitudes[:, None] * np.exp(turn + 1j * self.phases[..., None]).sum(axis=1)

    def scaled(self, amplitude: float) -> TappedDelayLine:
        """The same line, louder or softer.

        Parameters
        ----------
        amplitude : float
            By which every gain is multiplied, linear.

        Returns
        -------
        TappedDelayLine
        """
        return replace(self, amplitudes=self.amplitudes * amplitude, powers=self.powers * amplitude**2)

    def later(self, delay_s: float) -> TappedDelayLine:
        """The same line with a delay before it.

        Parameters
        ----------
        delay_s : float
            Negative: taken from it.

        Returns
        -------
        TappedDelayLine
        """
        return replace(self, delays_s=self.delays_s + delay_s)


class Place(NamedTuple):
    """Where a link stands among those of its medium."""

    antenna: int
    user: int  # position among the users, not a user's number
    antennas: int  # in all


class ChannelModel(Protocol):
    """A family member: its delay profile, and lines drawn from it. Unit mean power: :math:`\\sum_l E|g_l|^2 = 1`."""

    @property
    def name(self) -> str:
        """As a scenario writes it."""
        ...

    @property
    def fades(self) -> bool:
        """Whether delay spread and Doppler change anything."""
        ...

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        """Delays [taps] float64 in units of the rms delay spread, and powers [taps] float64 that sum to 1."""
        ...

    def draw(self, delay_spread_s: float, doppler_hz: float, place: Place, rng: np.random.Generator) -> TappedDelayLine:
        """One realisation.

        Parameters
        ----------
        delay_spread_s : float
            Rms delay spread in seconds; scales the profile's delays.
        doppler_hz : float
            Maximum Doppler shift in Hz; 0 holds the realisation still.
        place : Place
        rng : numpy.random.Generator
            All that is random comes from it.

        Returns
        -------
        TappedDelayLine
        """
        ...
