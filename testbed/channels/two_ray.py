"""Two rays of equal power: the channel whose response everybody can write down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.channels.base import Place, TappedDelayLine


@dataclass(frozen=True)
class TwoRay:
    r"""A ray from ahead and one from behind, of equal and constant power, two rms delay spreads apart.

    .. math::
        h(t, f) &= \sqrt{1/2} \left( e^{j (2\pi f_d t + \varphi_0)}
            + e^{j (-2\pi f_d t + \varphi_1)} e^{-j 2\pi f \tau} \right), \quad \tau = 2 \sigma_\tau \\
        |h(t, f)|^2 &= 1 + \cos(4\pi f_d t + 2\pi f \tau + \varphi_0 - \varphi_1)

    The phases are uniform and independent for each antenna and user. Every :math:`1/\tau` in frequency there is a
    null, which moves by :math:`-2 f_d / \tau` in a second.

    References
    ----------
    T. S. Rappaport, *Wireless Communications: Principles and Practice*, 2nd ed., 2002, 4.6 and 5.2.
    """

    name: str = "two-ray"
    fades: bool = True

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        """See `testbed.channels.base.ChannelModel.profile`."""
        return np.array([0.0, 2.0]), np.array([0.5, 0.5])

    def draw(self, delay_spread_s: float, doppler_hz: float, place: Place, rng: np.random.Generator) -> TappedDelayLine:
        """See `testbed.channels.base.ChannelModel.draw`; ``place`` changes nothing."""
        delays, powers = self.profile()
        shifts_hz = np.array([[doppler_hz], [-doppler_hz]])
        phases = rng.uniform(-np.pi, np.pi, (2, 1))
        return TappedDelayLine(delays * delay_spread_s, np.sqrt(powers), shifts_hz, phases, powers, doppler_hz)


MODELS = (TwoRay(),)
