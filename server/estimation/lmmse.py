"""Linear MMSE channel estimation over time and frequency at once, with a robust prior; it reports its own error."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from server.estimation.base import ChannelEstimate
from server.estimation.ls import pilot_estimates, user_cfo
from testbed.phy.pilots import pilot_comb
from testbed.phy.waveform import Waveform

DELAY_MARGIN_SAMPLES = 1.5  # paths may lie so far outside the prefix: the FFT window stands on whole samples
DOPPLER_PRIOR_HZ = 80.0  # fading up to 50 Hz and what is left of the user's offset
SUBSPACE_EDGE = 1e-6  # eigenvalues below this share of the largest hold no channel that noise at 50 dB would not hide


class Prior(msgspec.Struct, frozen=True):
    """Eigenbasis of the pilots' correlation (``v``), its eigenvalues, and the correlation of all points with it."""

    v_time: np.ndarray  # [P, I] float32
    value_time: np.ndarray  # [I] float64
    k_time: np.ndarray  # [S, I] float64
    v_frequency: np.ndarray  # [U, F / U, J] complex64: conjugate, so that taps = h_ls @ v
    value_frequency: np.ndarray  # [U, J] float64
    k_frequency: np.ndarray  # [U, J, F] complex64
    k_time_power: np.ndarray  # [S, I] float32
    k_frequency_power: np.ndarray  # [U, J, F] float64


def lmmse(grid: np.ndarray, waveform: Waveform) -> ChannelEstimate:
    r"""Wiener estimate of every user's channel from all its pilots of a frame.

    Prior of user u, after its own frequency offset is removed: power :math:`p_u`, delays uniform over the prefix
    (:math:`R_f`), Doppler uniform over :math:`\pm` ``DOPPLER_PRIOR_HZ`` (:math:`R_t`). With
    :math:`R_t = V_t \Lambda_t V_t^H` and :math:`R_f = V_f \Lambda_f V_f^H` at the pilots and :math:`K_t`, :math:`K_f`
    the correlations of all points with these bases,

    .. math:: \hat{h} = \sum_{ij} K_{t,i} K_{f,j}\,
        \frac{[V_t^H h_{LS} V_f^*]_{ij}}{\lambda_{t,i}\lambda_{f,j} + N_0 / (U p_u)}, \qquad
        \epsilon = p_u \left(1 - \sum_{ij} \frac{|K_{t,i}|^2 |K_{f,j}|^2}
        {\lambda_{t,i}\lambda_{f,j} + N_0 / (U p_u)}\right).

    This is the exact two-dimensional filter: the noise enters as a scalar, so nothing is inverted in a frame. The noise
    is what lies outside the product of both subspaces, the powers what lies inside.

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
    channels", IEEE Trans. Commun. 46(7), 1998.
    """
    prior = prior_of(waveform)
    h_ls = pilot_estimates(grid, waveform)
    antennas, slots, pilots, comb = h_ls.shape
    energy = float(np.vdot(h_ls, h_ls).real)
    taps = h_ls @ prior.v_frequency  # [A, U, P, J]
    cfo_hz = user_cfo(taps, waveform)
    seconds = np.arange(waveform.body_symbols) * waveform.symbol_samples / waveform.sample_rate_hz
    rotation = np.exp(2j * np.pi * cfo_hz[:, None] * seconds)  # [U, S]
    still = prior.v_time * rotation[:, waveform.pilot_symbols, None].conj()  # [U, P, I]
    c = np.swapaxes(still, -1, -2).astype(np.complex64) @ taps  # [A, U, I, J]

    inside = np.sum(c.real**2 + c.imag**2, axis=(0, 2, 3), dtype=np.float64)  # [U]
    unknowns = antennas * c.shape[-2] * c.shape[-1]
    total = antennas * slots * pilots * comb
    noise = max(energy - float(inside.sum()), 1e-7 * energy) / max(total - slots * unknowns, 1)
    power = np.maximum(inside - unknowns * noise, 0.0) / (antennas * pilots * comb)  # [U]

    shrink = 1 / (prior.value_time[:, None] * prior.value_frequency[:, None] + ratio(noise, power)[:, None, None])
    k_time = prior.k_time * rotation[:, :, None]  # [U, S, I]
    h = k_time.astype(np.complex64) @ ((c * shrink.astype(np.float32)) @ prior.k_frequency)  # [A, U, S, F]
    known = prior.k_time_power @ (shrink @ prior.k_frequency_power).astype(np.float32)  # [U, S, F]
    error = np.maximum(1 - known, np.float32(0)) * power[:, None, None].astype(np.float32)
    return ChannelEstimate(
        h_hat=np.moveaxis(h, (0, 1), (2, 3)),
        error_variance=np.moveaxis(error, 0, -1),
        no=noise * slots,
        user_cfo_hz=cfo_hz,
    )


def ratio(noise: float, power: np.ndarray) -> np.ndarray:
    """[U] noise over power, so large for an absent user that nothing of it is left."""
    return noise / np.maximum(power, 1e-12 * noise + 1e-30) + 1e-9


@lru_cache(maxsize=8)
def prior_of(waveform: Waveform) -> Prior:
    """Both subspaces of a waveform; computed once."""
    seconds = np.arange(waveform.body_symbols) * waveform.symbol_samples / waveform.sample_rate_hz
    at_pilots = seconds[waveform.pilot_symbols]
    v_time, value_time = subspace(doppler_correlation(at_pilots[:, None] - at_pilots))
    k_time = doppler_correlation(seconds[:, None] - at_pilots) @ v_time
    carriers = waveform.subcarriers
    bases = []
    for user in range(waveform.pilot_slots):
        comb = carriers[pilot_comb(waveform, user)]
        v, value = subspace(delay_correlation(comb[:, None] - comb, waveform))
        bases.append((v, value, delay_correlation(carriers[:, None] - comb, waveform) @ v))
    size = max(len(value) for _, value, _ in bases)
    v_frequency = np.stack([pad(v.conj(), size) for v, _, _ in bases])
    k_frequency = np.stack([pad(k, size).T for _, _, k in bases])
    value_frequency = np.stack([np.pad(value, (0, size - len(value)), constant_values=1.0) for _, value, _ in bases])
    return Prior(
        v_time=v_time.astype(np.float32),
        value_time=value_time,
        k_time=k_time,
        v_frequency=v_frequency.astype(np.complex64),
        value_frequency=value_frequency,
        k_frequency=k_frequency.astype(np.complex64),
        k_time_power=(k_time**2).astype(np.float32),
        k_frequency_power=np.abs(k_frequency) ** 2,
    )


def doppler_correlation(lag_s: np.ndarray) -> np.ndarray:
    r"""Correlation over time of a flat Doppler spectrum: :math:`\mathrm{sinc}(2 B \tau)`, real."""
    return np.sinc(2 * DOPPLER_PRIOR_HZ * lag_s)


def delay_correlation(lag: np.ndarray, waveform: Waveform) -> np.ndarray:
    r"""Correlation over subcarriers of delays uniform in [-margin, prefix + margin], complex by their mean."""
    width = (waveform.cp_samples + 2 * DELAY_MARGIN_SAMPLES) / waveform.fft_size
    centre = waveform.cp_samples / 2 / waveform.fft_size
    return np.sinc(width * lag) * np.exp(-2j * np.pi * centre * lag)


def subspace(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors and eigenvalues above the subspace's edge, largest first."""
    value, v = np.linalg.eigh(correlation)
    keep = value > SUBSPACE_EDGE * value[-1]
    return v[:, keep][:, ::-1], value[keep][::-1]


def pad(v: np.ndarray, size: int) -> np.ndarray:
    """Zero columns up to ``size``: users' subspaces may differ by one where DC is left out."""
    return np.pad(v, ((0, 0), (0, size - v.shape[1])))
