"""The constants of one medium: offsets, delays and noise, given by the scenario or drawn from the seed."""

from __future__ import annotations

import msgspec
import numpy as np

from testbed.air.impairments import KERNEL_HALF
from testbed.config import Air
from testbed.errors import ScenarioError
from testbed.phy.ofdm import tx_amplitude
from testbed.phy.waveform import Waveform
from testbed.units import db_to_power

MAX_COMMON_CFO_HZ = 25_000.0  # drawn within +- this: 10 ppm of 2.4 GHz, two oscillators of a few ppm each
MAX_USER_CFO_HZ = 100.0  # drawn within +- this, so two users differ by 200 Hz at most
MAX_DELAY_SAMPLES = 4096.0
OFFSETS = 0  # spawn key of the seed's stream


class Truth(msgspec.Struct, frozen=True):
    """What the medium does to the samples, users in the order of ``users``."""

    users: list[int]
    common_cfo_hz: float
    user_cfo_hz: list[float]
    user_delay_samples: list[float]  # without ``latency_samples``
    noise_variance: float  # per sample and antenna
    latency_samples: int  # constant, of the interpolation filters; added to every delay


def draw_truth(waveform: Waveform, air: Air, users: list[int], seed: int) -> Truth:
    """Offsets and delays: given ones as they are, the others drawn for each user number.

    Parameters
    ----------
    waveform : Waveform
    air : Air
        Its lists are indexed by user number.
    users : list of int
    seed : int

    Returns
    -------
    Truth

    Raises
    ------
    ScenarioError
        If a list lacks a user, or a delay is negative or beyond 4096 samples.
    """

    def drawn(key: int, low: float, high: float) -> float:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(OFFSETS, key)))
        return float(rng.uniform(low, high))

    def given(values: list[float] | None, key: str) -> dict[int, float]:
        if values is not None and max(users) >= len(values):
            raise ScenarioError(f"air.{key} = {values}: allowed: one value for each user up to {max(users)}")
        return dict(enumerate(values or []))

    cfo = given(air.user_cfo_hz, "user_cfo_hz")
    delay = given(air.user_delay_samples, "user_delay_samples")
    common = air.common_cfo_hz
    delays = [delay.get(u, drawn(2 + 2 * u, 0.0, waveform.cp_samples / 2)) for u in users]
    if not all(0 <= d <= MAX_DELAY_SAMPLES for d in delays):
        raise ScenarioError(f"air.user_delay_samples = {delays}: allowed: 0..{MAX_DELAY_SAMPLES:g}")
    return Truth(
        users=users,
        common_cfo_hz=drawn(0, -MAX_COMMON_CFO_HZ, MAX_COMMON_CFO_HZ) if common is None else common,
        user_cfo_hz=[cfo.get(u, drawn(1 + 2 * u, -MAX_USER_CFO_HZ, MAX_USER_CFO_HZ)) for u in users],
        user_delay_samples=delays,
        noise_variance=float(tx_amplitude(waveform) ** 2 / db_to_power(air.snr_db)),
        latency_samples=KERNEL_HALF,
    )
