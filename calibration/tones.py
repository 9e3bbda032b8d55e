"""Amplitudes and frequencies of tones in noise, and how well they are known. Pure functions on arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from testbed.errors import ShapeError

COARSE_SAMPLES = 1 << 15  # of the spectrum in which a tone is looked for
HEARD = 4.0  # times the noise in a block; of noise alone it is once, to a few hundredths
FINE_BLOCKS = 64  # phases through which its frequency is then drawn


@dataclass(frozen=True)
class ToneFit:
    """Least-squares amplitudes of tones, block by block.

    Attributes
    ----------
    amplitudes : [block, tone] complex128
        At sample 0 of the capture, so that a steady tone has the same in each block.
    noise : float
        Variance of what is left, for each complex sample.
    block_samples : int
    """

    amplitudes: np.ndarray
    noise: float
    block_samples: int

    @property
    def mean(self) -> np.ndarray:
        """[tone] complex128, over the blocks."""
        return self.amplitudes.mean(axis=0)

    @property
    def standard_errors(self) -> np.ndarray:
        r"""[tone] float64: of `mean`, from its scatter, :math:`\sqrt{E|a_b - \bar a|^2 / B}`."""
        blocks = len(self.amplitudes)
        return np.sqrt(np.sum(np.abs(self.amplitudes - self.mean) ** 2, axis=0) / (blocks * (blocks - 1)))

    def heard(self, which: slice) -> bool:
        """Whether each of these tones is `HEARD` times stronger than the noise in a block, on average."""
        power = np.mean(np.abs(self.amplitudes[:, which]) ** 2, axis=0)
        return bool(np.min(power) > HEARD * self.noise / self.block_samples)


def fit_tones(y: np.ndarray, frequencies: np.ndarray, block_samples: int) -> ToneFit:
    r"""Fit :math:`y_n = \sum_k a_k e^{j 2\pi f_k n} + w_n` by least squares, in each block on its own.

    With white noise of variance :math:`\sigma^2` and tones that are orthogonal over a block of L samples, each
    amplitude has the variance :math:`\sigma^2 / L`, which is the Cramér-Rao bound.

    Parameters
    ----------
    y : [n] complex
    frequencies : [tone] float
        In cycles a sample, all different.
    block_samples : int
        What is left over at the end is not looked at.

    Returns
    -------
    ToneFit

    Raises
    ------
    ShapeError
        If there are fewer than two blocks, or not more samples in one than tones.

    References
    ----------
    S. M. Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory*, ch. 4.
    """
    frequencies = np.asarray(frequencies, dtype=np.float64)
    blocks = len(y) // block_samples
    if blocks < 2 or block_samples <= len(frequencies):
        raise ShapeError(f"{len(y)} samples in blocks of {block_samples} for {len(frequencies)} tones: too few")
    parts = np.asarray(y)[: blocks * block_samples].reshape(blocks, block_samples)
    basis = np.exp(2j * np.pi * np.outer(np.arange(block_samples), frequencies))
    local = parts @ np.linalg.pinv(basis).T.astype(np.complex64)
    left = parts - (local @ basis.T.astype(np.complex64))
    freedom = blocks * (block_samples - len(frequencies))
    noise = float(np.sum(left.real.astype(np.float64) ** 2 + left.imag.astype(np.float64) ** 2)) / freedom
    begins = np.arange(blocks)[:, None] * block_samples
    return ToneFit(local * np.exp(-2j * np.pi * frequencies * begins), noise, block_samples)


def find_tone(y: np.ndarray, near: float, within: float, avoid: np.ndarray | None = None) -> tuple[float, float]:
    r"""Frequency of the strongest tone near one, and its standard error.

    The peak of a spectrum finds it to within a fraction of a bin; then a line through the phases of B blocks of L
    samples, whose variance comes to :math:`\frac{6 \sigma^2}{(2\pi)^2 A^2 N^3} (1 - B^{-2})^{-1}`, the Cramér-Rao
    bound of :math:`N = BL` samples but for the last factor. The standard error follows from what is left of the phases:
    white or, where it is more than twice what their differences from block to block let expect, a random walk as well.

    Parameters
    ----------
    y : [n] complex
    near, within : float
        In cycles a sample: where it is looked for, and how far to either side.
    avoid : [k] float, optional
        Frequencies, in cycles a sample, of other tones, such as 0 of a receiver with DC: they are fitted beside it.

    Returns
    -------
    frequency : float
        In cycles a sample.
    standard_error : float

    Raises
    ------
    ShapeError
        If there are fewer samples than twice `FINE_BLOCKS`.

    References
    ----------
    S. Tretter, "Estimating the frequency of a noisy sinusoid by linear regression", IEEE Trans. Inf. Theory 31, 1985;
    D. C. Rife, R. R. Boorstyn, "Single-tone parameter estimation", IEEE Trans. Inf. Theory 20, 1974.
    """
    y = np.asarray(y)
    if len(y) < 2 * FINE_BLOCKS:
        raise ShapeError(f"{len(y)} samples to find a frequency in: at least {2 * FINE_BLOCKS}")
    size = min(COARSE_SAMPLES, 1 << (len(y).bit_length() - 1))
    window = np.hanning(size + 1)[:size]
    spectra = np.fft.fft(y[: len(y) // size * size].reshape(-1, size)[:8] * window, axis=1)
    power = np.sum(np.abs(spectra) ** 2, axis=0)
    bins = np.fft.fftfreq(size)
    outside = np.abs((bins - near + 0.5) % 1 - 0.5) > within
    others = np.zeros(0) if avoid is None else np.atleast_1d(avoid)
    for place in others:
        outside |= np.abs((bins - place + 0.5) % 1 - 0.5) < 3 / size
    peak = int(np.argmax(np.where(outside, -1.0, power)))
    frequency = bins[peak] + _vertex(power, peak) / size
    for blocks in (8, FINE_BLOCKS):  # first with long steps of few samples, so that no phase turns too far
        length = min(size, len(y)) // 8 if blocks == 8 else len(y) // blocks
        frequency, error = _through_phases(y[: length * blocks], np.array([frequency, *others]), blocks)
    return (frequency + 0.5) % 1 - 0.5, error


def _vertex(power: np.ndarray, peak: int) -> float:
    """Of the parabola through the logarithms of a peak and its neighbours, in bins."""
    left, middle, right = (np.log(power[(peak + i) % len(power)] + 1e-300) for i in (-1, 0, 1))
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _through_phases(y: np.ndarray, frequencies: np.ndarray, blocks: int) -> tuple[float, float]:
    """The first of several frequencies, known to a fraction of a turn for each block, made better; its standard error.

    A line through B phases with white errors of variance w has a slope of variance 12 w / B^3, through a random walk of
    steps r one of 6 r / (5 B). Differences from phase to phase have the variance 2 w + r, what is left w + B r / 15.
    """
    fit = fit_tones(y, frequencies, len(y) // blocks)
    amplitudes = fit.amplitudes[:, 0]
    phases = np.unwrap(np.angle(amplitudes))
    at = np.arange(blocks) - (blocks - 1) / 2
    slope = float(at @ phases / (at @ at))
    left = phases - phases.mean() - slope * at
    scatter, steps = float(np.sum(left**2) / (blocks - 2)), float(np.mean(np.diff(left) ** 2))
    bound = fit.noise / (2 * float(np.mean(np.abs(amplitudes) ** 2)) * fit.block_samples)
    walk = (scatter - steps / 2) / (blocks / 15 - 1 / 2) if scatter > steps else 0.0
    white = max(scatter if not walk else (steps - walk) / 2, bound)
    error = math.sqrt(white / (at @ at) + walk * 6 / (5 * blocks))
    return float(frequencies[0]) + slope / (2 * np.pi * fit.block_samples), error / (2 * np.pi * fit.block_samples)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> tuple[complex, float]:
    r"""The factor between two amplitudes that turn together: :math:`\hat c = \sum_b n_b d_b^* / \sum_b |d_b|^2`.

    A phase that both share in a block, such as the phase noise of an oscillator, falls out.

    Parameters
    ----------
    numerator, denominator : [block] complex
        The denominator far above its noise.

    Returns
    -------
    c : complex
    standard_error : float
        Root of the mean of :math:`|\hat c - c|^2`, from the scatter of the blocks.
    """
    power = np.sum(np.abs(denominator) ** 2)
    c = complex(np.sum(numerator * np.conj(denominator)) / power)
    left = numerator - c * denominator
    blocks = len(numerator)
    return c, float(np.sqrt(np.sum(np.abs(left) ** 2) * blocks / (blocks - 1) / power / blocks))
