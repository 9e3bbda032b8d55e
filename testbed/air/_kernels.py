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
                sums[:, :length] = 0.0
                for k in range(begins[a, u], taps):
                    c_re, c_im = h_re[g, a, u, k], h_im[g, a, u, k]
                    d_re, d_im = h_re[g + 1, a, u, k] - c_re, h_im[g + 1, a, u, k] - c_im
                    begin = starts[u] + n + k
                    part_re, part_im = x_re[u, begin : begin + length], x_im[u, begin : begin + length]
                    for i in range(length):
                        at_re[i] += c_re * part_re[i] - c_im * part_im[i]
                        at_im[i] += c_re * part_im[i] + c_im * part_re[i]
                        slope_re[i] += d_re * part_re[i] - d_im * part_im[i]
                        slope_im[i] += d_re * part_im[i] + d_im * part_re[i]
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
