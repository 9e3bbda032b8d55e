"""Interference to expect from offsets and delays that orthogonality does not forgive: closed forms, in words."""

from __future__ import annotations

import numpy as np

from testbed.air.fading import power_delay_profile
from testbed.air.truth import Truth
from testbed.config import Air
from testbed.phy.waveform import Waveform
from testbed.units import power_to_db

WARN_CFO_DIFFERENCE_HZ = 200.0


def cfo_warnings(truth: Truth, waveform: Waveform) -> list[str]:
    r"""Signal to inter-carrier interference of a user that is off by :math:`\epsilon` subcarriers:
    :math:`\mathrm{sinc}^2 \epsilon / (1 - \mathrm{sinc}^2 \epsilon)`, all subcarriers occupied."""
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
    """Carrier offsets that the receiver was told not to look for."""
    offsets_hz = [truth.common_cfo_hz + own for own in truth.user_cfo_hz]
    beyond = [(user, hz) for user, hz in zip(truth.users, offsets_hz, strict=True) if abs(hz) > max_cfo_hz]
    return [
        f"user {user} is {hz:+.0f} Hz off, beyond server.max_cfo_hz = {max_cfo_hz:.0f}: its frames may not be found"
        for user, hz in beyond
    ]


def delay_warnings(truth: Truth, waveform: Waveform, air: Air) -> list[str]:
    r"""A path that begins :math:`e` samples outside the FFT window's prefix keeps :math:`(1 - e/N)^2` of its power as
    signal; the rest is interference between symbols and carriers. The middle between the first and the last path of at
    least 1 % of a user's power is taken to lie in the middle of the prefix, as `testbed.phy.fine_sync` puts it. Exact
    for a full band; empty carriers at its edges take up to 1.5 dB of the interference away."""
    taps, powers = power_delay_profile(air.channel)
    taps = taps * air.delay_spread_s * waveform.sample_rate_hz
    spread = float(np.sqrt(powers @ taps**2 - (powers @ taps) ** 2))
    half = waveform.cp_samples / 2
    late = [i for i, d in enumerate(truth.user_delay_samples) if d + spread > half]
    if not late:
        return []
    paths = np.array(truth.user_delay_samples)[:, None] + taps
    strong = paths[:, powers >= 0.01]
    excess = np.maximum(np.abs(paths - (strong.min() + strong.max()) / 2) - half, 0.0)
    lost = (powers * (1 - np.clip(1 - excess / waveform.fft_size, 0, 1) ** 2)).sum(axis=1)
    expected = f"{-power_to_db(lost.sum()):.1f} dB below a user's signal" if lost.sum() > 0 else "none"
    return [
        f"user {truth.users[i]}: delay {truth.user_delay_samples[i]:.1f} + delay spread {spread:.1f} samples exceeds "
        f"half the prefix ({half:g}): interference between symbols and carriers from all users together: {expected}"
        for i in late
    ]
