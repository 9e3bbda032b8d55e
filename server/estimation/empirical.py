"""Linear MMSE estimation with statistics estimated from the very frame that they serve: the classical reference."""

from __future__ import annotations

import numpy as np

from server.estimation.base import LINE_OF_SIGHT, Assuming, Assumptions, ChannelEstimate, most_pilot_slots
from server.estimation.profiles import Grid, Observation, grid_of, growth, observe, wiener
from server.estimation.subspaces import prefix_window
from testbed.phy.waveform import Waveform

ITERATIONS = 16  # of 4, 8, 16 and 32 the one with the lowest NMSE
LEAST = 1e-2  # of the noise inside the subspaces: where the profile of a user begins who seems to be absent


def lmmse_estimated(grid: np.ndarray, waveform: Waveform) -> ChannelEstimate:
    """LMMSE under maximum-likelihood profiles of delay and Doppler, see `estimate_profiles`.

    The error that it reports takes the estimated profiles for true, so it is too good by what their own error costs.

    Parameters
    ----------
    grid : [A, S, F] complex64
        As `server.estimation.base.Estimator` takes it.
    waveform : Waveform

    Returns
    -------
    ChannelEstimate
    """
    seen = observe(grid, waveform)
    axes = grid_of(waveform)
    power, share = estimate_profiles(seen, axes)
    return wiener(seen, waveform, axes.delay, power, axes.doppler, share)


def make_lmmse_estimated(waveform: Waveform, antennas: int) -> Assuming:
    """The estimator `lmmse_estimated`, good within the grid on which it states profiles.

    Parameters
    ----------
    waveform : Waveform
    antennas : int

    Returns
    -------
    Assuming
    """
    assumptions = Assumptions(
        doppler_hz=(0.0, round(float(grid_of(waveform).dopplers_hz[-1]) / LINE_OF_SIGHT)),
        pilot_slots=(1, most_pilot_slots(waveform, np.ptp(prefix_window(waveform)))),
    )
    return Assuming("lmmse-estimated", lmmse_estimated, assumptions, waveform, antennas)


def estimate_profiles(seen: Observation, axes: Grid, iterations: int = ITERATIONS) -> tuple[np.ndarray, np.ndarray]:
    """Delay and Doppler profiles of each user by some steps towards maximum likelihood, all antennas together.

    Both start flat, the power where the frame's energy puts it, and are multiplied by `profiles.growth`.

    Parameters
    ----------
    seen : Observation
    axes : Grid
        The bins of both profiles.
    iterations : int

    Returns
    -------
    delay_power : [U, M] float64
    doppler_share : [U, D] float64
        As `server.estimation.profiles.wiener` takes them.
    """
    users, rank_t, rank_f = seen.c.shape[1:]
    energy = np.mean(np.abs(seen.c) ** 2, axis=0).sum(axis=(-2, -1))  # [U]
    gain = np.sum(np.abs(axes.doppler.pilots) ** 2, axis=-2).mean() * np.sum(np.abs(axes.delay.pilots) ** 2, -2).mean()
    power = np.maximum(energy - rank_t * rank_f, LEAST * rank_t * rank_f) / gain
    delay = np.repeat(power[:, None], len(axes.delays), axis=1) / len(axes.delays)
    share = np.full((users, len(axes.dopplers_hz)), 1 / len(axes.dopplers_hz))
    for _ in range(iterations):
        of_delay, of_doppler = growth(seen.c, axes.delay, delay, axes.doppler, share)
        delay, share = delay * of_delay, share * of_doppler
        share /= share.sum(axis=-1, keepdims=True)
    return delay, share
