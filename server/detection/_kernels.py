"""Numba kernels of linear detection: planes of arrays in, arrays filled in place. Shapes are checked by the caller.

All arrays are planes with resource elements last, so that neighbouring elements lie in neighbouring SIMD lanes:
``y[N, R]``, ``h[N, K, R]``, ``x_hat[K, R]`` complex64 and ``no[R]``, ``no_eff[K, R]`` float32, C order.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 64  # resource elements at once in `two_by_two`: its work of 19 planes stays within 5 KiB of L1
LANES = 16  # resource elements side by side in `many`: the work of 4 x 4 in float64 stays within 16 KiB of L1

FLOOR_2X2 = np.float32(1e-10)  # of the channel's power: smallest noise in float32, far below what it can resolve
FLOOR_MANY = 1e-12  # of the channel's power: keeps Cholesky's pivots positive in float64
NOTHING = 1e-12  # share of a user's symbol left in its own estimate, below which the user counts as absent
TINY = np.float32(1e-35)  # a denominator below this would overflow float32
HUGE = np.float32(1e18)  # the square of what is less stays within float32


@njit(cache=True, nogil=True, error_model="numpy")
def two_by_two(y, h, no, x_hat, no_eff):
    """Two users, two antennas: `server.detection.lmmse.lmmse` in closed form with the determinant.

    The determinant cancels nothing: safe in float32. Each block goes through one work array of constant shape: only so
    does the compiler see that nothing overlaps, and uses SIMD.

    Parameters
    ----------
    y : [2, R] complex64
        Received resource elements, antennas first.
    h : [2, 2, R] complex64
        Channel; antenna, user.
    no : [R] float32
        Noise variance of a complex sample, linear.
    x_hat : [2, R] complex64
        Written: unbiased estimates.
    no_eff : [2, R] float32
        Written: variance of their errors.
    """
    w = np.zeros((19, BLOCK), np.float32)
    zero, one, inf = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
    for first in range(0, y.shape[1], BLOCK):
        count = min(BLOCK, y.shape[1] - first)
        split(h[0, 0], first, count, w[0], w[1])  # user 0 at antenna 0, antenna 1
        split(h[1, 0], first, count, w[2], w[3])
        split(h[0, 1], first, count, w[4], w[5])  # user 1
        split(h[1, 1], first, count, w[6], w[7])
        split(y[0], first, count, w[8], w[9])
        split(y[1], first, count, w[10], w[11])
        for i in range(count):
            w[12, i] = no[first + i]
        for i in range(BLOCK):
            ar, ai, br, bi = w[0, i], w[1, i], w[2, i], w[3, i]
            cr, ci, dr, di = w[4, i], w[5, i], w[6, i], w[7, i]
            ur, ui, vr, vi = w[8, i], w[9, i], w[10, i], w[11, i]
            power0 = ar * ar + ai * ai + br * br + bi * bi
            power1 = cr * cr + ci * ci + dr * dr + di * di
            floor = FLOOR_2X2 * (power0 + power1)
            n = w[12, i] if w[12, i] > floor else floor
            det_r = ar * dr - ai * di - br * cr + bi * ci
            det_i = ar * di + ai * dr - br * ci - bi * cr
            det2 = det_r * det_r + det_i * det_i
            # Matched filters h_k^H y, and zero forcing times the determinant.
            m0r = ar * ur + ai * ui + br * vr + bi * vi
            m0i = ar * ui - ai * ur + br * vi - bi * vr
            m1r = cr * ur + ci * ui + dr * vr + di * vi
            m1i = cr * ui - ci * ur + dr * vi - di * vr
            z0r = ur * dr - ui * di - vr * cr + vi * ci
            z0i = ur * di + ui * dr - vr * ci - vi * cr
            z1r = ar * vr - ai * vi - br * ur + bi * ui
            z1i = ar * vi + ai * vr - br * ui - bi * ur
            den0 = n * power0 + det2
            den1 = n * power1 + det2
            inv0 = one / den0
            inv1 = one / den1
            ok0 = den0 > TINY and den0 < inf
            ok1 = den1 > TINY and den1 < inf
            w[13, i] = (n * m0r + det_r * z0r + det_i * z0i) * inv0 if ok0 else zero
            w[14, i] = (n * m0i + det_r * z0i - det_i * z0r) * inv0 if ok0 else zero
            w[15, i] = (n * m1r + det_r * z1r + det_i * z1i) * inv1 if ok1 else zero
            w[16, i] = (n * m1i + det_r * z1i - det_i * z1r) * inv1 if ok1 else zero
            # The square of a huge n would overflow, its product with the reciprocal does not.
            w[17, i] = (n * (n + power1) * inv0 if n < HUGE else n * inv0 * (n + power1)) if ok0 else inf
            w[18, i] = (n * (n + power0) * inv1 if n < HUGE else n * inv1 * (n + power0)) if ok1 else inf
        join(w[13], w[14], x_hat[0], first, count)
        join(w[15], w[16], x_hat[1], first, count)
        for i in range(count):
            no_eff[0, first + i] = w[17, i]
        for i in range(count):
            no_eff[1, first + i] = w[18, i]


@njit(cache=True, nogil=True, error_model="numpy")
def split(z, first, count, re, im):
    """Complex numbers from ``first`` on into real and imaginary parts.

    Parameters
    ----------
    z : [R] complex64
    first, count : int
    re, im : [>= count] float32
        Written.
    """
    for i in range(count):
        re[i] = z[first + i].real
        im[i] = z[first + i].imag


@njit(cache=True, nogil=True, error_model="numpy")
def join(re, im, z, first, count):
    """Undo `split`.

    Parameters
    ----------
    re, im : [>= count] float32
    z : [R] complex64
        Written from ``first`` on.
    first, count : int
    """
    for i in range(count):
        z[first + i] = complex(re[i], im[i])


@njit(cache=True, nogil=True, error_model="numpy")
def many(y, h, no, x_hat, no_eff):
    """K users, N antennas: Cholesky of the smaller of :math:`H^HH + N_0I` and :math:`HH^H + N_0I`, in lanes.

    Parameters
    ----------
    y : [N, R] complex64
        Received resource elements, antennas first.
    h : [N, K, R] complex64
        Channel.
    no : [R] float32
        Noise variance of a complex sample, linear.
    x_hat : [K, R] complex64
        Written: unbiased estimates.
    no_eff : [K, R] float32
        Written: variance of their errors.
    """
    antennas, users, count = h.shape
    small = users <= antennas
    size = users if small else antennas
    hr = np.zeros((antennas, users, LANES))
    hi = np.zeros((antennas, users, LANES))
    yr = np.zeros((antennas, LANES))
    yi = np.zeros((antennas, LANES))
    n = np.zeros(LANES)
    lr = np.zeros((size, size, LANES))
    li = np.zeros((size, size, LANES))
    wr = np.zeros((size, users + 1, LANES))  # L^-1 times [right-hand sides | last column: of the symbols]
    wi = np.zeros((size, users + 1, LANES))
    for first in range(0, count, LANES):
        lanes = min(LANES, count - first)
        load(y, h, no, first, lanes, hr, hi, yr, yi, n)
        if small:
            gram_of_users(hr, hi, yr, yi, n, lr, li, wr, wi)
        else:
            gram_of_antennas(hr, hi, yr, yi, n, lr, li, wr, wi)
        cholesky(lr, li)
        forward(lr, li, wr, wi)
        for k in range(users):
            xr = np.zeros(LANES)
            xi = np.zeros(LANES)
            d = np.zeros(LANES)
            for i in range(size):
                for lane in range(LANES):
                    xr[lane] += wr[i, k, lane] * wr[i, users, lane] + wi[i, k, lane] * wi[i, users, lane]
                    xi[lane] += wr[i, k, lane] * wi[i, users, lane] - wi[i, k, lane] * wr[i, users, lane]
                    d[lane] += wr[i, k, lane] ** 2 + wi[i, k, lane] ** 2
            for lane in range(lanes):
                # The part of x_k in its own biased estimate; d is [(H^HH + N0 I)^-1]_kk or h_k^H (HH^H + N0 I)^-1 h_k.
                lost = n[lane] * d[lane] if small else 1.0 - d[lane]
                kept = 1.0 - lost
                if kept > NOTHING:
                    x_hat[k, first + lane] = complex(xr[lane] / kept, xi[lane] / kept)
                    no_eff[k, first + lane] = max(lost, 0.0) / kept
                else:
                    x_hat[k, first + lane] = 0.0
                    no_eff[k, first + lane] = np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def load(y, h, no, first, lanes, hr, hi, yr, yi, n):
    """One block of resource elements into lanes; lanes past the end see no channel and unit noise.

    Parameters
    ----------
    y, h, no
        As in `many`.
    first, lanes : int
        Block's first resource element, and how many of its lanes are used.
    hr, hi : [N, K, LANES] float64
        Written: the channel.
    yr, yi : [N, LANES] float64
        Written: what was received.
    n : [LANES] float64
        Written: noise variance, no less than ``FLOOR_MANY`` of the channel's power.
    """
    antennas, users, _ = h.shape
    for lane in range(LANES):
        n[lane] = no[first + lane] if lane < lanes else 1.0
    power = np.zeros(LANES)
    for a in range(antennas):
        for lane in range(LANES):
            yr[a, lane] = y[a, first + lane].real if lane < lanes else 0.0
            yi[a, lane] = y[a, first + lane].imag if lane < lanes else 0.0
        for k in range(users):
            for lane in range(LANES):
                hr[a, k, lane] = h[a, k, first + lane].real if lane < lanes else 0.0
                hi[a, k, lane] = h[a, k, first + lane].imag if lane < lanes else 0.0
            for lane in range(LANES):
                power[lane] += hr[a, k, lane] ** 2 + hi[a, k, lane] ** 2
    for lane in range(LANES):
        n[lane] = max(n[lane], FLOOR_MANY * power[lane] + 1e-60)


@njit(cache=True, nogil=True, error_model="numpy")
def gram_of_users(hr, hi, yr, yi, n, lr, li, wr, wi):
    """Lower half of :math:`H^HH + N_0I`; right-hand sides :math:`I` and :math:`H^Hy`.

    Parameters
    ----------
    hr, hi : [N, K, LANES] float64
    yr, yi : [N, LANES] float64
    n : [LANES] float64
        Noise variance.
    lr, li : [K, K, LANES] float64
        Written: the lower half.
    wr, wi : [K, K + 1, LANES] float64
        Written: the right-hand sides, that of the symbols last.
    """
    antennas, users, _ = hr.shape
    lr[:] = 0.0
    li[:] = 0.0
    wr[:] = 0.0
    wi[:] = 0.0
    for i in range(users):
        for a in range(antennas):
            for j in range(i + 1):
                for lane in range(LANES):
                    lr[i, j, lane] += hr[a, i, lane] * hr[a, j, lane] + hi[a, i, lane] * hi[a, j, lane]
                    li[i, j, lane] += hr[a, i, lane] * hi[a, j, lane] - hi[a, i, lane] * hr[a, j, lane]
            for lane in range(LANES):
                wr[i, users, lane] += hr[a, i, lane] * yr[a, lane] + hi[a, i, lane] * yi[a, lane]
                wi[i, users, lane] += hr[a, i, lane] * yi[a, lane] - hi[a, i, lane] * yr[a, lane]
        for lane in range(LANES):
            lr[i, i, lane] += n[lane]
            wr[i, i, lane] = 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def gram_of_antennas(hr, hi, yr, yi, n, lr, li, wr, wi):
    """Lower half of :math:`HH^H + N_0I`; right-hand sides :math:`H` and :math:`y`.

    Parameters
    ----------
    hr, hi : [N, K, LANES] float64
    yr, yi : [N, LANES] float64
    n : [LANES] float64
        Noise variance.
    lr, li : [N, N, LANES] float64
        Written: the lower half.
    wr, wi : [N, K + 1, LANES] float64
        Written: the right-hand sides, that of the symbols last.
    """
    antennas, users, _ = hr.shape
    lr[:] = 0.0
    li[:] = 0.0
    for a in range(antennas):
        for k in range(users):
            for b in range(a + 1):
                for lane in range(LANES):
                    lr[a, b, lane] += hr[a, k, lane] * hr[b, k, lane] + hi[a, k, lane] * hi[b, k, lane]
                    li[a, b, lane] += hi[a, k, lane] * hr[b, k, lane] - hr[a, k, lane] * hi[b, k, lane]
            for lane in range(LANES):
                wr[a, k, lane] = hr[a, k, lane]
                wi[a, k, lane] = hi[a, k, lane]
        for lane in range(LANES):
            lr[a, a, lane] += n[lane]
            wr[a, users, lane] = yr[a, lane]
            wi[a, users, lane] = yi[a, lane]


@njit(cache=True, nogil=True, error_model="numpy")
def cholesky(lr, li):
    """Lower factor in place; its diagonal holds the reciprocals.

    Parameters
    ----------
    lr, li : [n, n, LANES] float64
        Lower half of a Hermitian positive definite matrix; replaced.
    """
    size = lr.shape[0]
    for j in range(size):
        for p in range(j):
            for i in range(j, size):
                for lane in range(LANES):
                    lr[i, j, lane] -= lr[i, p, lane] * lr[j, p, lane] + li[i, p, lane] * li[j, p, lane]
                    li[i, j, lane] -= li[i, p, lane] * lr[j, p, lane] - lr[i, p, lane] * li[j, p, lane]
        for lane in range(LANES):
            lr[j, j, lane] = 1.0 / np.sqrt(max(lr[j, j, lane], 1e-60))
            li[j, j, lane] = 0.0
        for i in range(j + 1, size):
            for lane in range(LANES):
                lr[i, j, lane] *= lr[j, j, lane]
                li[i, j, lane] *= lr[j, j, lane]


@njit(cache=True, nogil=True, error_model="numpy")
def forward(lr, li, wr, wi):
    """Solve L W = W in place, with the reciprocal diagonal of `cholesky`.

    Parameters
    ----------
    lr, li : [n, n, LANES] float64
        From `cholesky`.
    wr, wi : [n, columns, LANES] float64
        Right-hand sides; replaced by the solutions.
    """
    size, columns, _ = wr.shape
    for c in range(columns):
        for i in range(size):
            for p in range(i):
                for lane in range(LANES):
                    wr[i, c, lane] -= lr[i, p, lane] * wr[p, c, lane] - li[i, p, lane] * wi[p, c, lane]
                    wi[i, c, lane] -= lr[i, p, lane] * wi[p, c, lane] + li[i, p, lane] * wr[p, c, lane]
            for lane in range(LANES):
                wr[i, c, lane] *= lr[i, i, lane]
                wi[i, c, lane] *= lr[i, i, lane]
