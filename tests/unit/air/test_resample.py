"""Resampling against tones in closed form, against a NumPy twin of the kernels, and for any cut of the stream."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.air.oscillator import Clock, Reference
from testbed.air.resample import HALF, LATENCY, STEP, Resampler, filters
from testbed.config import Oscillator
from testbed.errors import ShapeError

RATE = 1_920_000
FASTEST = Reference.of(Oscillator(ppm=100.0, drift_ppm_per_min=10.0), 0, correction_ppm=100.0)


def tone(frequency: float, whole: np.ndarray, part: np.ndarray | float = 0.0) -> np.ndarray:
    return np.exp(2j * np.pi * (frequency * whole % 1.0 + frequency * part))


@pytest.mark.parametrize("reference", [Reference(0, 20e-6, 0.0), Reference(0, -41e-6, 1e-9), FASTEST])
@pytest.mark.parametrize("frequency", [-0.4, 0.03, 0.25, 0.4])
def test_a_tone_keeps_its_shape(reference, frequency):
    """At every sample within -72 dB, up to 0.8 of the Nyquist frequency and 200 ppm."""
    clock = Clock(reference, RATE)
    resampler = Resampler(clock.own, 1)
    resampler.push(tone(frequency, np.arange(60_000))[None])
    n = np.arange(59_900)
    y = resampler.pull(len(n))[0]
    whole, part = clock.own(n)
    error = np.abs(y - tone(frequency, whole - LATENCY, part))[100:]
    assert 20 * np.log10(error.max()) < -72


@pytest.mark.parametrize(("input_hz", "output_hz"), [(RATE, 2 * RATE), (RATE, 2_500_000), (3 * RATE, RATE)])
def test_a_tone_between_rates(input_hz, output_hz):
    """A tone that both rates hold, up to 0.4 of the lower: within -72 dB at every sample."""
    clock = Clock(Reference(0, 15e-6, 0.0), input_hz)
    resampler = Resampler(lambda n: clock.own(n, output_hz), 1, steady=False)
    frequency = 0.4 * min(1.0, output_hz / input_hz)
    resampler.push(tone(frequency, np.arange(30_000))[None])
    n = np.arange(int(29_900 * output_hz / input_hz))
    y = resampler.pull(len(n))[0]
    whole, part = clock.own(n, output_hz)
    error = np.abs(y - tone(frequency, whole - LATENCY, part))[200:]
    assert 20 * np.log10(error.max()) < -72


def test_an_ideal_clock_changes_nothing(rng):
    """The same samples bit for bit, later by the latency: the filter at a whole position is a single 1."""
    x = rng.standard_normal((2, 1000, 2), dtype=np.float32).view(np.complex64)[..., 0]
    resampler = Resampler(Clock(Reference(0, 0.0, 0.0), RATE).own, 2)
    resampler.push(x)
    assert np.array_equal(resampler.pull(1000)[:, LATENCY:], x[:, :-LATENCY])


@pytest.mark.parametrize("steady", [True, False])
def test_kernels_against_their_twin(steady, rng):
    """The sum written with NumPy in float64; steady filters interpolated between anchors, others at each position."""
    clock = Clock(Reference(0, 180e-6, 0.0), RATE)
    x = rng.standard_normal((2, 3000, 2)).view(np.complex128)[..., 0]
    first, count = 37, 2800
    resampler = Resampler(clock.own, 2, first_output=first, steady=steady)
    resampler.push(x)
    y = resampler.pull(count)
    n = first + np.arange(count)
    if steady:
        anchor = n // STEP * STEP
        whole, part = clock.own(anchor)
        next_whole, next_part = clock.own(anchor + STEP)
        alpha = ((n - anchor) / STEP)[:, None]
        h = (1 - alpha) * filters(part) + alpha * filters(next_whole - whole - STEP + next_part)
        begins = whole - LATENCY - HALF + n - anchor
    else:
        whole, part = clock.own(n)
        h, begins = filters(part), whole - LATENCY - HALF
    padded = np.pad(x.astype(np.complex64), ((0, 0), (100, 0)))
    windows = padded[:, 100 + begins[:, None] + np.arange(h.shape[1])]
    assert np.abs(y - (windows * h).sum(axis=-1)).max() < 1e-5


@pytest.mark.parametrize("steady", [True, False])
def test_blocks_do_not_matter(steady, rng):
    """Bit for bit, for any cut of input and output."""
    clock = Clock(Reference(0, -60e-6, 0.0), RATE)
    x = rng.standard_normal((1, 9000, 2), dtype=np.float32).view(np.complex64)[..., 0]
    whole = Resampler(clock.own, 1, steady=steady)
    whole.push(x)
    expected = whole.pull(8900)
    cut = Resampler(clock.own, 1, steady=steady)
    got, pushed = [], 0
    for end in (1, 2, 70, 71, 1000, 4096, 4097, 8900):
        cut.push(x[:, pushed : end + 10])
        pushed = end + 10
        got.append(cut.pull(end - cut.next_output))
    assert np.array_equal(np.concatenate(got, axis=1), expected)


def test_what_was_lost_is_silence(rng):
    """A stream that was passed over for a while goes on as one with zeros there does."""
    clock = Clock(Reference(0, -60e-6, 0.0), RATE)
    x = rng.standard_normal((1, 3000, 2), dtype=np.float32).view(np.complex64)[..., 0]
    lost = Resampler(clock.own, 1)
    lost.push(x[:, :1000])
    lost.pull(1000)
    lost.lose(1000, 1000)
    lost.push(x[:, 2000:])
    x[:, :2000] = 0
    silent = Resampler(clock.own, 1)
    silent.push(x)
    assert np.array_equal(lost.pull(900), silent.pull(2900)[:, 2000:])


def test_what_is_not_there_yet_is_refused():
    resampler = Resampler(Clock(Reference(0, 0.0, 0.0), RATE).own, 1)
    resampler.push(np.zeros((1, 10), np.complex64))
    with pytest.raises(ShapeError, match="output 11 is at input 11: allowed: up to 10"):
        resampler.pull(12)
    with pytest.raises(ShapeError, match=r"allowed: \[1, n\]"):
        resampler.push(np.zeros((2, 10), np.complex64))
