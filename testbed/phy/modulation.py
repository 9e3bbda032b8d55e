"""QPSK: bits to symbols and back, hard or soft."""

from __future__ import annotations

import numpy as np

from testbed.errors import ShapeError

AMPLITUDE = np.float32(np.sqrt(0.5))
NO_FLOOR = np.float32(1e-9)  # a noiseless element is certain enough at 90 dB, and its LLR stays finite


def qpsk(bits: np.ndarray) -> np.ndarray:
    r"""Gray-mapped QPSK of unit energy, :math:`x = \sqrt{1/2}\,[(1 - 2 b_0) + j (1 - 2 b_1)]`.

    Parameters
    ----------
    bits : [..., 2 n] of 0 and 1

    Returns
    -------
    [..., n] complex64

    Raises
    ------
    ShapeError
        If the number of bits is odd.

    References
    ----------
    3GPP TS 38.211, 5.1.3.
    """
    bits = np.asarray(bits)
    if bits.shape[-1] % 2:
        raise ShapeError(f"bits {bits.shape}: QPSK takes two a symbol")
    levels = AMPLITUDE * (1 - 2 * bits.astype(np.float32))
    return np.ascontiguousarray(levels).view(np.complex64)


def qpsk_llr(symbols: np.ndarray, no_eff: np.ndarray | float) -> np.ndarray:
    r"""Log-likelihood ratios :math:`\ln P(b = 1) / P(b = 0)` of unbiased symbols: positive means bit 1.

    With :math:`\hat x = x + e` and :math:`E|e|^2 = N`, :math:`L_0 = -2\sqrt 2\, \Re(\hat x) / N`, and likewise for the
    imaginary part. An infinite ``no_eff`` (a lost element) gives 0.

    Parameters
    ----------
    symbols : [..., n] complex64
    no_eff : float or [..., n] float32
        Variance of the complex error.

    Returns
    -------
    [..., 2 n] float32
    """
    symbols = np.ascontiguousarray(symbols, np.complex64)
    no_eff = np.maximum(np.asarray(no_eff, np.float32), NO_FLOOR)
    weight = np.broadcast_to(np.float32(-2 * np.sqrt(2)) / no_eff, symbols.shape)
    return symbols.view(np.float32) * np.repeat(weight, 2, axis=-1)


def qpsk_hard(symbols: np.ndarray) -> np.ndarray:
    """Nearest constellation point: [..., n] complex -> [..., 2 n] uint8."""
    return (np.ascontiguousarray(symbols, np.complex64).view(np.float32) < 0).astype(np.uint8)
