"""Numba kernels of the medium. Their NumPy twins are in tests/unit/air/test_medium.py.

No fast mathematics: a fused multiply-add here and none in a loop's remainder would make the last bit depend on where a
block ends. NumPy's own complex product does so for very short arrays.
"""

from __future__ import annotations

import numba
import numpy as np

RUN = 256  # outputs at a time; their sums stay in the first cache


@numba.njit(cache=True, nogil=True)
def superimpose(
    x_re: np.ndarray,
    x_im: np.ndarray,
    starts: np.ndarray,
    begins: np.ndarray,
    h_re: np.ndarray,
    h_im: np.ndarray,
    first_sample: int,
    step: int,
    y_re: np.ndarray,
    y_im: np.ndarray,
) -> None:
    r"""Add every user, through its filter, to every antenna.

    .. math::
        y_a(n) \mathrel{+}= \sum_u \sum_{k = b_{au}}^{K - 1}
            \{(1 - \alpha) h_{g,a,u,k} + \alpha h_{g+1,a,u,k}\} \, x_u(s_u + n + k)

    with :math:`g = \lfloor (n_0 + n) / T \rfloor - \lfloor n_0 / T \rfloor` and :math:`\alpha` the place between two
    grid points, from the absolute index :math:`n_0 + n`.

    Parameters
    ----------
    x_re, x_im : [U, history + n] float32
        Each user's samples behind those that came before.
    starts : [U] int64
        :math:`s_u`: where the filter's window of output 0 begins.
    begins : [A, U] int64
        :math:`b_{au}`: coefficients before it are zero and left out.
    h_re, h_im : [grid, A, U, K] float32
        Coefficients in the order of the samples (time-reversed impulse response).
    first_sample : int
        :math:`n_0`.
    step : int
        :math:`T`, samples between grid points.
    y_re, y_im : [A, n] float32
        Added to.
    """
    antennas, count = y_re.shape
    users, taps = x_re.shape[0], h_re.shape[3]
    origin = first_sample // step
    # Sums over the grid point's filter and over its slope, for a run of outputs: the inner loop fills vector registers.
    sums = np.empty((4, RUN), dtype=np.float32)
    at_re, at_im, slope_re, slope_im = sums[0], sums[1], sums[2], sums[3]
    for u in range(users):
        n = 0
        while n < count:
            g = (first_sample + n) // step - origin
            into = first_sample + n - (g + origin) * step
            length = min(RUN, count - n, step - into)
            for a in range(antennas):
                still = True
                for k in range(begins[a, u], taps):
                    still &= h_re[g, a, u, k] == h_re[g + 1, a, u, k] and h_im[g, a, u, k] == h_im[g + 1, a, u, k]
                sums[:, :length] = 0.0
                for k in range(begins[a, u], taps):
                    c_re, c_im = h_re[g, a, u, k], h_im[g, a, u, k]
                    d_re, d_im = h_re[g + 1, a, u, k] - c_re, h_im[g + 1, a, u, k] - c_im
                    if c_re == 0.0 and c_im == 0.0 and d_re == 0.0 and d_im == 0.0:
                        continue
                    begin = starts[u] + n + k
                    part_re, part_im = x_re[u, begin : begin + length], x_im[u, begin : begin + length]
                    if still:
                        for i in range(length):
                            at_re[i] += c_re * part_re[i] - c_im * part_im[i]
                            at_im[i] += c_re * part_im[i] + c_im * part_re[i]
                        continue
                    for i in range(length):
                        at_re[i] += c_re * part_re[i] - c_im * part_im[i]
                        at_im[i] += c_re * part_im[i] + c_im * part_re[i]
                        slope_re[i] += d_re * part_re[i] - d_im * part_im[i]
                        slope_im[i] += d_re * part_im[i] + d_im * part_re[i]
                if still:
                    for i in range(length):
                        y_re[a, n + i] += at_re[i]
                        y_im[a, n + i] += at_im[i]
                    continue
                for i in range(length):
                    alpha = np.float32(into + i) / np.float32(step)
                    y_re[a, n + i] += at_re[i] + alpha * slope_re[i]
                    y_im[a, n + i] += at_im[i] + alpha * slope_im[i]
            n += length


@numba.njit(cache=True, nogil=True)
def rotate(x: np.ndarray, phasor: np.ndarray, y_re: np.ndarray, y_im: np.ndarray) -> None:
    r"""Write :math:`y(n) = x(n) p(n)`.

    Parameters
    ----------
    x, phasor : [n] complex64
    y_re, y_im : [n] float32
        Written.
    """
    for i in range(len(x)):
        y_re[i] = x[i].real * phasor[i].real - x[i].imag * phasor[i].imag
        y_im[i] = x[i].real * phasor[i].imag + x[i].imag * phasor[i].real


@numba.njit(cache=True, nogil=True)
def rotate_and_add(y: np.ndarray, phasor: np.ndarray, scale: np.float32, noise: np.ndarray) -> None:
    r"""Replace :math:`y(n)` by :math:`y(n) p(n) + \sigma w(n)`.

    Parameters
    ----------
    y : [n] complex64
        Written.
    phasor : [n] complex64
    scale : float32
        :math:`\sigma`, the noise's standard deviation.
    noise : [n] complex64
        Of unit variance.
    """
    for i in range(len(y)):
        re = y[i].real * phasor[i].real - y[i].imag * phasor[i].imag
        im = y[i].real * phasor[i].imag + y[i].imag * phasor[i].real
        y[i] = complex(re + scale * noise[i].real, im + scale * noise[i].imag)


@numba.njit(cache=True, nogil=True)
def resample_steady(
    x_re: np.ndarray,
    x_im: np.ndarray,
    begins: np.ndarray,
    h: np.ndarray,
    slope: np.ndarray,
    first_sample: int,
    step: int,
    y_re: np.ndarray,
    y_im: np.ndarray,
) -> None:
    r"""A stream at positions that advance by nearly one sample an output.

    .. math::
        y(n) = \sum_{k} (h_{g,k} + \alpha s_{g,k}) \, x(b_g + i + k), \quad n_0 + n = (g + g_0) T + i, \;
        \alpha = i / T

    Parameters
    ----------
    x_re, x_im : [C, held] float32
    begins : [grid] int64
        :math:`b_g`: where the window of the first output of each grid interval begins.
    h, slope : [grid, K] float32
        The filter at each grid point, and what it changes by until the next; K is a multiple of 4.
    first_sample : int
        :math:`n_0`, absolute.
    step : int
        :math:`T`.
    y_re, y_im : [C, n] float32
        Written.
    """
    channels, count = y_re.shape
    taps = h.shape[1]
    origin = first_sample // step
    sums = np.empty((4, step), dtype=np.float32)
    at_re, at_im, on_re, on_im = sums[0], sums[1], sums[2], sums[3]
    n = 0
    while n < count:
        g = (first_sample + n) // step - origin
        into = first_sample + n - (g + origin) * step
        length = min(count - n, step - into)
        for c in range(channels):
            sums[:, :length] = 0.0
            for k in range(0, taps, 4):
                begin = begins[g] + into + k
                part_re, part_im = x_re[c, begin : begin + length + 3], x_im[c, begin : begin + length + 3]
                h0, h1, h2, h3 = h[g, k], h[g, k + 1], h[g, k + 2], h[g, k + 3]
                s0, s1, s2, s3 = slope[g, k], slope[g, k + 1], slope[g, k + 2], slope[g, k + 3]
                for i in range(length):
                    r0, r1, r2, r3 = part_re[i], part_re[i + 1], part_re[i + 2], part_re[i + 3]
                    i0, i1, i2, i3 = part_im[i], part_im[i + 1], part_im[i + 2], part_im[i + 3]
                    at_re[i] += h0 * r0 + h1 * r1 + h2 * r2 + h3 * r3
                    at_im[i] += h0 * i0 + h1 * i1 + h2 * i2 + h3 * i3
                    on_re[i] += s0 * r0 + s1 * r1 + s2 * r2 + s3 * r3
                    on_im[i] += s0 * i0 + s1 * i1 + s2 * i2 + s3 * i3
            for i in range(length):
                alpha = np.float32(into + i) / np.float32(step)
                y_re[c, n + i] = at_re[i] + alpha * on_re[i]
                y_im[c, n + i] = at_im[i] + alpha * on_im[i]
        n += length


@numba.njit(cache=True, nogil=True)
def resample_any(
    x_re: np.ndarray,
    x_im: np.ndarray,
    begins: np.ndarray,
    place: np.ndarray,
    table: np.ndarray,
    slopes: np.ndarray,
    y_re: np.ndarray,
    y_im: np.ndarray,
) -> None:
    r"""A stream at any positions: :math:`y(n) = \sum_k (t_{p,k} + \alpha s_{p,k}) \, x(b_n + k)`.

    Parameters
    ----------
    x_re, x_im : [C, held] float32
    begins : [n] int64
        :math:`b_n`.
    place : [n] float64
        :math:`p + \alpha`, the row of the table and the place between it and the next.
    table, slopes : [phases, K] float32
        Filters, and what each changes by until the next.
    y_re, y_im : [C, n] float32
        Written.
    """
    taps = table.shape[1]
    h = np.empty(taps, dtype=np.float32)
    for n in range(y_re.shape[1]):
        row = int(place[n])
        alpha = np.float32(place[n] - row)
        for k in range(taps):
            h[k] = table[row, k] + alpha * slopes[row, k]
        for c in range(y_re.shape[0]):
            re, im = np.float32(0.0), np.float32(0.0)
            for k in range(taps):
                re += h[k] * x_re[c, begins[n] + k]
                im += h[k] * x_im[c, begins[n] + k]
            y_re[c, n], y_im[c, n] = re, im


@numba.njit(cache=True, nogil=True)
def transmit_iq(x: np.ndarray, m: np.ndarray, y: np.ndarray) -> None:
    r"""Write :math:`(\Re y, \Im y)^T = M (\Re x, \Im x)^T + o`.

    Parameters
    ----------
    x : [n] complex64
    m : [6] float32
        Rows of M, then o.
    y : [n] complex64
        Written.
    """
    for i in range(len(x)):
        re, im = x[i].real, x[i].imag
        y[i] = complex(m[0] * re + m[1] * im + m[4], m[2] * re + m[3] * im + m[5])


@numba.njit(cache=True, nogil=True)
def receive_iq(x: np.ndarray, scale: np.float32, noise: np.ndarray, m: np.ndarray, y: np.ndarray) -> None:
    r"""Write :math:`(\Re y, \Im y)^T = M (\Re u, \Im u)^T + o` with :math:`u = x + \sigma w`.

    Parameters
    ----------
    x : [n] complex64
    scale : float32
        :math:`\sigma`.
    noise : [n] complex64
        :math:`w`, of unit variance.
    m : [6] float32
        Rows of M, then o.
    y : [n] complex64
        Written.
    """
    for i in range(len(x)):
        re, im = x[i].real + scale * noise[i].real, x[i].imag + scale * noise[i].imag
        y[i] = complex(m[0] * re + m[1] * im + m[4], m[2] * re + m[3] * im + m[5])


@numba.njit(cache=True, nogil=True)
def compress(y: np.ndarray, saturation: np.float32, smoothness: np.float32) -> None:
    r"""Replace :math:`y` by :math:`y (1 + (|y| / A)^{2p})^{-1/(2p)}`.

    Parameters
    ----------
    y : [n] complex64
        Written.
    saturation : float32
        :math:`A`.
    smoothness : float32
        :math:`p`.
    """
    power = np.float32(1.0) / (saturation * saturation)
    root = np.float32(-0.5) / smoothness
    for i in range(len(y)):
        drive = (y[i].real * y[i].real + y[i].imag * y[i].imag) * power
        gain = (np.float32(1.0) + drive**smoothness) ** root
        y[i] = complex(y[i].real * gain, y[i].imag * gain)


@numba.njit(cache=True, nogil=True)
def rotate_steadily(
    x: np.ndarray, turns: np.ndarray, steps: np.ndarray, first_sample: int, y_re: np.ndarray, y_im: np.ndarray
) -> None:
    r"""Write :math:`y(n) = x(n) \, e^{j 2\pi \theta(n)}`, with a phase that is linear within each 256 samples.

    .. math::  \theta(n_0 + n) = \theta_g + i s_g / 256, \quad n_0 + n = 256 (g + \lfloor n_0 / 256 \rfloor) + i

    Parameters
    ----------
    x : [n] complex64
    turns : [grid] float64
        :math:`\theta_g`, reduced.
    steps : [grid] float64
        :math:`s_g`, turns until the next grid point.
    first_sample : int
        :math:`n_0`, absolute.
    y_re, y_im : [n] float32
        Written.
    """
    re, im = np.empty(RUN, dtype=np.float32), np.empty(RUN, dtype=np.float32)
    fine_re, fine_im = np.empty(16), np.empty(16)
    n = 0
    while n < len(x):
        g = (first_sample + n) // RUN - first_sample // RUN
        into = (first_sample + n) % RUN
        length = min(len(x) - n, RUN - into)
        step = 2.0 * np.pi * steps[g] / RUN
        for i in range(16):
            fine_re[i], fine_im[i] = np.cos(step * i), np.sin(step * i)
        for j in range(16):
            at = 2.0 * np.pi * turns[g] + step * 16 * j
            c_re, c_im = np.cos(at), np.sin(at)
            for i in range(16):
                re[16 * j + i] = c_re * fine_re[i] - c_im * fine_im[i]
                im[16 * j + i] = c_re * fine_im[i] + c_im * fine_re[i]
        for i in range(length):
            p_re, p_im = re[into + i], im[into + i]
            y_re[n + i] = x[n + i].real * p_re - x[n + i].imag * p_im
            y_im[n + i] = x[n + i].real * p_im + x[n + i].imag * p_re
        n += length
