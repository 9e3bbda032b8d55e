"""The delay and Doppler profiles among which `lmmse` finds the likeliest: eigenbases, made once. No frame here."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from server.estimation.ls import pilot_period_s
from server.estimation.subspaces import DELAY_MARGIN_SAMPLES, delay_bases, delay_correlation, subspace, symbol_seconds
from testbed.phy.pilots import pilot_comb
from testbed.phy.waveform import Waveform

LATE_SHARE = 0.625  # of a prefix: so late behind it come the weak last paths of TDL-D and TDL-E, which move no window
DOPPLERS_HZ = (1.0, 8.0, 20.0, 50.0, 100.0, 200.0, 350.0, 520.0)  # flat spectra up to these
DOPPLER_TURNS = 0.273  # from pilot to pilot, at most: 520 Hz at the usual spacing; at 0.5 shifts are mistaken
SCATTERED = (
    (0.05, 520.0),
    (0.05, 170.0),
    (0.05, 85.0),
)  # share of the power, and Hz: what moves around a line of sight
DECAYS_SAMPLES = (0.1, 0.4, 1.0, 2.5)  # of exponential delay profiles at the rate of profile `ota`
LATE_POWER = (1e-6, 1e-3, 2e-2)  # share of their power that is uniform over all delays
SHIFT_SAMPLES = 0.5  # between the mean delays for which delay profiles are stated, at the rate of `ota`
OTA_FFT = 128
DOPPLER_POINTS = 521
DELAY_POINTS = 551
LEAST_EIGENVALUE = 1e-12


class TimePriors(msgspec.Struct, frozen=True):
    """Doppler profiles, all symmetric about a user's own offset."""

    v: np.ndarray  # [P, I] float64: orthonormal basis over pilot symbols of every one
    bases: np.ndarray  # [N, I, I] float32: the eigenvectors of each, columns, strongest first
    analysis: np.ndarray  # [N I, I] float32: all of them as rows
    values: np.ndarray  # [N, I] float64: eigenvalues
    points: np.ndarray  # [N, S, I] float64: correlation of every symbol with each eigenvector's coefficient
    power: np.ndarray  # [N, S, I] float32: its square


class DelayPriors(msgspec.Struct, frozen=True):
    """Delay profiles of a user around one mean delay."""

    bases: np.ndarray  # [Q, J, J] complex64: conjugate eigenvectors, so that coefficients = c @ base
    analysis: np.ndarray  # [J, Q J] complex64: all of them side by side
    values: np.ndarray  # [Q, J] float64
    points: np.ndarray  # [Q, J, F] complex64: correlation of every subcarrier with them
    power: np.ndarray  # [Q, J, F] float32: its squared magnitude


class UniformDelays(msgspec.Struct, frozen=True):
    """Delays uniform over all that any profile holds: the basis of `comb_bases` is that of their eigenvectors."""

    values: np.ndarray  # [J] float64: eigenvalues, largest first
    turn: np.ndarray  # [J, J] complex64: sum over a comb of conj(h) at a pilot times h at the next, from coefficients


def delay_window(waveform: Waveform) -> tuple[float, float]:
    """Earliest and latest delay that any profile holds, in samples; not wider than a comb tells apart.

    Parameters
    ----------
    waveform : Waveform

    Returns
    -------
    (float, float)
    """
    latest = waveform.cp_samples * (1 + LATE_SHARE)
    return -DELAY_MARGIN_SAMPLES, min(latest, waveform.fft_size / waveform.pilot_slots - 2 * DELAY_MARGIN_SAMPLES)


def widest_doppler_hz(waveform: Waveform) -> float:
    """Half the width of the widest Doppler profile.

    Parameters
    ----------
    waveform : Waveform

    Returns
    -------
    float
        Hz.
    """
    return min(DOPPLERS_HZ[-1], DOPPLER_TURNS / pilot_period_s(waveform))


@lru_cache(maxsize=8)
def time_priors(waveform: Waveform) -> TimePriors:
    r"""All Doppler profiles of a waveform.

    Flat up to each of ``DOPPLERS_HZ`` :math:`B`, alone and, times :math:`1 - s`, on top of each of ``SCATTERED``,
    a share s that is flat up to :math:`B_s`:

    .. math:: R_t(\tau) = (1 - s)\,\mathrm{sinc}(2 B \tau) + s\,\mathrm{sinc}(2 B_s \tau)

    Parameters
    ----------
    waveform : Waveform

    Returns
    -------
    TimePriors
    """
    seconds, widest = symbol_seconds(waveform), widest_doppler_hz(waveform)
    at = seconds[waveform.pilot_symbols]
    v, _ = subspace(np.sinc(2 * widest * (at[:, None] - at)))
    bases, values, points = [], [], []
    for width in [*(b for b in DOPPLERS_HZ if b < widest), widest]:
        around = [(share, min(hz, widest)) for share, hz in SCATTERED if width < min(hz, widest) / 2]
        for share, hz in [(0.0, widest), *around]:

            def correlation(lag: np.ndarray, width: float = width, share: float = share, hz: float = hz) -> np.ndarray:
                return (1 - share) * np.sinc(2 * width * lag) + share * np.sinc(2 * hz * lag)

            value, base = eigen(v.T @ correlation(at[:, None] - at) @ v)
            bases.append(base)
            values.append(value)
            points.append(correlation(seconds[:, None] - at) @ v @ base)
    b, p = np.array(bases, np.float32), np.array(points)
    rows = np.ascontiguousarray(np.swapaxes(b, 1, 2)).reshape(-1, v.shape[1])
    return TimePriors(v, b, rows, np.array(values), p, (p**2).astype(np.float32))


@lru_cache(maxsize=8)
def comb_bases(waveform: Waveform) -> np.ndarray:
    """[U, F / U, J] complex64: bases of all delays in `delay_window`, conjugate, see `subspaces.delay_bases`.

    Parameters
    ----------
    waveform : Waveform

    Returns
    -------
    [U, F / U, J] complex64
    """
    combs = [waveform.subcarriers[pilot_comb(waveform, user)] for user in range(waveform.pilot_slots)]
    return delay_bases(waveform, combs, delay_window(waveform)).astype(np.complex64)


@lru_cache(maxsize=64)
def uniform_delays(waveform: Waveform, user: int) -> UniformDelays:
    r"""Of a user's comb; coefficients :math:`c = h V` give :math:`\sum_k h^*_k h_{k+1} = c^* T^T c^T`.

    Parameters
    ----------
    waveform : Waveform
    user : int

    Returns
    -------
    UniformDelays
    """
    v = comb_bases(waveform)[user].conj()  # h = c @ v.T, within the subspace
    comb = waveform.subcarriers[pilot_comb(waveform, user)]
    correlation = delay_correlation(comb[:, None] - comb, waveform, delay_window(waveform))
    values = np.einsum("kj,kl,lj->j", v.conj(), correlation, v).real
    return UniformDelays(np.maximum(values, LEAST_EIGENVALUE), v[1:].T @ v[:-1].conj())


def shift_of(delay: float, waveform: Waveform) -> int:
    """Number of the mean delay, among those for which profiles are stated, that is nearest to ``delay``.

    Parameters
    ----------
    delay : float
        In samples.
    waveform : Waveform

    Returns
    -------
    int
    """
    first, last = delay_window(waveform)
    step = SHIFT_SAMPLES * waveform.fft_size / OTA_FFT
    return round((min(max(delay, first), last) - first) / step)


@lru_cache(maxsize=256)
def delay_priors(waveform: Waveform, user: int, shift: int) -> DelayPriors:
    r"""Delay profiles of a user around the mean delay number ``shift``.

    The first is uniform over all delays, the others exponential, :math:`p(d) \propto e^{-(d - d_0) / \tau}` behind
    :math:`d_0`, which lies a decay before the mean, on top of a share of the first.

    Parameters
    ----------
    waveform : Waveform
    user : int
    shift : int
        As `shift_of` numbers them.

    Returns
    -------
    DelayPriors
    """
    scale = waveform.fft_size / OTA_FFT
    first, last = delay_window(waveform)
    delays = np.linspace(first, last, DELAY_POINTS)
    mean = first + shift * SHIFT_SAMPLES * scale
    uniform = np.full(DELAY_POINTS, 1 / DELAY_POINTS)
    profiles = [uniform]
    for decay in DECAYS_SAMPLES:
        peak = exponential(delays, mean - decay * scale, decay * scale)
        profiles += [(1 - late) * peak + late * uniform for late in LATE_POWER]
    steering = np.exp(-2j * np.pi / waveform.fft_size * np.outer(waveform.subcarriers, delays))  # [F, D]
    pilots = comb_bases(waveform)[user].T @ steering[pilot_comb(waveform, user)]  # [J, D]
    bases, values, points = [], [], []
    for profile in profiles:
        weighted = profile[:, None] * pilots.conj().T  # [D, J]
        value, base = eigen(pilots @ weighted)
        bases.append(base.conj())
        values.append(value)
        points.append((steering @ weighted @ base).T)
    b, p = np.array(bases, np.complex64), np.array(points)
    side_by_side = np.ascontiguousarray(np.moveaxis(b, 0, 1)).reshape(b.shape[1], -1)
    return DelayPriors(b, side_by_side, np.array(values), p.astype(np.complex64), np.abs(p).astype(np.float32) ** 2)


def exponential(delays: np.ndarray, begin: float, decay: float) -> np.ndarray:
    """An exponential delay profile, on a grid.

    Parameters
    ----------
    delays : [D] float64
        In samples, rising.
    begin, decay : float
        Likewise.

    Returns
    -------
    [D] float64
        Sums to 1; all at the last delay if it begins behind.
    """
    behind = delays - min(begin, delays[-1])
    power = np.where(behind >= 0, np.exp(-np.maximum(behind, 0) / decay), 0.0)
    return power / power.sum()


def eigen(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first and not below ``LEAST_EIGENVALUE``, and eigenvectors of a Hermitian matrix.

    Parameters
    ----------
    correlation : [n, n] float64 or complex128

    Returns
    -------
    value : [n] float64
    base : [n, n] as ``correlation``
    """
    value, base = np.linalg.eigh(correlation)
    return np.maximum(value[::-1], LEAST_EIGENVALUE), base[:, ::-1]
