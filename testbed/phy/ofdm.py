"""OFDM: resource grids to samples and back, and the scale at which a frame leaves. No synchronisation here."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

from testbed.errors import ShapeError
from testbed.phy.waveform import Waveform

FULL_SCALE = 1.0


def modulate(grid: np.ndarray, waveform: Waveform) -> np.ndarray:
    r"""Turn a grid of resource elements into samples with cyclic prefixes.

    Model: :math:`s_m = N^{-1/2} \sum_k X_k e^{j 2\pi k m / N}` for :math:`-N_{cp} \le m < N`: the transform is
    orthonormal, so a full symbol of unit-power elements has the mean sample power occupied / fft_size.

    Parameters
    ----------
    grid : [..., S, occupied] complex64
    waveform : Waveform

    Returns
    -------
    [..., S * symbol_samples] complex64

    Raises
    ------
    ShapeError
        If the last axis is not ``occupied_subcarriers`` long.
    """
    grid = np.asarray(grid)
    if grid.ndim < 2 or grid.shape[-1] != waveform.occupied_subcarriers:
        raise ShapeError(f"grid {grid.shape}: must be [..., symbol, {waveform.occupied_subcarriers}]")
    half = waveform.occupied_subcarriers // 2
    spectrum = np.zeros((*grid.shape[:-1], waveform.fft_size), np.complex64)
    spectrum[..., 1 : half + 1] = grid[..., half:]
    spectrum[..., -half:] = grid[..., :half]
    useful = scipy.fft.ifft(spectrum, norm="ortho", overwrite_x=True)
    symbols = np.concatenate([useful[..., -waveform.cp_samples :], useful], axis=-1)
    return symbols.reshape(*grid.shape[:-2], -1)


def demodulate(samples: np.ndarray, waveform: Waveform, symbols: int, offset: int = 0) -> np.ndarray:
    r"""Cut the prefixes and transform ``symbols`` OFDM symbols: :math:`Y_k = N^{-1/2} \sum_m y_m e^{-j 2\pi km/N}`.

    The transform of symbol s begins at ``offset + s * symbol_samples + cp_samples``. A path that arrives d samples
    behind ``offset`` appears as the phase slope :math:`e^{-j 2\pi k d / N}`, free of interference for
    0 <= d <= cp_samples.

    Parameters
    ----------
    samples : [..., n] complex64
    waveform : Waveform
    symbols : int
    offset : int
        Sample at which the prefix of the first symbol is taken to begin; see `testbed.phy.sync.window_offset`.

    Returns
    -------
    [..., symbols, occupied] complex64

    Raises
    ------
    ShapeError
        If a symbol would lie outside ``samples``.
    """
    samples = np.asarray(samples, np.complex64)
    end = offset + symbols * waveform.symbol_samples
    if offset < 0 or end > samples.shape[-1]:
        raise ShapeError(f"symbols at samples {offset}..{end}: outside the {samples.shape[-1]} samples given")
    blocks = samples[..., offset:end].reshape(*samples.shape[:-1], symbols, waveform.symbol_samples)
    spectrum = scipy.fft.fft(blocks[..., waveform.cp_samples :], norm="ortho")
    half = waveform.occupied_subcarriers // 2
    return np.concatenate([spectrum[..., -half:], spectrum[..., 1 : half + 1]], axis=-1)


def tx_amplitude(waveform: Waveform) -> float:
    """Factor from unit-power resource elements to samples at ``rms_dbfs``, so also the square root of Es on the air."""
    occupancy = waveform.occupied_subcarriers / waveform.fft_size
    return 10.0 ** (waveform.rms_dbfs / 20.0) / math.sqrt(occupancy)


def limit(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Scale samples whose magnitude exceeds full scale back to it, phase kept, and count them."""
    magnitude = np.abs(samples)
    over = magnitude > FULL_SCALE
    clipped = int(np.count_nonzero(over))
    if clipped:
        samples = np.where(over, samples / np.where(over, magnitude, 1.0), samples).astype(np.complex64)
    return samples, clipped
