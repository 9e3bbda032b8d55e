"""The Numba kernel of noise. Its NumPy twin is in tests/unit/air/test_noise.py. Loops are apart so that each fills
vector registers."""

from __future__ import annotations

import numba
import numpy as np

RUN = 256
LN_2 = np.float32(0.69314718)
ROOT_HALF = np.float32(1.41421356)
QUARTER = np.float32(np.pi / 2 / 2**30)  # radians of one step within a quarter turn


@numba.njit(cache=True, nogil=True)
def gaussian(key: np.uint64, first_sample: int, y: np.ndarray) -> None:
    r"""Write :math:`\sqrt{-\ln u_1} (\cos, \sin)(2\pi u_2)` for each sample, with bits of SplitMix64 of its index.

    The logarithm is Cephes' polynomial over :math:`[\sqrt{1/2}, \sqrt{2})`, the angle a quarter turn about 0 and one of
    four quarters; both right to float32's own rounding.

    Parameters
    ----------
    key : uint64
    first_sample : int
    y : [2 n] float32
        Real and imaginary parts in turn.
    """
    state = np.empty(RUN, dtype=np.uint64)
    upper, angle = np.empty(RUN, dtype=np.int32), np.empty(RUN, dtype=np.uint32)
    value, radius = np.empty(RUN, dtype=np.float32), np.empty(RUN, dtype=np.float32)
    bits = value.view(np.int32)
    done, count = 0, len(y) // 2
    while done < count:
        length = min(RUN, count - done)
        for i in range(length):
            state[i] = np.uint64(first_sample + done + i)
        for i in range(length):
            z = state[i] * np.uint64(0x9E3779B97F4A7C15) + key
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state[i] = z ^ (z >> np.uint64(31))
        for i in range(length):
            upper[i] = np.int32(state[i] >> np.uint64(33))
            angle[i] = np.uint32(state[i])
        for i in range(length):
            value[i] = np.float32(upper[i]) + np.float32(0.5)
        for i in range(length):
            exponent = (bits[i] >> 23) - 127
            bits[i] = (bits[i] & 0x7FFFFF) | 0x3F800000
            mantissa = value[i]
            halved = mantissa > ROOT_HALF
            mantissa = mantissa * np.float32(0.5) if halved else mantissa
            power = np.float32(exponent + 1 if halved else exponent) - np.float32(31)
            f = mantissa - np.float32(1)
            p = np.float32(7.0376836292e-2)
            p = p * f + np.float32(-1.1514610310e-1)
            p = p * f + np.float32(1.1676998740e-1)
            p = p * f + np.float32(-1.2420140846e-1)
            p = p * f + np.float32(1.4249322787e-1)
            p = p * f + np.float32(-1.6668057665e-1)
            p = p * f + np.float32(2.0000714765e-1)
            p = p * f + np.float32(-2.4999993993e-1)
            p = p * f + np.float32(3.3333331174e-1)
            ff = f * f
            logarithm = f + (p * f * ff - np.float32(0.5) * ff) + power * LN_2
            radius[i] = np.sqrt(max(-logarithm, np.float32(0)))
        for i in range(length):
            quarter = angle[i] >> np.uint32(30)
            t = (np.float32(np.int32(angle[i] & np.uint32(0x3FFFFFFF))) - np.float32(2**29)) * QUARTER
            tt = t * t
            sine = np.float32(8.3321608736e-3) + tt * np.float32(-1.9515295891e-4)
            sine = t + t * tt * (np.float32(-1.6666654611e-1) + tt * sine)
            cosine = np.float32(-1.388731625493765e-3) + tt * np.float32(2.443315711809948e-5)
            cosine = np.float32(1) - np.float32(0.5) * tt + tt * tt * (np.float32(4.166664568298827e-2) + tt * cosine)
            odd = (quarter & np.uint32(1)) != 0
            re = sine if odd else cosine
            im = cosine if odd else sine
            re = -re if ((quarter + np.uint32(1)) & np.uint32(2)) != 0 else re
            im = -im if (quarter & np.uint32(2)) != 0 else im
            y[2 * (done + i)] = re * radius[i]
            y[2 * (done + i) + 1] = im * radius[i]
        done += length
