"""Interference to expect from offsets and delays that orthogonality does not forgive: closed forms, in words."""

from __future__ import annotations

from collections import Counter

import numpy as np

from testbed.air.links import link_of
from testbed.air.truth import Truth
from testbed.channels.registry import find_channel
from testbed.config import Air
from testbed.phy.waveform import Waveform
from testbed.units import db_to_power, power_to_db

WARN_CFO_DIFFERENCE_HZ = 200.0


def cfo_warnings(truth: Truth, waveform: Waveform) -> list[str]:
    r"""What two users' carrier offsets cost that differ too much.

    Signal to inter-carrier interference of a user that is off by :math:`\epsilon` subcarriers, all of them occupied:
    :math:`\mathrm{sinc}^2 \epsilon / (1 - \mathrm{sinc}^2 \epsilon)`.

    Parameters
    ----------
    truth : Truth
    waveform : Waveform

    Returns
    -------
    list of str
        One line if the largest difference exceeds 200 Hz.

    References
    ----------
    T. Pollet, M. van Bladel, M. Moeneclaey, "BER sensitivity of OFDM systems to carrier frequency offset and Wiener
    phase noise", IEEE Trans. Commun. 43(2/3/4), 1995.
    """
    low, high = int(np.argmin(truth.user_cfo_hz)), int(np.argmax(truth.user_cfo_hz))
    difference = truth.user_cfo_hz[high] - truth.user_cfo_hz[low]
    if difference <= WARN_CFO_DIFFERENCE_HZ:
        return []
    kept = np.sinc(difference / waveform.spacing_hz) ** 2
    sir_db = power_to_db(kept / (1 - kept))
    return [
        f"users {truth.users[low]} and {truth.users[high]} differ by {difference:.0f} Hz "
        f"(limit {WARN_CFO_DIFFERENCE_HZ:.0f}): when one is corrected, "
        f"the other's signal to inter-carrier interference is {sir_db:.1f} dB"
    ]


def search_warnings(truth: Truth, max_cfo_hz: float) -> list[str]:
    """Carrier offsets that the receiver does not look for.

    Parameters
    ----------
    truth : Truth
    max_cfo_hz : float
        Of the receiver's search.

    Returns
    -------
    list of str
        One line for each user beyond.
    """
    offsets_hz = [truth.common_cfo_hz + own for own in truth.user_cfo_hz]
    beyond = [(user, hz) for user, hz in zip(truth.users, offsets_hz, strict=True) if abs(hz) > max_cfo_hz]
    return [
        f"user {user} is {hz:+.0f} Hz off, beyond server.max_cfo_hz = {max_cfo_hz:.0f}: its frames may not be found"
        for user, hz in beyond
    ]


def delay_warnings(truth: Truth, waveform: Waveform, air: Air, antennas: int) -> list[str]:
    r"""What paths outside the FFT window's prefix cost, if they cost anything.

    A path that begins :math:`e` samples outside the prefix keeps :math:`(1 - e/N)^2` of its power as signal; the rest
    is interference between symbols and carriers. The middle between the first and the last path of at least 1 % of a
    user's power is taken to lie in the middle of the prefix, as `testbed.phy.fine_sync` puts it. Exact for a full band;
    empty carriers at its edges take up to 1.5 dB of the interference away.

    Parameters
    ----------
    truth : Truth
    waveform : Waveform
    air : Air
    antennas : int
        Of the receiver; where a user's links to them differ, their paths' powers are averaged.

    Returns
    -------
    list of str
        One line for each user whose delay and delay spread exceed half the prefix.
    """
    half = waveform.cp_samples / 2
    paths = [_paths(air, user, antennas, waveform.sample_rate_hz) for user in truth.users]
    spreads = [rms(taps, powers / powers.sum()) for taps, powers in paths]
    late = [i for i, d in enumerate(truth.user_delay_samples) if d + spreads[i] > half]
    arrivals = [d + taps for d, (taps, _) in zip(truth.user_delay_samples, paths, strict=True)]
    strong = np.concatenate([at[p >= 0.01 * p.sum()] for at, (_, p) in zip(arrivals, paths, strict=True)])
    middle = (strong.min() + strong.max()) / 2
    lost = 0.0
    for at, (_, powers) in zip(arrivals, paths, strict=True):
        excess = np.maximum(np.abs(at - middle) - half, 0.0)
        lost += float((powers * (1 - np.clip(1 - excess / waveform.fft_size, 0, 1) ** 2)).sum())
    if lost == 0:
        return []
    return [
        f"user {truth.users[i]}: delay {truth.user_delay_samples[i]:.1f} + delay spread {spreads[i]:.1f} samples "
        f"exceeds half the prefix ({half:g}): interference between symbols and carriers from all users together: "
        f"{-power_to_db(lost):.1f} dB below a user's signal"
        for i in late
    ]


def _paths(air: Air, user: int, antennas: int, sample_rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Delays in samples and mean powers of a user's paths, over all antennas."""
    taps, powers = [], []
    for link, times in Counter(link_of(air, user, antenna) for antenna in range(antennas)).items():
        delays, shares = find_channel(link.channel).profile()
        taps.append(delays * link.delay_spread_s * sample_rate_hz)
        powers.append(shares * db_to_power(link.gain_db) * (times / antennas))
    return np.concatenate(taps), np.concatenate(powers)


def rms(taps: np.ndarray, powers: np.ndarray) -> float:
    r"""Rms spread :math:`\sqrt{\sum p \tau^2 - (\sum p \tau)^2}`.

    Parameters
    ----------
    taps : [n] float64
        In any unit.
    powers : [n] float64
        Sum to 1.

    Returns
    -------
    float
        In the unit of ``taps``.
    """
    return float(np.sqrt(max(powers @ taps**2 - (powers @ taps) ** 2, 0.0)))
