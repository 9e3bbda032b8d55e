"""Bursts of OFDM symbols that stand alone: their elements, carrier offset and channel, once they are found."""

from __future__ import annotations

import numpy as np

from testbed.errors import ShapeError
from testbed.phy import ofdm
from testbed.phy.fine_sync import derotate, strongest_delay
from testbed.phy.waveform import Waveform

GRID_STEP = 0.125  # of a burst's resolution, for the likelihood of the offset, which Newton steps refine
NEWTON_STEPS = 4


def symbol_times(symbols: int, waveform: Waveform) -> np.ndarray:
    """Seconds at which a burst's symbols stand, counted from its middle.

    Parameters
    ----------
    symbols : int
        Of the burst.
    waveform : Waveform

    Returns
    -------
    [symbols] float64
    """
    return (np.arange(symbols) - (symbols - 1) / 2) * waveform.symbol_samples / waveform.sample_rate_hz


def cut_burst(samples: np.ndarray, waveform: Waveform, start: int, symbols: int) -> np.ndarray:
    """A burst and one prefix on each side; what is no number is taken for silence.

    Parameters
    ----------
    samples : [A, n] complex64
    waveform : Waveform
    start : int
        Where the burst begins.
    symbols : int

    Returns
    -------
    [A, symbols * symbol_samples + 2 cp_samples] complex64

    Raises
    ------
    ShapeError
        If ``samples`` does not hold that.
    """
    first = start - waveform.cp_samples
    end = start + symbols * waveform.symbol_samples + waveform.cp_samples
    if samples.ndim != 2 or first < 0 or end > samples.shape[-1]:
        raise ShapeError(f"samples {samples.shape}: [antenna, sample] with samples {first}..{end} are wanted")
    return np.nan_to_num(np.asarray(samples[:, first:end], np.complex64), nan=0.0, posinf=0.0, neginf=0.0)


def received_elements(burst: np.ndarray, waveform: Waveform, cfo_hz: float) -> np.ndarray:
    """The elements of a burst, its windows half a prefix early.

    Parameters
    ----------
    burst : [A, n] complex64
        From `cut_burst`.
    waveform : Waveform
    cfo_hz : float
        Taken out, phases counted from the burst's middle.

    Returns
    -------
    [A, symbols, occupied] complex64
    """
    symbols = burst.shape[1] // waveform.symbol_samples
    middle = waveform.cp_samples + symbols * waveform.symbol_samples // 2
    level = derotate(burst, cfo_hz, waveform, -middle)
    return ofdm.demodulate(level, waveform, symbols, waveform.cp_samples // 2)


def fit_offset(z: np.ndarray, times: np.ndarray, range_hz: float) -> float:
    r"""Maximum-likelihood offset of channels that differ by a rotation: :math:`Z_s = H e^{j 2\pi f t_s} + N_s`.

    .. math:: \hat f = \arg\max_f \sum_{a,k} \left|\sum_s Z_{a,s}[k]\, e^{-j 2\pi f t_s}\right|^2

    for every :math:`H_a[k]` unknown.

    Parameters
    ----------
    z : [A, S, F] complex64
        Received elements times the conjugates of those sent.
    times : [S] float64
        In seconds.
    range_hz : float
        The offset lies within so much either way.

    Returns
    -------
    float
        In Hz.
    """
    rows = np.moveaxis(z, 1, 0).reshape(len(times), -1).astype(np.complex128)
    gram = rows @ rows.conj().T  # sum over antennas and subcarriers of z_s z_s'^*
    step_hz = GRID_STEP / float(times[-1] - times[0])
    side = int(np.ceil(range_hz / step_hz))
    trials_hz = step_hz * np.arange(-side, side + 1)
    turns = np.exp(-2j * np.pi * np.outer(trials_hz, times))
    likelihood = np.einsum("fs,ft,st->f", turns, turns.conj(), gram, optimize=True).real
    best_hz = float(trials_hz[np.argmax(likelihood)])
    for _ in range(NEWTON_STEPS):
        turn = np.exp(-2j * np.pi * best_hz * times)
        slope, bend = -2j * np.pi * times * turn, -((2 * np.pi * times) ** 2) * turn
        rise = 2 * (slope @ gram @ turn.conj()).real
        curve = 2 * (bend @ gram @ turn.conj() + slope @ gram @ slope.conj()).real
        if not curve < 0:
            break
        best_hz -= float(np.clip(rise / curve, -step_hz, step_hz))
    return best_hz


def mean_channel(z: np.ndarray) -> tuple[np.ndarray, float]:
    """Channel and noise of channels that are alike but for noise.

    Parameters
    ----------
    z : [A, S, F] complex64
        Of at least two symbols.

    Returns
    -------
    channel : [A, F] complex64
    no : float
        Noise variance of one element.
    """
    channel = z.mean(axis=1)
    symbols = z.shape[1]
    return channel, float(np.mean(np.abs(z - channel[:, None]) ** 2)) * symbols / (symbols - 1)


def burst_delay(channel: np.ndarray, waveform: Waveform) -> float:
    """Delay of the strongest path behind the start that was given to `cut_burst`.

    Parameters
    ----------
    channel : [A, occupied] complex64
        Of elements from `received_elements`.
    waveform : Waveform

    Returns
    -------
    float
        In samples.
    """
    late = np.exp(1j * np.pi * waveform.subcarriers * waveform.cp_samples / waveform.fft_size)
    return strongest_delay((channel * late).astype(np.complex64), waveform)
