"""Time and frequency of one frame, once its preamble has been found: carrier offset, delay, where to put the FFT."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy.fft
from scipy.special import gammainccinv

from testbed.errors import ShapeError
from testbed.phy._kernels import first_and_last, refine_offset, rotate
from testbed.phy.preamble import preamble, preamble_grid
from testbed.phy.waveform import PREAMBLE_PERIODS, Waveform

REFINEMENTS = 2  # Gauss-Newton steps; the first reaches the bound, the second is for low SNR
TIMING_STEPS_PER_SAMPLE = 4  # of the grid that a parabola refines
ARRIVALS_BELOW_PEAK = 10 ** (-25 / 10)  # above the first sidelobe of a Hann taper, -31 dB
ARRIVALS_FALSE = 1e-5  # chance that one delay of noise alone counts as an arrival
PHASOR_BLOCK = 128


def derotate(samples: np.ndarray, cfo_hz: float, waveform: Waveform, first_sample: int = 0) -> np.ndarray:
    r"""Take a carrier offset out: :math:`y[n]\, e^{-j 2\pi f (n + n_0) / f_s}`, the phase exact over any length.

    Parameters
    ----------
    samples : [..., n] complex64
    cfo_hz : float
        The offset :math:`f` in Hz.
    waveform : Waveform
        Its sample rate is :math:`f_s`.
    first_sample : int
        Index :math:`n_0` of the first sample, where the phase is counted from.

    Returns
    -------
    [..., n] complex64
    """
    samples = np.asarray(samples, np.complex64)
    count = samples.shape[-1]
    cycles = cfo_hz / waveform.sample_rate_hz
    coarse = np.exp(-2j * np.pi * np.mod(cycles * (first_sample + np.arange(0, count, PHASOR_BLOCK)), 1.0))
    fine = np.exp(-2j * np.pi * cycles * np.arange(PHASOR_BLOCK))
    rows = np.ascontiguousarray(samples).reshape(math.prod(samples.shape[:-1]), count)
    return rotate(rows, coarse.astype(np.complex64), fine.astype(np.complex64)).reshape(samples.shape)


def estimate_cfo(samples: np.ndarray, waveform: Waveform, coarse_cfo_hz: float) -> float:
    r"""Carrier offset from one preamble, for any channel shorter than the prefix.

    First the phase between the two equal periods, over the occupied subcarriers only:
    :math:`\Delta f = f_s / (2\pi N) \arg \sum_{a,k} Y_{a,1}[k]\, Y_{a,0}^*[k]` (Moose, 1994), good for +-1/2 subcarrier
    around ``coarse_cfo_hz``. Then Gauss-Newton on the likelihood of :math:`y_a = e^{j\omega n} S h_a + n_a`, the
    channel of half a prefix before to one prefix behind the start being eliminated by projection: it uses the phase
    within periods too.

    Parameters
    ----------
    samples : [A, >= preamble_samples] complex64
        From ``Detection.start`` on.
    waveform : Waveform
    coarse_cfo_hz : float
        ``Detection.cfo_hz``.

    Returns
    -------
    float
        In Hz, absolute (``coarse_cfo_hz`` is in it).

    References
    ----------
    P. H. Moose, "A technique for OFDM frequency division multiplexing frequency offset correction", IEEE Trans.
    Commun. 42(10), 1994, eq. 16. M. Morelli and U. Mengali, "Carrier-frequency estimation for transmissions over
    selective channels", IEEE Trans. Commun. 48(9), 2000, eq. 8.
    """
    samples = _checked(samples, waveform)
    level = derotate(samples, coarse_cfo_hz, waveform)
    spectra = scipy.fft.fft(_periods(level, waveform), norm="ortho")[..., waveform.subcarriers]
    between = np.angle(np.vdot(spectra[:, 0], spectra[:, 1]))
    cfo_hz = coarse_cfo_hz + between * waveform.spacing_hz / (2 * np.pi)

    basis = _channel_basis(waveform)
    used = np.ascontiguousarray(samples[:, waveform.cp_samples : waveform.cp_samples + basis.shape[0]])
    radians = 2 * np.pi / waveform.sample_rate_hz
    return float(refine_offset(used, basis, cfo_hz * radians, REFINEMENTS) / radians)


def estimate_timing(samples: np.ndarray, waveform: Waveform, cfo_hz: float) -> float:
    r"""Delay of the strongest arrival behind ``Detection.start``, in samples and fractions of one.

    Maximum likelihood for a single path of unknown gain on every antenna:
    :math:`\arg\max_\tau \sum_a |\sum_k H_a[k]\, e^{j 2\pi k \tau / N}|^2` over +-cp_samples, where H is the preamble's
    channel estimate. Of several paths it finds the strongest; `estimate_arrivals` finds where they begin and end.

    Parameters
    ----------
    samples : [A, >= preamble_samples] complex64
        From ``Detection.start`` on, as received.
    waveform : Waveform
    cfo_hz : float
        From `estimate_cfo`.

    Returns
    -------
    float
        In samples; -cp_samples to cp_samples, or a fraction of a sample beyond.
    """
    return strongest_delay(_channel(samples, waveform, cfo_hz), waveform)


def strongest_delay(channel: np.ndarray, waveform: Waveform) -> float:
    r"""Delay of the strongest path of a channel: :math:`\arg\max_\tau \sum_a |\sum_k H_a[k] e^{j2\pi k\tau/N}|^2`.

    Parameters
    ----------
    channel : [A, occupied] complex64
        On the occupied subcarriers.
    waveform : Waveform

    Returns
    -------
    float
        In samples; -cp_samples to cp_samples, or a fraction of a sample beyond.
    """
    delays = np.arange(
        -waveform.cp_samples, waveform.cp_samples + 0.5 / TIMING_STEPS_PER_SAMPLE, 1 / TIMING_STEPS_PER_SAMPLE
    )
    turns = 2j * np.pi * waveform.subcarriers / waveform.fft_size
    steering = np.exp(np.outer(turns, delays)).astype(np.complex64)
    power = np.sum(np.abs(np.einsum("ak,kd->ad", channel, steering)) ** 2, axis=0)
    tau = float(delays[np.argmax(power)])
    for _ in range(REFINEMENTS):  # Newton on the logarithm's numerator: G = sum |g|^2
        steered = channel * np.exp(turns * tau)
        g, g1, g2 = steered.sum(axis=1), steered @ turns, steered @ turns**2
        rise = 2 * np.sum((g1 * g.conj()).real)
        bend = 2 * np.sum((g2 * g.conj()).real + np.abs(g1) ** 2)
        if not bend < 0:
            break
        tau -= float(np.clip(rise / bend, -1 / TIMING_STEPS_PER_SAMPLE, 1 / TIMING_STEPS_PER_SAMPLE))
    return tau


def estimate_arrivals(samples: np.ndarray, waveform: Waveform, cfo_hz: float) -> tuple[float, float]:
    """First and last significant arrival behind ``Detection.start``, in samples, over all antennas and users.

    Significant is what stands out of the noise and within 25 dB of the strongest, in the delay profile under a Hann
    taper. The taper widens both ends alike by up to 3 samples, so that their middle stays true.

    Parameters
    ----------
    samples, waveform, cfo_hz
        As for `estimate_timing`.

    Returns
    -------
    first, last : float
        In samples; both the strongest arrival where none stands out.
    """
    channel = _channel(samples, waveform, cfo_hz)
    half = waveform.occupied_subcarriers // 2
    taper, delays = _profile_axes(waveform)
    spectrum = np.zeros((channel.shape[0], delays.size), np.complex64)
    spectrum[:, 1 : half + 1] = channel[:, half:] * taper[half + 1 :]
    spectrum[:, -half:] = channel[:, :half] * taper[:half]
    spectrum[:, 0] = channel[:, half - 1 : half + 1].mean(axis=1) * taper[half]  # no hole at DC
    paths = scipy.fft.ifft(spectrum)
    factor = _arrival_factor(len(channel))
    first, last = first_and_last(paths, delays, waveform.cp_samples, factor, ARRIVALS_BELOW_PEAK)
    if np.isnan(first):
        timing = estimate_timing(samples, waveform, cfo_hz)
        return timing, timing
    return first, last


@lru_cache(maxsize=8)
def _profile_axes(waveform: Waveform) -> tuple[np.ndarray, np.ndarray]:
    """Taper over the band with DC [occupied + 1]; delays of the profile, two a sample."""
    taper = np.hanning(waveform.occupied_subcarriers + 3)[1:-1].astype(np.float32)
    return taper, scipy.fft.fftfreq(2 * waveform.fft_size, 1 / waveform.fft_size)


@lru_cache(maxsize=32)
def _arrival_factor(antennas: int) -> float:
    """Threshold of an arrival over the median of noise alone."""
    return float(gammainccinv(antennas, ARRIVALS_FALSE) / gammainccinv(antennas, 0.5))


def window_offset(arrivals: tuple[float, float] | float, waveform: Waveform) -> int:
    """Where to cut the body, in samples behind its nominal start, so that arrivals lie inside the prefix.

    With (first, last) from `estimate_arrivals` their middle is put in the middle of the prefix. With one delay, from
    `estimate_timing`, a quarter of the prefix is kept for what comes before it and three for what comes after.

    Parameters
    ----------
    arrivals : (float, float) or float
        In samples behind ``Detection.start``.
    waveform : Waveform

    Returns
    -------
    int
        ``offset`` of `testbed.phy.ofdm.demodulate`, counted from ``Detection.start + preamble_samples``. A path at
        delay d then shows as the phase slope of a delay d - offset, between 0 and cp_samples.
    """
    if isinstance(arrivals, tuple):
        return round((arrivals[0] + arrivals[1] - waveform.cp_samples) / 2)
    return round(arrivals - waveform.cp_samples / 4)


def _checked(samples: np.ndarray, waveform: Waveform) -> np.ndarray:
    samples = np.asarray(samples, np.complex64)
    if samples.ndim != 2 or samples.shape[1] < waveform.preamble_samples:
        raise ShapeError(f"samples {samples.shape}: must be [antenna, at least {waveform.preamble_samples}]")
    # A foreign peer may send anything; one bad sample must not cost the estimate, let alone the process.
    used = samples[:, : waveform.preamble_samples]
    if np.isfinite(used).all():
        return used
    return np.nan_to_num(used, nan=0.0, posinf=0.0, neginf=0.0)


def _periods(samples: np.ndarray, waveform: Waveform) -> np.ndarray:
    """[A, period, fft_size]: the two periods, cut one prefix early so that delays of +-cp stay inside."""
    begin = waveform.cp_samples
    cut = samples[:, begin : begin + PREAMBLE_PERIODS * waveform.fft_size]
    return cut.reshape(len(samples), PREAMBLE_PERIODS, waveform.fft_size)


def _channel(samples: np.ndarray, waveform: Waveform, cfo_hz: float) -> np.ndarray:
    """[A, occupied] complex64: least-squares channel at the preamble, delays counted from ``Detection.start``."""
    level = derotate(_checked(samples, waveform), cfo_hz, waveform)
    mean = scipy.fft.fft(_periods(level, waveform).mean(axis=1), norm="ortho")
    return mean[:, waveform.subcarriers] * _matched(waveform)


@lru_cache(maxsize=8)
def _matched(waveform: Waveform) -> np.ndarray:
    """[occupied] complex64: conjugate preamble, moved one prefix early."""
    early = np.exp(2j * np.pi * waveform.subcarriers * waveform.cp_samples / waveform.fft_size)
    return (early * preamble_grid(waveform).conj()).astype(np.complex64)


@lru_cache(maxsize=8)
def _channel_basis(waveform: Waveform) -> np.ndarray:
    """[n, rank] complex64: orthonormal basis of what a preamble can look like behind one prefix.

    Delays run from -cp/2 to cp; the n samples begin where the last of them has its full preamble and end where the
    first still has it. The rank is that of the occupied band, not the number of delays.
    """
    cp = waveform.cp_samples
    wave = preamble(waveform)
    count = waveform.preamble_samples - cp - cp // 2
    period = np.concatenate([wave[-waveform.fft_size :]] * 4)  # endless on both sides, for any delay
    origin = waveform.fft_size + (waveform.fft_size - PREAMBLE_PERIODS * cp) % waveform.fft_size + cp
    columns = np.stack([period[origin - d : origin - d + count] for d in range(-(cp // 2), cp + 1)], axis=1)
    left, values, _ = np.linalg.svd(columns.astype(np.complex128), full_matrices=False)
    return np.ascontiguousarray(left[:, values > 1e-2 * values[0]], np.complex64)
