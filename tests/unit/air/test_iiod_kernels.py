"""Kernels of virtual Plutos against their NumPy twins."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.air.iiod._kernels import adc, convolve, dac


def test_dac_drops_the_bits_it_lacks_and_counts_what_stands_at_an_end(rng):
    codes = rng.integers(-32_768, 32_768, (1000, 4)).astype(np.int16)
    codes[:3, 2:] = [[32_767, 0], [0, -32_768], [32_751, -32_767]]  # the last: one step inside on I, at the end on Q
    x = np.zeros(1000, dtype=np.complex64)
    energy, clipped = dac(codes, 1, ~15, np.float32(2**-14), x)
    kept = (codes[:, 2:].astype(np.int64) >> 4) << 4
    assert np.array_equal(x, (kept @ [1, 1j] / 2**14).astype(np.complex64))
    assert energy == np.sum(kept**2)
    assert clipped == np.sum((kept >= 32_752).any(axis=1) | (kept == -32_768).any(axis=1))


def test_adc_rounds_and_holds_to_its_range(rng):
    y = (rng.standard_normal((5000, 2)) @ [0.6, 0.6j]).astype(np.complex64)
    codes = np.zeros((5000, 4), dtype=np.int16)
    before, energy, clipped = adc(y, np.float32(2048), np.float32(2048), 0, codes)
    wanted = np.clip(np.rint(np.stack([y.real, y.imag], axis=1) * np.float32(2048)), -2048, 2047).astype(np.int64)
    assert np.array_equal(codes[:, :2], wanted)
    assert not codes[:, 2:].any()
    assert energy == pytest.approx(np.sum(wanted**2), rel=1e-5)
    assert before == pytest.approx(2048**2 * np.vdot(y, y).real, rel=1e-5)
    assert clipped == np.sum(((wanted == 2047) | (wanted == -2048)).any(axis=1))


@pytest.mark.parametrize("taps, count", [(16, 5), (64, 2000), (128, 513)])
def test_convolve_is_a_convolution(taps: int, count: int, rng):
    """To 1e-6 of its largest value, and however the samples are cut."""
    h = rng.standard_normal(taps).astype(np.float32)
    x = (rng.standard_normal((count + taps - 1, 2)) @ [1, 1j]).astype(np.complex64)
    y = np.zeros(count, dtype=np.complex64)
    convolve(x.view(np.float32), h, y.view(np.float32))
    wanted = np.convolve(x.astype(np.complex128), h, mode="valid")
    assert np.max(np.abs(y - wanted)) < 1e-6 * np.max(np.abs(wanted)) + 1e-6
    parts = np.zeros_like(y)
    for begin, end in ((0, count // 3), (count // 3, count)):
        convolve(x[begin : end + taps - 1].view(np.float32), h, parts[begin:end].view(np.float32))
    assert np.array_equal(parts, y)
