"""A frame: preamble, pilots, header and data put together for one user, and taken apart again."""

from __future__ import annotations

import numpy as np

from testbed.errors import ShapeError
from testbed.phy import ofdm
from testbed.phy.header import Header
from testbed.phy.header_code import header_to_symbols
from testbed.phy.pilots import pilot_boost, pilot_comb, pilot_values
from testbed.phy.preamble import preamble
from testbed.phy.waveform import Waveform


def body_grid(header: Header, data: np.ndarray, waveform: Waveform, user: int) -> np.ndarray:
    """Lay pilots, header and data on the grid of a body.

    Parameters
    ----------
    header : Header
    data : [data_elements] complex64
        Symbols of unit mean power, in the order of `read_data`.
    waveform : Waveform
    user : int
        Whose pilot comb is filled; the other combs stay empty.

    Returns
    -------
    [body_symbols, occupied] complex64

    Raises
    ------
    ShapeError
        If ``data`` is not what one frame carries.
    """
    data = np.asarray(data)
    if data.shape != (waveform.data_elements,):
        raise ShapeError(f"data {data.shape}: a frame carries exactly {waveform.data_elements} symbols")
    grid = np.zeros((waveform.body_symbols, waveform.occupied_subcarriers), np.complex64)
    comb = pilot_comb(waveform, user)
    grid[np.ix_(waveform.pilot_symbols, comb)] = pilot_boost(waveform) * pilot_values(waveform)[:, comb]
    grid[waveform.header_symbol_indices] = header_to_symbols(header, waveform)
    grid[waveform.data_symbols] = data.reshape(-1, waveform.occupied_subcarriers)
    return grid


def build_frame(header: Header, data: np.ndarray, waveform: Waveform) -> tuple[np.ndarray, int]:
    """Make the samples of one frame, at ``rms_dbfs`` and limited to full scale.

    Parameters
    ----------
    header : Header
        Says whose pilot comb is filled.
    data : [data_elements] complex64
        Symbols of unit mean power.
    waveform : Waveform

    Returns
    -------
    samples : [frame_samples] complex64
    clipped : int
        Samples that the limiter changed.
    """
    body = ofdm.modulate(body_grid(header, data, waveform, header.user), waveform)
    samples = np.concatenate([preamble(waveform), body]) * np.float32(ofdm.tx_amplitude(waveform))
    return ofdm.limit(samples)


def read_data(grid: np.ndarray, waveform: Waveform) -> np.ndarray:
    """Data elements of a body, symbol by symbol.

    Parameters
    ----------
    grid : [..., body_symbols, occupied]
        Of any dtype.
    waveform : Waveform

    Returns
    -------
    [..., data_elements]
    """
    return grid[..., waveform.data_symbols, :].reshape(*grid.shape[:-2], waveform.data_elements)


def read_header(grid: np.ndarray, waveform: Waveform) -> np.ndarray:
    """Header elements of a body.

    Parameters
    ----------
    grid : [..., body_symbols, occupied]
        Of any dtype.
    waveform : Waveform

    Returns
    -------
    [..., header_symbols, occupied]
    """
    return grid[..., waveform.header_symbol_indices, :]
