"""The tapped delay lines TDL-A to TDL-E of 3GPP TR 38.901: Rayleigh taps, behind a line of sight in TDL-D and TDL-E."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.channels.base import Place, TappedDelayLine
from testbed.units import db_to_power

SINUSOIDS = 32  # per tap; the fourth moment is then 2 - 1/32, where Rayleigh fading has 2
LOS_DOPPLER = 0.7  # f_S / f_D of the line of sight, TR 38.901 V17.0.0, 7.7.2

# Normalised delay and power in dB of each tap: TR 38.901 V17.0.0, tables 7.7.2-1 to 7.7.2-5. All are Rayleigh but the
# first of TDL-D and TDL-E, which are the line of sight; with the second, of the same delay, it makes the tables' Rician
# first tap of 0 dB, K = 13.3 dB and 22 dB.
TABLES: dict[str, tuple[tuple[float, float], ...]] = {
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
    "TDL-D": (
        (0.0000, -0.2), (0.0000, -13.5), (0.0350, -18.8), (0.6120, -21.0), (1.3630, -22.8), (1.4050, -17.9),
        (1.8040, -20.1), (2.5960, -21.9), (1.7750, -22.9), (4.0420, -27.8), (7.9370, -23.6), (9.4240, -24.8),
        (9.7080, -30.0), (12.5250, -27.7),
    ),
    "TDL-E": (
        (0.0000, -0.03), (0.0000, -22.03), (0.5133, -15.8), (0.5440, -18.1), (0.5630, -19.8), (0.5440, -22.9),
        (0.7112, -22.4), (1.9092, -18.6), (1.9293, -20.8), (1.9589, -22.6), (2.6426, -22.3), (3.7136, -25.6),
        (5.4524, -20.2), (12.0034, -29.8), (20.6519, -29.2),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Tdl:
    r"""A tapped delay line: Rayleigh taps as sums of sinusoids, and a line of sight where the table has one.

    .. math::
        g_l(t) = \sqrt{p_l / M} \sum_{m=0}^{M-1} \exp\{j (2\pi f_d \cos\theta_{lm} t + \varphi_{lm})\}, \quad
        g_\mathrm{LOS}(t) = \sqrt{p_\mathrm{LOS}} \exp\{j (2\pi \, 0.7 f_d \, t + \varphi)\}

    with :math:`\theta_{lm} = (2\pi m + u_{lm}) / M`, :math:`u` and :math:`\varphi` uniform on :math:`[-\pi, \pi)`.
    Over realisations :math:`E|g_l|^2 = p_l`, :math:`\sum p_l = 1` and
    :math:`E[g_l(t+\tau) g_l^*(t)] = p_l J_0(2\pi f_d \tau)`. Antennas and users are independent, the phase of the line
    of sight among them: the tables say nothing of angles.

    Parameters
    ----------
    name : str
        A key of ``TABLES``.
    line_of_sight : bool
        Whether the first entry of the table is one.

    References
    ----------
    3GPP TR 38.901 V17.0.0, 7.7.2 (profiles) and 7.7.3 (scaling of delays).

    C. Xiao, Y. R. Zheng, N. C. Beaulieu, "Novel sum-of-sinusoids simulation models for Rayleigh and Rician fading
    channels", IEEE Trans. Wireless Commun. 5(12), 2006, eq. 4.
    """

    name: str
    line_of_sight: bool = False
    fades: bool = True

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        """See `testbed.channels.base.ChannelModel.profile`."""
        delays, powers_db = np.array(TABLES[self.name]).T
        powers = db_to_power(powers_db)
        return delays, powers / powers.sum()

    def draw(self, delay_spread_s: float, doppler_hz: float, place: Place, rng: np.random.Generator) -> TappedDelayLine:
        """See `testbed.channels.base.ChannelModel.draw`; ``place`` changes nothing."""
        delays, powers = self.profile()
        spread = rng.uniform(-np.pi, np.pi, (len(delays), SINUSOIDS))
        angles = (2 * np.pi * np.arange(SINUSOIDS) + spread) / SINUSOIDS
        shifts_hz = doppler_hz * np.cos(angles)
        phases = rng.uniform(-np.pi, np.pi, (len(delays), SINUSOIDS))
        amplitudes = np.sqrt(powers / SINUSOIDS)
        if self.line_of_sight:  # its sinusoids are all the same, so that they add up to one
            shifts_hz[0] = LOS_DOPPLER * doppler_hz
            phases[0] = phases[0, 0]
            amplitudes[0] = np.sqrt(powers[0]) / SINUSOIDS
        return TappedDelayLine(delays * delay_spread_s, amplitudes, shifts_hz, phases, powers, doppler_hz)


MODELS = (Tdl("TDL-A"), Tdl("TDL-B"), Tdl("TDL-C"), Tdl("TDL-D", line_of_sight=True), Tdl("TDL-E", line_of_sight=True))
