"""No fading: one static path of unit gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.channels.base import Place, TappedDelayLine


@dataclass(frozen=True)
class Awgn:
    r"""A cable: :math:`g_{au} = e^{-j 2\pi a u / A}` for antenna a of A and user u, without delay.

    The phases are those of a DFT matrix, so up to A users are orthogonal. Nothing is drawn.
    """

    name: str = "AWGN"
    fades: bool = False

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        """See `testbed.channels.base.ChannelModel.profile`."""
        return np.zeros(1), np.ones(1)

    def draw(self, delay_spread_s: float, doppler_hz: float, place: Place, rng: np.random.Generator) -> TappedDelayLine:
        """See `testbed.channels.base.ChannelModel.draw`; ``place`` alone decides."""
        phase = -2 * np.pi * place.antenna * place.user / place.antennas
        still = np.zeros((1, 1))
        return TappedDelayLine(np.zeros(1), np.ones(1), still, np.full((1, 1), phase), np.ones(1), 0.0)


MODELS = (Awgn(),)
