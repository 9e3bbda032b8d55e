"""Flat Rician fading: a line of sight and a Rayleigh rest at one delay."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from testbed.channels.base import Place, TappedDelayLine
from testbed.channels.tdl import LOS_DOPPLER, SINUSOIDS
from testbed.errors import ScenarioError
from testbed.units import db_to_power

DEFAULT_K_DB = 6.0
MAX_K_DB = 60.0


@dataclass(frozen=True)
class Rician:
    r"""A line of sight of power :math:`K / (K + 1)` and a Rayleigh tap of power :math:`1 / (K + 1)`.

    .. math::
        h(t) = \sqrt{\frac{K}{K + 1}} \, e^{j (2\pi \, 0.7 f_d t + \varphi)} + \sqrt{\frac{1}{(K + 1) M}}
            \sum_{m=0}^{M-1} \exp\{j (2\pi f_d \cos\theta_m t + \varphi_m)\}

    with angles and phases as in `testbed.channels.tdl.Tdl`. All paths share one delay: the envelope is Rician at every
    frequency, with :math:`E|h|^2 = 1`.

    Parameters
    ----------
    name : str
    k_db : float
        :math:`10 \log_{10} K`.

    References
    ----------
    C. Xiao, Y. R. Zheng, N. C. Beaulieu, "Novel sum-of-sinusoids simulation models for Rayleigh and Rician fading
    channels", IEEE Trans. Wireless Commun. 5(12), 2006, eq. 11.
    """

    name: str = "Rician"
    k_db: float = DEFAULT_K_DB
    fades: bool = True

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        """See `testbed.channels.base.ChannelModel.profile`."""
        k = float(db_to_power(self.k_db))
        return np.zeros(2), np.array([k, 1.0]) / (k + 1.0)

    def draw(self, delay_spread_s: float, doppler_hz: float, place: Place, rng: np.random.Generator) -> TappedDelayLine:
        """See `testbed.channels.base.ChannelModel.draw`; ``place`` and ``delay_spread_s`` change nothing."""
        delays, powers = self.profile()
        angles = (2 * np.pi * np.arange(SINUSOIDS) + rng.uniform(-np.pi, np.pi, SINUSOIDS)) / SINUSOIDS
        shifts_hz = np.stack([np.full(SINUSOIDS, LOS_DOPPLER), np.cos(angles)]) * doppler_hz
        phases = np.stack([np.full(SINUSOIDS, rng.uniform(-np.pi, np.pi)), rng.uniform(-np.pi, np.pi, SINUSOIDS)])
        amplitudes = np.sqrt(powers) / np.array([SINUSOIDS, np.sqrt(SINUSOIDS)])  # the first's add up to one
        return TappedDelayLine(delays, amplitudes, shifts_hz, phases, powers, doppler_hz)


def with_k(text: str, name: str, key: str) -> Rician:
    """``Rician:K_DB``.

    Parameters
    ----------
    text : str
        What stands behind the colon.
    name : str
        All of it.
    key : str
        Where it was written, for the message.

    Returns
    -------
    Rician

    Raises
    ------
    ScenarioError
        If it is no number, or beyond 60 dB.
    """
    try:
        k_db = float(text)
    except ValueError:
        k_db = math.nan
    if not -MAX_K_DB <= k_db <= MAX_K_DB:
        raise ScenarioError(f"{key} = {name}: allowed: Rician:K_DB with K_DB in -60..60, for example Rician:6")
    return Rician(name, k_db)


MODELS = (Rician(),)
