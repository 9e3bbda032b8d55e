"""Least-squares estimates at the pilots, and the estimator that only interpolates them linearly: the baseline."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from server.estimation._kernels import pilot_turn
from server.estimation.base import Assuming, Assumptions, ChannelEstimate
from testbed.errors import ShapeError
from testbed.phy.pilots import pilot_comb, pilot_values
from testbed.phy.waveform import Waveform

STRAIGHT_TURNS = 0.1  # of the fastest path between pilot symbols: bent by -30 dB, as LS errs at 25 dB SNR


def pilot_estimates(grid: np.ndarray, waveform: Waveform) -> np.ndarray:
    r"""Least-squares channel of each user at its own pilots.

    Model: on user u's comb :math:`y_a = \sqrt{U}\, p\, h_{a,u} + n`, because a pilot symbol's whole power lies on every
    U-th subcarrier; :math:`\hat{h} = y p^* / \sqrt{U}` has an error of variance :math:`N_0 / U`.

    Parameters
    ----------
    grid : [A, S, F] complex64
        Received body.
    waveform : Waveform

    Returns
    -------
    h_ls : [A, U, P, F / U] complex64
        P = pilot symbols, U = ``waveform.pilot_slots``; the last axis runs along ``pilot_comb(waveform, user)``.

    Raises
    ------
    ShapeError
        If the grid is not a body of this waveform.
    """
    expected = (waveform.body_symbols, waveform.occupied_subcarriers)
    if grid.ndim != 3 or grid.shape[1:] != expected:
        raise ShapeError(f"grid {grid.shape}: must be [A, S, F] with S, F = {expected}")
    matched = grid[:, waveform.pilot_symbols] * conjugate_pilots(waveform)
    slots = waveform.pilot_slots
    return np.stack([matched[:, :, pilot_comb(waveform, user)] for user in range(slots)], axis=1)


@lru_cache(maxsize=8)
def conjugate_pilots(waveform: Waveform) -> np.ndarray:
    """[P, F] complex64: what a received pilot is multiplied by."""
    return (pilot_values(waveform).conj() / np.sqrt(waveform.pilot_slots)).astype(np.complex64)


def user_cfo(h_pilots: np.ndarray, waveform: Waveform) -> np.ndarray:
    r"""Each user's frequency offset from the rotation between neighbouring pilot symbols.

    :math:`\hat{f}_u = \arg\left(\sum_{a,p,i} h^*_{a,u,p,i} h_{a,u,p+1,i}\right) / 2\pi T`, T from pilot to pilot;
    unambiguous within :math:`\pm 1 / 2T`. A fading channel gives the centre of its Doppler spectrum.

    Parameters
    ----------
    h_pilots : [A, U, P, ...] complex64
        Channel at the pilots, or any linear transform of its last axis.
    waveform : Waveform

    Returns
    -------
    cfo_hz : [U] float64
    """
    h_pilots = np.asarray(h_pilots, np.complex64)
    turn = pilot_turn(h_pilots.reshape(*h_pilots.shape[:3], -1))
    return np.angle(turn) / (2 * np.pi * pilot_period_s(waveform))


def pilot_period_s(waveform: Waveform) -> float:
    """Time from one pilot symbol to the next."""
    return waveform.pilot_spacing_symbols * waveform.symbol_samples / waveform.sample_rate_hz


def ls(grid: np.ndarray, waveform: Waveform) -> ChannelEstimate:
    r"""Least squares at the pilots, linear interpolation over frequency, then over time.

    The slope of the mean delay, half a prefix, and each user's own rotation are taken out before and put back behind.
    Outside the outermost pilots of its comb a user's nearest value holds. The noise is taken from second differences in
    time, :math:`h_{p-1} - 2h_p + h_{p+1}`, of variance :math:`6 N_0 / U`, which cancel a channel that changes linearly.
    The error reported is the pilots' noise times the interpolation's noise gain and, between pilots, 1/64 of the power
    of second differences in frequency, noise subtracted: the error of linear interpolation in the middle. It does not
    know the error at the band's edges: above 20 dB SNR the report is up to 3 dB too good.

    Parameters
    ----------
    grid : [A, S, F] complex64
        As `server.estimation.base.Estimator` takes it.
    waveform : Waveform

    Returns
    -------
    ChannelEstimate
    """
    carriers = waveform.subcarriers
    slope = np.exp(-1j * np.pi * carriers * waveform.cp_samples / waveform.fft_size).astype(np.complex64)
    h_ls = pilot_estimates(grid * slope.conj(), waveform)
    cfo_hz = user_cfo(h_ls, waveform)
    seconds = np.arange(waveform.body_symbols) * waveform.symbol_samples / waveform.sample_rate_hz
    rotation = np.exp(2j * np.pi * cfo_hz[:, None] * seconds).astype(np.complex64)  # [U, S]
    still = h_ls * rotation.conj()[:, waveform.pilot_symbols, None]
    noise = float(np.mean(np.abs(np.diff(still, 2, axis=2)) ** 2)) / 6
    bend = np.mean(np.abs(np.diff(still, 2, axis=3)) ** 2, axis=(0, 2, 3))
    bend = np.maximum(bend - 6 * noise, 0.0) / 64  # [U]
    over_time, over_frequency = interpolators(waveform)
    h = np.stack([over_time @ (still[:, u] @ over_frequency[u].T) for u in range(waveform.pilot_slots)], axis=1)
    h *= rotation[:, :, None] * slope
    gain = (over_time**2).sum(axis=1)[:, None, None] * (over_frequency**2).sum(axis=2).T
    between = np.stack([~np.isin(np.arange(len(carriers)), pilot_comb(waveform, u)) for u in range(len(bend))], axis=1)
    return ChannelEstimate(
        h_hat=np.moveaxis(h, (0, 1), (2, 3)),
        error_variance=(noise * gain + between * bend).astype(np.float32),
        no=noise * waveform.pilot_slots,
        user_cfo_hz=cfo_hz,
    )


def make_ls(waveform: Waveform, antennas: int) -> Assuming:
    """The estimator `ls`: it draws straight lines, so fading may turn by a tenth from one pilot symbol to the next.

    Parameters
    ----------
    waveform : Waveform
    antennas : int

    Returns
    -------
    Assuming
    """
    assumptions = Assumptions(doppler_hz=(0.0, STRAIGHT_TURNS / pilot_period_s(waveform)))
    return Assuming("ls", ls, assumptions, waveform, antennas)


@lru_cache(maxsize=8)
def interpolators(waveform: Waveform) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation as matrices: [S, P] over time, [U, F, F / U] over frequency, float32."""

    def matrix(at: np.ndarray, known: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(at, known, row) for row in np.eye(len(known))], axis=1).astype(np.float32)

    carriers = waveform.subcarriers
    slots = range(waveform.pilot_slots)
    over_frequency = np.stack([matrix(carriers, carriers[pilot_comb(waveform, user)]) for user in slots])
    return matrix(np.arange(waveform.body_symbols), waveform.pilot_symbols), over_frequency
