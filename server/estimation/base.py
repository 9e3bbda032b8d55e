"""What a channel estimator returns, whatever its method."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from testbed.phy.waveform import Waveform


class ChannelEstimate(msgspec.Struct, frozen=True):
    """The channel of every pilot slot on every resource element of a frame's body, and how well it is known.

    Attributes
    ----------
    h_hat : [S, F, A, U] complex64
        In units of the received grid: transmitted symbols have unit power, so it holds the transmitter's amplitude and
        each user's rotation. A view of [A, U, S, F], which `server.detection` takes without a copy.
    error_variance : [S, F, U] float32
        :math:`E|h - \\hat{h}|^2` of one antenna.
    no : float
        Noise variance of a received resource element, per antenna.
    user_cfo_hz : [U] float64
        Offset of each user that is left in the grid.
    """

    h_hat: np.ndarray
    error_variance: np.ndarray
    no: float
    user_cfo_hz: np.ndarray


Estimator = Callable[[np.ndarray, Waveform], ChannelEstimate]
