"""Each kernel of the waveform against its NumPy twin: the same mathematics, written as one would on paper."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.phy import _kernels as kernels


def complex_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]


@pytest.mark.parametrize("count", [0, 1, 127, 128, 1000])
def test_rotate_multiplies_by_an_outer_product(rng: np.random.Generator, count: int):
    """Blocks of 128, the last one cut."""
    samples, fine = complex_noise(rng, 2, count), complex_noise(rng, 128)
    coarse = complex_noise(rng, -(-count // 128))
    expected = samples * np.multiply.outer(coarse, fine).ravel()[:count]
    np.testing.assert_allclose(kernels.rotate(samples, coarse, fine), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("antennas", [1, 3])
def test_strongest_hypothesis_is_the_largest_sum_of_powers(rng: np.random.Generator, antennas: int):
    """7 hypotheses, 500 lags of 600."""
    correlation = complex_noise(rng, antennas, 7, 600)
    power = (np.abs(correlation[..., :500]) ** 2).sum(axis=0)
    found, which = kernels.strongest_hypothesis(correlation, 500)
    np.testing.assert_allclose(found, power.max(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(which, power.argmax(axis=0))


def test_normalise_divides_by_the_energy_of_each_window(rng: np.random.Generator):
    """Two antennas, windows of 64; silence, what is no number and shares above one are 0, 0 and 1."""
    samples = complex_noise(rng, 2, 363)
    power = rng.uniform(0, 50, 300).astype(np.float32)
    power[7] = 1e6
    energy = np.convolve((np.abs(samples.astype(complex)) ** 2).sum(axis=0), np.ones(64), "valid")
    expected = np.minimum(power / energy, 1)
    np.testing.assert_allclose(kernels.normalise(power, samples, 1e-10), expected, rtol=1e-5)
    samples[:, :100] = 0
    assert not kernels.normalise(power, samples, 1e-10)[:37].any()
    samples[0, 200] = np.nan
    assert not kernels.normalise(power, samples, 1e-10).any()


def test_refine_offset_takes_gauss_newton_steps(rng: np.random.Generator):
    """Against the same steps in complex128, and against the truth without noise: a random subspace of rank 9."""
    basis = np.linalg.qr(complex_noise(rng, 200, 9))[0].astype(np.complex64)
    truth = 0.0123
    clean = (complex_noise(rng, 2, 9) @ basis.T) * np.exp(1j * truth * np.arange(200))
    exact = kernels.refine_offset(np.ascontiguousarray(clean, np.complex64), basis, 0.0121, 4)
    assert exact == pytest.approx(truth, abs=1e-7)

    samples = (clean + 0.1 * complex_noise(rng, 2, 200)).astype(np.complex64)
    turn, times = 0.0121, 1j * (np.arange(200) - 99.5)
    for _ in range(2):
        level = samples * np.exp(-1j * turn * np.arange(200))
        slope = times * (level @ basis.conj() @ basis.T)
        slope = slope - slope @ basis.conj() @ basis.T
        turn += np.vdot(slope, level).real / np.vdot(slope, slope).real
    assert kernels.refine_offset(samples, basis, 0.0121, 2) == pytest.approx(turn, abs=1e-8)


def test_first_and_last_are_the_ends_of_what_stands_out(rng: np.random.Generator):
    """Delays in an FFT's order, noise everywhere, three paths inside the reach and a stronger one outside it."""
    delays = np.fft.fftfreq(256, 1 / 128)
    paths = 0.01 * complex_noise(rng, 2, 256)
    for delay, gain in ((-3.0, 0.2), (0.5, 1.0), (7.5, 0.15), (20.0, 5.0)):
        paths[:, delays == delay] += gain
    assert kernels.first_and_last(paths, delays, 16.0, 20.0, 1e-2) == (-3.0, 7.5)
    assert kernels.first_and_last(paths, delays, 16.0, 20.0, 0.5) == (0.5, 0.5)
    assert np.isnan(kernels.first_and_last(paths, delays, 16.0, 1e9, 0.5)[0])
    profile = (np.abs(paths) ** 2).sum(axis=0)
    factor = profile[delays == 7.5][0] / np.median(profile[np.abs(delays) > 32])
    assert kernels.first_and_last(paths, delays, 16.0, 0.999 * factor, 0.0)[1] == 7.5
    assert kernels.first_and_last(paths, delays, 16.0, 1.001 * factor, 0.0)[1] == 0.5
