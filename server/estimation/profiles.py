"""Wiener estimation under any delay and Doppler profile, which others find: what all that find one share."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from server.estimation.base import ChannelEstimate
from server.estimation.ls import pilot_estimates, user_cfo
from server.estimation.subspaces import DELAY_MARGIN_SAMPLES, delay_bases, prefix_window, subspace, symbol_seconds
from testbed.phy.pilots import pilot_comb
from testbed.phy.waveform import Waveform

DELAYS_PER_RESOLUTION = 3.5  # bins of the delay grid in 1 / bandwidth: half a sample in both profiles
DOPPLERS_PER_RESOLUTION = 4.0  # bins of the Doppler grid in 1 / duration of the body: 34 Hz
QUOTIENT_FLOOR = 1e-9  # of energies in units of the noise: nothing found where nothing is expected is a quotient of 1
DOPPLER_BINS = 11  # up to +-168 Hz: fading up to 100 Hz around a centre that one frame shows only roughly


class Axis(msgspec.Struct, frozen=True):
    """Steering vectors of a grid of delays (or Doppler shifts): at the pilots, in their subspace, and everywhere."""

    pilots: np.ndarray  # [U or 1, rank, bins] complex128
    points: np.ndarray  # [U or 1, S or F, bins] complex128


class Grid(msgspec.Struct, frozen=True):
    """Subspaces that hold all channels of a waveform, and the grid on which profiles are stated."""

    v_time: np.ndarray  # [P, I] float32, orthonormal
    v_frequency: np.ndarray  # [U, F / U, J] complex64: conjugate, so that taps = h_ls @ v
    delays: np.ndarray  # [M] float64, samples behind the FFT window's earliest path
    dopplers_hz: np.ndarray  # [D] float64
    delay: Axis
    doppler: Axis


class Observation(msgspec.Struct, frozen=True):
    """What the pilots of a frame say, each user's own frequency offset removed: all an estimator needs.

    Attributes
    ----------
    c : [A, U, I, J] complex128
        Least-squares estimates in the subspaces of `Grid`, over the noise's standard deviation: the error of each
        coefficient is white and of unit variance.
    noise : float
        Variance of a least-squares estimate at one pilot, N0 / U.
    user_cfo_hz : [U] float64
    """

    c: np.ndarray
    noise: float
    user_cfo_hz: np.ndarray


@lru_cache(maxsize=8)
def grid_of(waveform: Waveform) -> Grid:
    """The grid of a waveform; computed once."""
    step = waveform.fft_size / waveform.occupied_subcarriers / DELAYS_PER_RESOLUTION
    half = int(np.ceil((waveform.cp_samples / 2 + DELAY_MARGIN_SAMPLES) / step))
    delays = waveform.cp_samples / 2 + step * np.arange(-half, half + 1)
    duration_s = waveform.body_symbols * waveform.symbol_samples / waveform.sample_rate_hz
    dopplers_hz = (np.arange(DOPPLER_BINS) - DOPPLER_BINS // 2) / (DOPPLERS_PER_RESOLUTION * duration_s)
    at_pilots = symbol_seconds(waveform)[waveform.pilot_symbols]
    v_time, _ = subspace(np.sinc(2 * dopplers_hz[-1] * (at_pilots[:, None] - at_pilots)))
    combs = [waveform.subcarriers[pilot_comb(waveform, user)] for user in range(waveform.pilot_slots)]
    v_frequency = delay_bases(waveform, combs, prefix_window(waveform))
    return Grid(
        v_time=v_time.astype(np.float32),
        v_frequency=v_frequency.astype(np.complex64),
        delays=delays,
        dopplers_hz=dopplers_hz,
        delay=delay_axis(waveform, v_frequency, delays),
        doppler=doppler_axis(waveform, v_time, dopplers_hz),
    )


def delay_axis(waveform: Waveform, v_frequency: np.ndarray, delays: np.ndarray) -> Axis:
    r"""Steering over subcarriers, :math:`e^{-j 2\pi k \tau / N}`.

    Parameters
    ----------
    waveform : Waveform
    v_frequency : [U, comb, J] complex
        Basis of each user's subspace over its comb.
    delays : [M] float64
        In samples.

    Returns
    -------
    Axis
    """
    points = np.exp(-2j * np.pi / waveform.fft_size * np.outer(waveform.subcarriers, delays))
    combs = np.stack([points[pilot_comb(waveform, user)] for user in range(waveform.pilot_slots)])
    return Axis(pilots=v_frequency.swapaxes(1, 2) @ combs, points=points[None])


def doppler_axis(waveform: Waveform, v_time: np.ndarray, dopplers_hz: np.ndarray) -> Axis:
    r"""Steering over symbols, :math:`e^{j 2\pi f t}`.

    Parameters
    ----------
    waveform : Waveform
    v_time : [P, I] float64
        Basis of the subspace over pilot symbols.
    dopplers_hz : [D] float64

    Returns
    -------
    Axis
    """
    points = np.exp(2j * np.pi * np.outer(symbol_seconds(waveform), dopplers_hz))
    return Axis(pilots=(v_time.T @ points[waveform.pilot_symbols])[None], points=points[None])


def pilot_gain(waveform: Waveform) -> float:
    """Pilots of one user in a frame: by so much a path stands out of the noise."""
    return len(waveform.pilot_symbols) * waveform.occupied_subcarriers / waveform.pilot_slots


def observe(grid: np.ndarray, waveform: Waveform, bases: tuple[np.ndarray, np.ndarray] | None = None) -> Observation:
    """Least squares at the pilots, each user's offset removed, in the subspaces.

    The noise is what lies outside the product of both subspaces. Without any (silence), ``c`` is zero.

    Parameters
    ----------
    grid : [A, S, F] complex64
        Received body, as `lmmse.lmmse` takes it.
    waveform : Waveform
    bases : ([P, I] float, [U, F / U, J] complex), optional
        Subspaces over time and over each comb, the latter conjugate; those of `grid_of` if left out.

    Returns
    -------
    Observation

    Raises
    ------
    ShapeError
        If the grid is not a body of this waveform.
    """
    axes = grid_of(waveform)
    v_time, v_frequency = (axes.v_time, axes.v_frequency) if bases is None else bases
    h_ls = pilot_estimates(grid, waveform)
    antennas, slots, pilots, comb = h_ls.shape
    energy = float(np.vdot(h_ls, h_ls).real)
    taps = h_ls @ v_frequency  # [A, U, P, J]
    cfo_hz = user_cfo(taps, waveform)
    at_pilots = symbol_seconds(waveform)[waveform.pilot_symbols]
    still = v_time * np.exp(-2j * np.pi * cfo_hz[:, None] * at_pilots)[..., None]  # [U, P, I]
    c = np.swapaxes(still, -1, -2) @ taps
    inside = float(np.vdot(c, c).real)
    freedom = antennas * (slots * pilots * comb - slots * c.shape[-2] * c.shape[-1])
    noise = max(energy - inside, 1e-7 * energy) / max(freedom, 1)
    return Observation(c=c / np.sqrt(noise) if noise > 0 else np.zeros_like(c), noise=noise, user_cfo_hz=cfo_hz)


def wiener(
    seen: Observation,
    waveform: Waveform,
    delay: Axis,
    delay_power: np.ndarray,
    doppler: Axis,
    doppler_share: np.ndarray,
    inflation: np.ndarray | float = 1.0,
) -> ChannelEstimate:
    r"""Linear MMSE estimate under a delay profile :math:`p` and a Doppler profile :math:`d` of each user.

    With steering vectors :math:`f_m` over frequency and :math:`t_n` over time, :math:`R_f = \sum_m p_m f_m f_m^H`,
    :math:`R_t = \sum_n d_n t_n t_n^H` and the correlations :math:`K_f, K_t` of all points with the coefficients C,

    .. math:: \hat h = K_t \,\mathrm{mat}\{(R_t \otimes R_f + I)^{-1} \mathrm{vec}(C)\}\, K_f^T,

    by the eigenvalues of both, so that nothing larger than a subspace is factored.

    Parameters
    ----------
    seen : Observation
    waveform : Waveform
    delay, doppler : Axis
        Steering of the profiles' bins.
    delay_power : [U, M] float
        Over the noise of one pilot; not negative.
    doppler_share : [U, D] float
        Sums to 1 for each user.
    inflation : [U] float
        By what the profiles' own uncertainty raises the error that follows from them.

    Returns
    -------
    ChannelEstimate
    """
    value_t, base_t, weighted_t = eigen(doppler, doppler_share)
    value_f, base_f, weighted_f = eigen(delay, delay_power)
    k_t, k_f = doppler.points @ weighted_t, delay.points @ weighted_f  # [U, points, rank]
    shrink = 1 / (value_t[:, :, None] * value_f[:, None, :] + 1)  # [U, I, J]
    y = np.swapaxes(base_t.conj(), -1, -2) @ seen.c @ base_f.conj()  # [A, U, I, J]
    rotation = np.exp(2j * np.pi * seen.user_cfo_hz[:, None] * symbol_seconds(waveform))  # [U, S]
    scale = np.sqrt(seen.noise)
    turned = (scale * rotation[..., None] * k_t).astype(np.complex64)
    h = turned @ ((y * shrink).astype(np.complex64) @ np.swapaxes(k_f, -1, -2).astype(np.complex64))
    total = delay_power.sum(axis=-1) * doppler_share.sum(axis=-1)  # [U]
    known = np.abs(k_t) ** 2 @ shrink @ np.swapaxes(np.abs(k_f) ** 2, -1, -2)  # [U, S, F]
    error = np.maximum(total[:, None, None] - known, 0.0)
    error *= seen.noise * np.broadcast_to(inflation, total.shape)[:, None, None]
    return ChannelEstimate(
        h_hat=np.moveaxis(h, (0, 1), (2, 3)),
        error_variance=np.moveaxis(error, 0, -1).astype(np.float32),
        no=seen.noise * waveform.pilot_slots,
        user_cfo_hz=seen.user_cfo_hz,
    )


def eigen(axis: Axis, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues and vectors of a correlation, and the bins' weighted steering in that basis.

    Parameters
    ----------
    axis : Axis
    weights : [U, bins] float64
        Power of each bin.

    Returns
    -------
    value : [U, rank] float64
    base : [U, rank, rank] complex128
    weighted : [U, bins, rank] complex128
        Makes all points' correlation with the coefficients: ``axis.points @`` it.
    """
    weighted = np.swapaxes(weights[:, None, :] * axis.pilots.conj(), -1, -2)  # [U, bins, rank]
    value, base = np.linalg.eigh(axis.pilots @ weighted)
    return np.maximum(value, 0.0), base, weighted @ base


def growth(
    c: np.ndarray, delay: Axis, delay_power: np.ndarray, doppler: Axis, doppler_share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""By how much the pilots say that each element of both profiles should grow, for the likelihood to rise.

    Model: coefficients of each antenna are Gaussian with covariance :math:`Q = R_t \otimes R_f + I`. For delays

    .. math:: \frac{\mathrm{mean}_a\, c_a^H Q^{-1} (R_t \otimes f_m f_m^H) Q^{-1} c_a}
              {\mathrm{tr}\, Q^{-1} (R_t \otimes f_m f_m^H)},

    and alike for Doppler shifts: 1 where the likelihood is stationary.

    Parameters
    ----------
    c : [A, U, I, J] complex
        Coefficients, in units of their noise.
    delay, doppler : Axis
    delay_power : [U, M] float64
        Over the noise of one pilot.
    doppler_share : [U, D] float64
        Sums to 1 for each user.

    Returns
    -------
    of_delay : [U, M] float64
    of_doppler : [U, D] float64

    References
    ----------
    P. Stoica, P. Babu, "SPICE and LIKES: two hyperparameter-free methods for sparse-parameter estimation", Signal
    Processing 92(7), 2012.
    """
    value_t, base_t, _ = eigen(doppler, doppler_share)
    value_f, base_f, _ = eigen(delay, delay_power)
    shrink = 1 / (value_t[:, :, None] * value_f[:, None, :] + 1)
    y = shrink * (np.swapaxes(base_t.conj(), -1, -2) @ c @ base_f.conj())  # [A, U, I, J]
    of_delay = quotient(y, value_t, shrink, np.swapaxes(base_f.conj(), -1, -2) @ delay.pilots)
    swapped = np.swapaxes(y, -1, -2), np.swapaxes(shrink, -1, -2)
    return of_delay, quotient(swapped[0], value_f, swapped[1], np.swapaxes(base_t.conj(), -1, -2) @ doppler.pilots)


def quotient(y: np.ndarray, value: np.ndarray, shrink: np.ndarray, steering: np.ndarray) -> np.ndarray:
    """Energy found over energy expected, for the axis that is the last of ``y``.

    Parameters
    ----------
    y : [A, U, other, rank] complex
        Coefficients over their variance, in the eigenbases.
    value : [U, other] float64
        Eigenvalues of the other axis.
    shrink : [U, other, rank] float64
        One over the variance of each coefficient.
    steering : [U, rank, bins] complex

    Returns
    -------
    [U, bins] float64
    """
    beams = y @ steering.conj()  # [A, U, other, bins]
    found = np.mean(np.sum((beams.real**2 + beams.imag**2) * value[:, :, None], axis=-2), axis=0)
    weight = (value[:, None, :] @ shrink)[:, 0]  # [U, rank]
    expected = (weight[:, None, :] @ np.abs(steering) ** 2)[:, 0]
    return (found + QUOTIENT_FLOOR) / (expected + QUOTIENT_FLOOR)
