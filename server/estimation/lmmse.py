"""Linear MMSE channel estimation over time and frequency at once, under the likeliest of a set of priors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from server.estimation._kernels import likeliest
from server.estimation.base import LINE_OF_SIGHT, Assuming, Assumptions, ChannelEstimate, most_pilot_slots
from server.estimation.ls import pilot_estimates, user_cfo
from server.estimation.priors import (
    comb_bases,
    delay_priors,
    delay_window,
    shift_of,
    time_priors,
    uniform_delays,
    widest_doppler_hz,
)
from server.estimation.subspaces import prefix_window, symbol_seconds
from testbed.phy.waveform import Waveform

LEAST_SHRINK = 1e-3  # coefficients of which less than this is kept are left out, and their prior power with them


def lmmse(grid: np.ndarray, waveform: Waveform) -> ChannelEstimate:
    r"""Wiener estimate of every user's channel from all its pilots of a frame.

    Each user has a prior of its own, after its frequency offset is removed: power :math:`p`, a Doppler profile
    (:math:`R_t`) and a delay profile (:math:`R_f`) out of `priors.time_priors` and `priors.delay_priors`. With
    :math:`R_t = V_t \Lambda_t V_t^H` and :math:`R_f = V_f \Lambda_f V_f^H` at the pilots, :math:`K_t` and :math:`K_f`
    the correlations of all points with these bases and :math:`Y = V_t^H h_{LS} V_f^*`,

    .. math:: \hat{h} = \sum_{ij} K_{t,i} K_{f,j}\,
        \frac{Y_{ij}}{\lambda_{t,i}\lambda_{f,j} + N_0 / (U p)}, \qquad
        \epsilon = p \left(1 - \sum_{ij} \frac{|K_{t,i}|^2 |K_{f,j}|^2}
        {\lambda_{t,i}\lambda_{f,j} + N_0 / (U p)}\right).

    This is the exact two-dimensional filter: the noise enters as a scalar, so nothing is inverted in a frame. The noise
    is what lies outside the product of the subspaces that hold all profiles, the powers what lies inside. The profiles
    are those under which the pilots of all antennas A are likeliest, first the Doppler profile, for delays uniform over
    all that the receiver allows, then the delay profile around the pilots' mean delay:

    .. math:: \max \; -\sum_{ij} \left( A \ln(1 + \rho \lambda_{t,i} \lambda_{f,j})
        + \frac{\sum_a |Y_{aij}|^2 U / N_0}{1 + \rho \lambda_{t,i} \lambda_{f,j}} \right), \quad \rho = U p / N_0.

    Parameters
    ----------
    grid : [A, S, F] complex64
        Received body, common frequency offset removed, FFT windows placed so that all paths fall in the prefix.
    waveform : Waveform

    Returns
    -------
    ChannelEstimate
        A user that is not there gets a channel near or equal to zero.

    Raises
    ------
    ShapeError
        If the grid is not a body of this waveform.

    References
    ----------
    O. Edfors et al., "OFDM channel estimation by singular value decomposition", IEEE Trans. Commun. 46(7), 1998, eq. 9;
    Y. Li, L. J. Cimini, N. R. Sollenberger, "Robust channel estimation for OFDM systems with rapid dispersive fading
    channels", IEEE Trans. Commun. 46(7), 1998; C. E. Rasmussen, C. K. I. Williams, *Gaussian Processes for Machine
    Learning*, 2006, 5.4.1 (choice of a prior by its likelihood).
    """
    h_ls = pilot_estimates(grid, waveform)
    antennas, slots, pilots, comb = h_ls.shape
    in_time, in_frequency = time_priors(waveform), comb_bases(waveform)
    energy = float(np.vdot(h_ls, h_ls).real)
    taps = h_ls @ in_frequency  # [A, U, P, J]
    cfo_hz = user_cfo(taps, waveform)
    seconds = symbol_seconds(waveform)
    rotation = np.exp(2j * np.pi * cfo_hz[:, None] * seconds)  # [U, S]
    still = in_time.v * rotation[:, waveform.pilot_symbols, None].conj()  # [U, P, I]
    c = np.swapaxes(still, -1, -2).astype(np.complex64) @ taps  # [A, U, I, J]

    inside = np.sum(c.real**2 + c.imag**2, axis=(0, 2, 3), dtype=np.float64)  # [U]
    unknowns = antennas * c.shape[-2] * c.shape[-1]
    noise = max(energy - float(inside.sum()), 1e-7 * energy) / max(h_ls.size - slots * unknowns, 1)
    power = np.maximum(inside - unknowns * noise, 0.0) / (antennas * pilots * comb)  # [U]

    h = np.empty((antennas, slots, waveform.body_symbols, waveform.occupied_subcarriers), np.complex64)
    error = np.empty((slots, waveform.body_symbols, waveform.occupied_subcarriers), np.float32)
    for user in range(slots):
        seen = Seen(c[:, user], noise, 1 / ratio(noise, power[user]))
        under_likeliest(seen, user, rotation[user], waveform, h[:, user], error[user])
    error = np.maximum(1 - error, np.float32(0)) * power[:, None, None].astype(np.float32)
    return ChannelEstimate(
        h_hat=np.moveaxis(h, (0, 1), (2, 3)),
        error_variance=np.moveaxis(error, 0, -1),
        no=noise * slots,
        user_cfo_hz=cfo_hz,
    )


def make_lmmse(waveform: Waveform, antennas: int) -> Assuming:
    """The estimator `lmmse`, good within its widest Doppler profile while combs tell all delays of the prefix apart.

    Parameters
    ----------
    waveform : Waveform
    antennas : int

    Returns
    -------
    Assuming
    """
    assumptions = Assumptions(
        doppler_hz=(0.0, round(widest_doppler_hz(waveform) / LINE_OF_SIGHT)),
        pilot_slots=(1, most_pilot_slots(waveform, np.ptp(prefix_window(waveform)))),
    )
    return Assuming("lmmse", lmmse, assumptions, waveform, antennas, advice="expect more error than it reports")


class Seen(NamedTuple):
    """What the pilots say of one user."""

    c: np.ndarray  # [A, I, J] complex64: coefficients in the bases of all times' and delays' priors
    noise: float  # variance of each
    rho: float  # power over it


def under_likeliest(
    seen: Seen, user: int, rotation: np.ndarray, waveform: Waveform, h: np.ndarray, known: np.ndarray
) -> None:
    """One user's channel under the likeliest of the priors.

    Parameters
    ----------
    seen : Seen
        What was observed of the user.
    user : int
    rotation : [S] complex
        Its frequency offset, symbol by symbol.
    waveform : Waveform
    h : [A, S, F] complex64
        Written.
    known : [S, F] float32
        Written: which share of its power is known.
    """
    in_time, uniform = time_priors(waveform), uniform_delays(waveform, user)
    antennas, rank, size = seen.c.shape
    count = len(in_time.values)

    rows = np.ascontiguousarray(np.swapaxes(seen.c, 0, 1)).reshape(rank, -1)
    turned = in_time.analysis @ rows.view(np.float32)  # [N I, 2 A J]
    y = turned.view(np.complex64).reshape(count, rank, antennas, size)
    n = likeliest(y, in_time.values, uniform.values[None].repeat(count, axis=0), seen.rho, seen.noise)

    above = in_time.values[n] * uniform.values[0] * seen.rho
    kept = max(int(np.count_nonzero(above > LEAST_SHRINK)), 1)
    value, base = in_time.values[n, :kept], in_time.bases[n, :, :kept]
    d = base.T @ seen.c  # [A, I, J]
    gain = (above[:kept] / (1 + above[:kept])).astype(np.float32)
    unheard = antennas * seen.noise * float(np.vdot(gain, gain)) * np.trace(uniform.turn)
    delay = mean_delay(d * gain[:, None], uniform.turn, unheard, waveform)
    in_delay = delay_priors(waveform, user, shift_of(delay, waveform))
    profiles = len(in_delay.values)
    beams = (d.reshape(antennas * kept, size) @ in_delay.analysis).reshape(antennas, kept, profiles, size)
    y = np.ascontiguousarray(beams.transpose(2, 1, 0, 3))
    q = likeliest(y, value[None].repeat(profiles, axis=0), in_delay.values, seen.rho, seen.noise)

    shrink = (1 / (value[:, None] * in_delay.values[q] + 1 / seen.rho)).astype(np.float32)  # [I, J]
    k_time = (in_time.points[n, :, :kept] * rotation[:, None]).astype(np.complex64)
    np.matmul(k_time, (beams[:, :, q] * shrink) @ in_delay.points[q], out=h)
    np.matmul(in_time.power[n, :, :kept], shrink @ in_delay.power[q], out=known)


def mean_delay(c: np.ndarray, turn: np.ndarray, of_noise: complex, waveform: Waveform) -> float:
    r"""A user's mean delay, from the turn of phase between neighbouring pilots of its comb.

    .. math:: d = -\frac{N}{2\pi U} \arg \Bigl(\sum_{r,k} h^*_{rk} h_{r,k+1} - \epsilon\Bigr)

    Parameters
    ----------
    c : [..., J] complex64
        Coefficients of h in the user's basis, see `priors.comb_bases`.
    turn : [J, J] complex64
        As `priors.UniformDelays` has it.
    of_noise : complex
        :math:`\epsilon`, the mean of what noise adds to the sum: left in, it draws the delay to the window's middle.
    waveform : Waveform

    Returns
    -------
    float
        In samples, within one period of the comb, N / U, around the middle of `priors.delay_window`.
    """
    rows = c.reshape(-1, c.shape[-1])
    period = waveform.fft_size / waveform.pilot_slots
    middle = sum(delay_window(waveform)) / 2
    delay = -float(np.angle(np.vdot(rows, rows @ turn) - of_noise)) / (2 * np.pi) * period
    return middle + (delay - middle + period / 2) % period - period / 2


def ratio(noise: float, power: float) -> float:
    """Noise over power, so large for an absent user that nothing of it is left.

    Parameters
    ----------
    noise, power : float
        Variances, linear.

    Returns
    -------
    float
    """
    return noise / max(power, 1e-12 * noise + 1e-30) + 1e-9
