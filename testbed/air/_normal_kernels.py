"""Numba kernel of normal variates. Its twin is NumPy's own generator: PCG64 and float32 ``standard_normal``.

NumPy calls its bit generator through a pointer for each variate; here both are one loop, and the bits are the same.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

# PCG_DEFAULT_MULTIPLIER_128, O'Neill 2014
MULTIPLIER_HIGH, MULTIPLIER_LOW = np.uint64(2549297995355413924), np.uint64(4865540595714422341)
TAIL = 3.6541528853610088  # where the tail of the ziggurat of 256 layers begins
AREA = 0.00492867323399  # of each layer
MANTISSA = 1 << 23
SCALE_24 = np.float32(1.0 / 16777216.0)


def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the ziggurat: acceptance bounds [256] uint32, widths [256] float32 and heights [256] float32."""
    bounds, widths, heights = np.zeros(256, np.uint32), np.zeros(256), np.zeros(256)
    right = TAIL
    widths[255], heights[255] = right / MANTISSA, math.exp(-0.5 * right * right)
    bounds[0] = round(right * heights[255] / AREA * MANTISSA)
    widths[0], heights[0] = AREA / heights[255] / MANTISSA, 1.0
    for i in range(254, 0, -1):
        x = math.sqrt(-2.0 * math.log(AREA / right + heights[i + 1]))
        bounds[i + 1] = round(x / right * MANTISSA)
        widths[i], heights[i] = x / MANTISSA, math.exp(-0.5 * x * x)
        right = x
    return bounds, widths.astype(np.float32), heights.astype(np.float32)


BOUNDS, WIDTHS, HEIGHTS = _tables()


def _define_high_product(typing_context: Any, a: Any, b: Any) -> Any:
    """The upper 64 bits of a product of two uint64."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = type(arguments[0].type)(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, wide(64)), arguments[0].type)

    return types.uint64(types.uint64, types.uint64), codegen


_high_product: Any = intrinsic(_define_high_product)


@numba.njit(inline="always")
def _step(high: np.uint64, low: np.uint64, add_high: np.uint64, add_low: np.uint64) -> Any:
    """The next state of PCG64."""
    next_low = low * MULTIPLIER_LOW
    next_high = _high_product(low, MULTIPLIER_LOW) + high * MULTIPLIER_LOW + low * MULTIPLIER_HIGH + add_high
    total = next_low + add_low
    if total < add_low:
        next_high += np.uint64(1)
    return next_high, total


@numba.njit(inline="always")
def _output(high: np.uint64, low: np.uint64) -> np.uint64:
    """XSL RR: the state's halves folded together and turned."""
    folded, turn = high ^ low, high >> np.uint64(58)
    return (folded >> turn) | (folded << ((np.uint64(64) - turn) & np.uint64(63)))


@numba.njit(cache=True, nogil=True)
def _next_bits(state: np.ndarray) -> np.uint32:
    """32 bits; of each output the lower half first. ``state``: high, low, increment high and low, half left, half."""
    if state[4]:
        state[4] = np.uint64(0)
        return np.uint32(state[5])
    state[0], state[1] = _step(state[0], state[1], state[2], state[3])
    out = _output(state[0], state[1])
    state[4], state[5] = np.uint64(1), out >> np.uint64(32)
    return np.uint32(out & np.uint64(0xFFFFFFFF))


@numba.njit(cache=True, nogil=True)
def _uniform(state: np.ndarray) -> np.float32:
    """In [0, 1), of 24 bits."""
    return np.float32(np.float32(_next_bits(state) >> np.uint32(8)) * SCALE_24)


@numba.njit(cache=True, nogil=True)
def _normal(state: np.ndarray, bounds: np.ndarray, widths: np.ndarray, heights: np.ndarray) -> np.float32:
    """One variate, by the ziggurat with all its cases."""
    while True:
        bits = _next_bits(state)
        layer = bits & np.uint32(0xFF)
        place = (bits >> np.uint32(9)) & np.uint32(0x7FFFFF)
        x = np.float32(np.float32(place) * widths[layer])
        if bits & np.uint32(0x100):
            x = -x
        if place < bounds[layer]:
            return x
        if layer == 0:
            while True:
                beyond = np.float32(np.float32(-1.0 / TAIL) * np.float32(math.log1p(np.float32(-_uniform(state)))))
                rest = np.float32(-math.log1p(np.float32(-_uniform(state))))
                if rest + rest > beyond * beyond:
                    far = np.float32(np.float32(TAIL) + beyond)
                    return -far if (place >> np.uint32(8)) & np.uint32(1) else far
        height = np.float32((heights[layer - 1] - heights[layer]) * _uniform(state)) + heights[layer]
        if np.float32(height) < math.exp(-0.5 * float(x) * float(x)):
            return x


@numba.njit(cache=True, nogil=True)
def fill_normal(
    state: np.ndarray,
    bounds: np.ndarray,
    widths: np.ndarray,
    heights: np.ndarray,
    scale: np.float32,
    out: np.ndarray,
) -> None:
    r"""Write float32 normal variates of mean 0 and deviation :math:`s`.

    Parameters
    ----------
    state : [6] uint64
        Of PCG64: upper and lower half of its state and of its increment, then 0, 0; written.
    bounds : [256] uint32
    widths, heights : [256] float32
        Of the ziggurat.
    scale : float32
        :math:`s`.
    out : [n] float32
        Written; the bits of ``Generator(PCG64).standard_normal(n, float32) * s``.

    References
    ----------
    J. A. Doornik, "An improved ziggurat method to generate normal random samples", University of Oxford, 2005.
    """
    high, low, add_high, add_low = state[0], state[1], state[2], state[3]
    n, count = 0, len(out)
    while n < count:
        if n + 2 <= count:
            next_high, next_low = _step(high, low, add_high, add_low)
            bits = _output(next_high, next_low)
            one, two = np.uint32(bits & np.uint64(0xFFFFFFFF)), np.uint32(bits >> np.uint64(32))
            layer_one, layer_two = one & np.uint32(0xFF), two & np.uint32(0xFF)
            place_one, place_two = one >> np.uint32(9), two >> np.uint32(9)
            if place_one < bounds[layer_one] and place_two < bounds[layer_two]:  # 98 of 100
                x = np.float32(place_one) * widths[layer_one]
                y = np.float32(place_two) * widths[layer_two]
                out[n] = scale * (-x if one & np.uint32(0x100) else x)
                out[n + 1] = scale * (-y if two & np.uint32(0x100) else y)
                high, low = next_high, next_low
                n += 2
                continue
        state[0], state[1] = high, low
        while n < count:
            out[n] = scale * _normal(state, bounds, widths, heights)
            n += 1
            if not state[4]:  # no half of an output is left: the fast way goes on
                break
        high, low = state[0], state[1]
