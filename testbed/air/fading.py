"""Fading: tapped delay lines whose gains are closed forms of time. Where they act on samples is in ``medium``."""

from __future__ import annotations

import numpy as np

from testbed.errors import ScenarioError
from testbed.units import db_to_power

SINUSOIDS = 32  # per tap; the fourth moment is then 2 - 1/32, where Rayleigh fading has 2

# Normalised delay and power in dB of each tap, all Rayleigh: TR 38.901 V17.0.0, tables 7.7.2-1, 7.7.2-2 and 7.7.2-3.
PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "TDL-A": (
        (0.0000, -13.4), (0.3819, 0.0), (0.4025, -2.2), (0.5868, -4.0), (0.4610, -6.0), (0.5375, -8.2),
        (0.6708, -9.9), (0.5750, -10.5), (0.7618, -7.5), (1.5375, -15.9), (1.8978, -6.6), (2.2242, -16.7),
        (2.1718, -12.4), (2.4942, -15.2), (2.5119, -10.8), (3.0582, -11.3), (4.0810, -12.7), (4.4579, -16.2),
        (4.5695, -18.3), (4.7966, -18.9), (5.0066, -16.6), (5.3043, -19.9), (9.6586, -29.7),
    ),
    "TDL-B": (
        (0.0000, 0.0), (0.1072, -2.2), (0.2155, -4.0), (0.2095, -3.2), (0.2870, -9.8), (0.2986, -1.2),
        (0.3752, -3.4), (0.5055, -5.2), (0.3681, -7.6), (0.3697, -3.0), (0.5700, -8.9), (0.5283, -9.0),
        (1.1021, -4.8), (1.2756, -5.7), (1.5474, -7.5), (1.7842, -1.9), (2.0169, -7.6), (2.8294, -12.2),
        (3.0219, -9.8), (3.6187, -11.4), (4.1067, -14.9), (4.2790, -9.2), (4.7834, -11.3),
    ),
    "TDL-C": (
        (0.0000, -4.4), (0.2099, -1.2), (0.2219, -3.5), (0.2329, -5.2), (0.2176, -2.5), (0.6366, 0.0),
        (0.6448, -2.2), (0.6560, -3.9), (0.6584, -7.4), (0.7935, -7.1), (0.8213, -10.7), (0.9336, -11.1),
        (1.2285, -5.1), (1.3083, -6.8), (2.1704, -8.7), (2.7105, -13.2), (4.2589, -13.9), (4.6003, -13.9),
        (5.4902, -15.8), (5.6077, -17.1), (6.3065, -16.0), (6.6374, -15.7), (7.0427, -21.6), (8.6523, -22.8),
    ),
}  # fmt: skip


def power_delay_profile(channel: str) -> tuple[np.ndarray, np.ndarray]:
    """Delays in units of the rms delay spread, and powers that sum to 1.

    Parameters
    ----------
    channel : str
        A name in ``PROFILES``, or ``AWGN``: one path without delay.

    Returns
    -------
    delays : [taps] float64
    powers : [taps] float64

    Raises
    ------
    ScenarioError
        If the name is not known.
    """
    if channel == "AWGN":
        return np.zeros(1), np.ones(1)
    if channel not in PROFILES:
        raise ScenarioError(f"air.channel = {channel}: allowed: {', '.join(PROFILES)}, AWGN")
    delays, powers_db = np.array(PROFILES[channel]).T
    powers = db_to_power(powers_db)
    return delays, powers / powers.sum()


class TappedDelayLine:
    r"""One antenna's channel from one user: Rayleigh taps, each a sum of sinusoids.

    .. math::  g_l(t) = \sqrt{p_l / M} \sum_{m=0}^{M-1} \exp\{j (2\pi f_d \cos\theta_{lm} t + \varphi_{lm})\}

    with :math:`\theta_{lm} = (2\pi m + u_{lm}) / M`, :math:`u` and :math:`\varphi` uniform on :math:`[-\pi, \pi)`.
    Over realisations :math:`E|g_l|^2 = p_l`, :math:`\sum p_l = 1` and
    :math:`E[g_l(t+\tau) g_l^*(t)] = p_l J_0(2\pi f_d \tau)`.
    The gain at any time is a closed form, so it does not depend on how a stream is cut into blocks.

    Parameters
    ----------
    channel : str
        A name in ``PROFILES``.
    delay_spread_s : float
        Rms delay spread; scales the normalised delays (TR 38.901, 7.7.3).
    doppler_hz : float
        Maximum Doppler shift; 0 holds the realisation still.
    rng : numpy.random.Generator
        Draws angles and phases, and nothing else.

    Attributes
    ----------
    delays_s : [taps] float64
    amplitudes : [taps] float64
        Of each sinusoid, :math:`\sqrt{p_l / M}`.
    doppler_hz, phases : [taps, sinusoids] float64

    References
    ----------
    C. Xiao, Y. R. Zheng, N. C. Beaulieu, "Novel sum-of-sinusoids simulation models for Rayleigh and Rician fading
    channels", IEEE Trans. Wireless Commun. 5(12), 2006, eq. 4.
    """

    def __init__(self, channel: str, delay_spread_s: float, doppler_hz: float, rng: np.random.Generator) -> None:
        delays, powers = power_delay_profile(channel)
        spread = rng.uniform(-np.pi, np.pi, (len(delays), SINUSOIDS))
        angles = (2 * np.pi * np.arange(SINUSOIDS) + spread) / SINUSOIDS
        self.delays_s = delays * delay_spread_s
        self.amplitudes = np.sqrt(powers / SINUSOIDS)
        self.doppler_hz = doppler_hz * np.cos(angles)
        self.phases = rng.uniform(-np.pi, np.pi, (len(delays), SINUSOIDS))

    @classmethod
    def steady(cls, phase: float) -> TappedDelayLine:
        """One path of unit gain, no delay, no Doppler, and the given phase in radians."""
        line = cls.__new__(cls)
        line.delays_s = np.zeros(1)
        line.amplitudes = np.ones(1)
        line.doppler_hz = np.zeros((1, 1))
        line.phases = np.full((1, 1), phase)
        return line

    def gains(self, times_s: np.ndarray) -> np.ndarray:
        """[taps, n] complex128: the gain of each tap at ``times_s`` [n], by the closed form."""
        times = np.asarray(times_s, dtype=np.float64)
        turn = 2j * np.pi * self.doppler_hz[..., None] * times
        return self.amplitudes[:, None] * np.exp(turn + 1j * self.phases[..., None]).sum(axis=1)


class GainGrid:
    r"""Gains of many lines at multiples of ``step_s``, cheaply: by rotation from exact anchors.

    .. math::  e^{j(\omega t + \varphi)} = e^{j(\omega t_c + \varphi)} \, e^{j 8 \omega a T} \, e^{j \omega k T}, \quad
        t = t_c + (8 a + k) T, \quad 0 \le a, k < 8

    The last two factors are tables, so each sinusoid costs one exponential in 64 points. Chunks begin at fixed
    multiples of the step and are always computed whole: what they hold does not depend on which of their points is
    asked for, nor in what order.
    """

    POINTS = 8  # of each table
    CHUNK_POINTS = POINTS * POINTS

    def __init__(self, lines: list[TappedDelayLine], step_s: float) -> None:
        self.step_s = step_s
        self._doppler = np.stack([line.doppler_hz for line in lines])  # [lines, taps, sinusoids]
        amplitudes = np.stack([line.amplitudes for line in lines])
        self._start = amplitudes[..., None] * np.exp(1j * np.stack([line.phases for line in lines]))
        turns = self._doppler[..., None] * (np.arange(self.POINTS) * step_s)
        self._near = np.exp(2j * np.pi * turns)  # [lines, taps, sinusoids, 8]
        self._far = np.exp(2j * np.pi * self.POINTS * turns.swapaxes(-1, -2))  # [lines, taps, 8, sinusoids]

    def chunk(self, index: int) -> np.ndarray:
        """[lines, taps, 64] complex128: gains at points ``64 index .. 64 index + 63``; point p is at ``p * step_s``."""
        first = self._start * np.exp(2j * np.pi * (self._doppler * (index * self.CHUNK_POINTS * self.step_s)))
        anchors = first[..., None, :] * self._far
        return (anchors @ self._near).reshape(*first.shape[:2], self.CHUNK_POINTS)
