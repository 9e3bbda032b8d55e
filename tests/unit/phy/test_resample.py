"""Resampling: tones come out as tones of the other clock, whatever the pieces, for as long as one likes."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.errors import ShapeError
from testbed.phy._resample_kernels import interpolate_and_turn
from testbed.phy.resample import HALF, Resampler, filters


def in_pieces(resampler: Resampler, x: np.ndarray, step: float, turn: float, rng) -> np.ndarray:
    parts, begin = [], 0
    while begin < len(x):
        size = int(rng.integers(0, 7000))
        parts.append(resampler.push(x[begin : begin + size], step, turn))
        begin += size
    return np.concatenate(parts)


@pytest.mark.parametrize("frequency", [-0.28, -0.1, 0.003, 0.28])
def test_a_tone_is_the_closed_form_at_the_other_clock(frequency: float, rng):
    """Within the band of a waveform, 72 of 128 carriers: error below -80 dB at every sample, 40 ppm apart."""
    count, step, turn = 300_000, 1 / (1 + 40e-6), -0.0123
    x = np.exp(2j * np.pi * frequency * np.arange(count)).astype(np.complex64)
    y = in_pieces(Resampler(), x, step, turn, rng)
    n = np.arange(len(y))
    assert len(y) == pytest.approx((count - HALF) / step, abs=1)
    expected = np.exp(2j * np.pi * (frequency * n * step + turn * n))
    assert np.abs(y - expected)[2 * HALF :].max() < 1e-4


def test_position_and_phase_hold_over_seven_million_samples():
    """Silence in 400 pushes, then a tone: it stands where the closed form in long double says."""
    resampler, step, turn = Resampler(), 1 / (1 + 19.3e-6), 0.25 + 1 / 3
    made, taken = 0, 0
    for _ in range(400):
        made += len(resampler.push(np.zeros(17_280, np.complex64), step, turn))
        taken += 17_280
    x = np.exp(2j * np.pi * 0.2 * np.arange(taken, taken + 2000)).astype(np.complex64)
    y = resampler.push(x, step, turn)
    n = np.arange(made, made + len(y), dtype=np.longdouble)
    phase = np.longdouble(0.2) * n / np.longdouble(1 + 19.3e-6) + np.longdouble(turn) * n
    expected = np.exp(2j * np.pi * (phase % 1).astype(float))
    assert np.abs(y - expected)[4 * HALF :].max() < 2e-4


def test_a_delay_moves_what_follows_by_a_fraction():
    """A tone behind silence, 0.3 samples later than without: its phase says so, and delays add up over a sample."""
    tone = np.exp(2j * np.pi * 0.1 * np.arange(400)).astype(np.complex64)
    silence = np.zeros(100, np.complex64)
    moved = Resampler()
    parts = [moved.push(silence, 1.0)]
    for _ in range(5):
        moved.delay(0.3)
        parts.append(moved.push(silence, 1.0))
    y = np.concatenate([*parts, moved.push(tone, 1.0)])
    n = np.arange(len(y))[650:900]
    np.testing.assert_allclose(y[n], np.exp(2j * np.pi * 0.1 * (n - 600 - 1.5)), atol=2e-4)


def test_the_kernel_is_its_numpy_twin(rng):
    x = (rng.standard_normal((200, 2)) @ [1, 1j]).astype(np.complex64)
    y = np.empty(120, np.complex64)
    interpolate_and_turn(x, 20.37, 1.00004, filters(), 0.1, -0.02, y)
    at = 20.37 + 1.00004 * np.arange(120)
    whole, place = np.floor(at).astype(int), at % 1 * (len(filters()) - 1)
    row = np.minimum(place.astype(int), len(filters()) - 2)
    taps = filters()[row] + (place - row)[:, None] * (filters()[row + 1] - filters()[row])
    twin = np.sum(taps * x[whole[:, None] - HALF + 1 + np.arange(2 * HALF)], axis=1)
    np.testing.assert_allclose(y, twin * np.exp(2j * np.pi * (0.1 - 0.02 * np.arange(120))), atol=3e-6)


def test_what_is_not_a_stream_or_a_clock_is_refused():
    with pytest.raises(ShapeError):
        Resampler().push(np.zeros((1, 3), np.complex64), 1.0)
    with pytest.raises(ValueError, match=r"0\.5\.\.2"):
        Resampler().push(np.zeros(3, np.complex64), 2.5)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Resampler().delay(-0.1)
