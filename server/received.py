"""What the receiver hands on: a frame, and what each user sent in it. Plain data."""

from __future__ import annotations

import msgspec
import numpy as np

from testbed.phy.header import Header


class UserFrame(msgspec.Struct, frozen=True):
    """What one user sent in a frame.

    Attributes
    ----------
    header : Header or None
        None if it failed its CRC: the symbols may still be those of a user, whose we cannot say of what.
    symbols : [data_elements] complex64
        Unbiased estimates of the transmitted symbols of unit power, in the order of `testbed.phy.frame.read_data`.
    no_eff : [data_elements] float32
        Variance of their errors: noise, the other users, and the error of the channel estimate.
    cfo_hz : float
        The user's offset from the receiver's oscillator.
    delay_samples : float
        Mean delay of the user's paths behind the frame's ``first_sample``.
    """

    user: int
    header: Header | None
    symbols: np.ndarray
    no_eff: np.ndarray
    cfo_hz: float
    delay_samples: float


class ReceivedFrame(msgspec.Struct, frozen=True):
    """One frame as all antennas heard it.

    Attributes
    ----------
    first_sample : int
        Position in the stream at which the preamble's prefix begins, to the nearest sample.
    timing_samples : float
        Delay behind ``first_sample`` of the middle between the first and the last arrival of any user.
    cfo_hz : float
        Offset common to the users, which was taken out of the samples.
    statistic : float
        Match of the preamble, 0..1.
    no : float
        Noise variance of a resource element, per antenna, in units of received samples squared.
    channel : [P, F, A, U] complex64
        Estimate at the pilot symbols, including the transmitters' amplitude.
    stage_s : dict
        Seconds spent in ``sync``, ``estimate``, ``detect`` and ``header``.
    """

    first_sample: int
    timing_samples: float
    cfo_hz: float
    statistic: float
    no: float
    users: list[UserFrame]
    channel: np.ndarray
    stage_s: dict[str, float]
