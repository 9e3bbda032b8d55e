"""Numba kernels of virtual Plutos in real pace. Their NumPy twins are in tests/unit/air/test_iiod_kernels.py.

No fast mathematics, as in `testbed.air._kernels`. Complex samples are seen as pairs of float32.
"""

from __future__ import annotations

import numba
import numpy as np

RUN = 128  # samples whose squares are summed in float32


@numba.njit(cache=True, nogil=True)
def dac(codes: np.ndarray, channel: int, mask: int, scale: np.float32, x: np.ndarray) -> tuple[float, int]:
    """Samples of one channel's codes, without the bits that the converter does not have.

    Parameters
    ----------
    codes : [n, columns] int16
    channel : int
        Its columns are 2 and 3 for channel 1.
    mask : int
        Bits that count, of 16.
    scale : float32
        Of one code.
    x : [n] complex64
        Written.

    Returns
    -------
    float, int
        Sum of the squares of codes, and how many samples stand at an end of the range.
    """
    energy, clipped = 0.0, 0
    for n in range(len(codes)):
        i, q = codes[n, 2 * channel] & mask, codes[n, 2 * channel + 1] & mask
        x[n] = complex(np.float32(i) * scale, np.float32(q) * scale)
        energy += np.float64(i) * i + np.float64(q) * q
        clipped += max(i, q) >= 32767 & mask or min(i, q) == -32768
    return energy, clipped


@numba.njit(cache=True, nogil=True)
def adc(y: np.ndarray, scale: np.float32, top: np.float32, channel: int, codes: np.ndarray) -> tuple[float, float, int]:
    r"""Round to the nearest code and hold it within :math:`-t \ldots t - 1`.

    Parameters
    ----------
    y : [n] complex64
    scale : float32
        Codes for 1.0.
    top : float32
        :math:`t`.
    channel : int
        Which columns are written.
    codes : [n, columns] int16
        Written.

    Returns
    -------
    float, float, int
        Sum of the squares before and after, in codes, and how many samples were held at an end of the range.
    """
    before, after, clipped = 0.0, 0.0, 0
    column, last = 2 * channel, top - np.float32(1)
    begin = 0
    while begin < len(y):
        end = min(begin + RUN, len(y))
        wide, energy = np.float32(0.0), np.float32(0.0)
        for n in range(begin, end):
            re, im = y[n].real * scale, y[n].imag * scale
            i, q = min(max(np.rint(re), -top), last), min(max(np.rint(im), -top), last)
            clipped += i >= last or i <= -top or q >= last or q <= -top
            codes[n, column], codes[n, column + 1] = np.int16(i), np.int16(q)
            wide += re * re + im * im
            energy += i * i + q * q
        before += wide
        after += energy
        begin = end
    return before, after, clipped


@numba.njit(cache=True, nogil=True)
def convolve(x: np.ndarray, taps: np.ndarray, y: np.ndarray) -> None:
    r"""A filter of real taps: :math:`y(n) = \sum_k h_k x(n + K - 1 - k)`.

    Parameters
    ----------
    x : [2 (n + K - 1)] float32
        Pairs; K - 1 of them lie before the first output's own.
    taps : [K] float32
    y : [2 n] float32
        Pairs, written.
    """
    count, width = len(y), len(taps)
    done = 0
    while done < count:
        length = min(4 * RUN, count - done)
        out = y[done : done + length]
        out[:] = 0.0
        for k in range(width):
            c = taps[k]
            begin = done + 2 * (width - 1 - k)
            part = x[begin : begin + length]
            for j in range(length):
                out[j] += c * part[j]
        done += length
