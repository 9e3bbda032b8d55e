"""The network's input: what a frame's pilots look like on the grid of delays and Doppler shifts."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from server.estimation.profiles import DELAYS_PER_RESOLUTION, DOPPLER_BINS, grid_of
from testbed.phy.pilots import pilot_comb
from testbed.phy.waveform import Waveform

WINDOWS = 2  # over frequency: none, for resolution, and Hann, whose sidelobes (-31 dB) hide no weak path
CHANNELS = WINDOWS * DOPPLER_BINS + 1
LIFT = 0.1  # of the noise, added before the logarithm: what lies deep in the noise looks alike


def image_of(c: np.ndarray, users: np.ndarray, waveform: Waveform) -> np.ndarray:
    r"""Logarithmic energies of matched filters, in units of the noise, mean over antennas.

    :math:`\log_{10}(\mathrm{mean}_a |t_n^H C_a (w \circ f_m)^*|^2 / \|t_n\|^2 \|w \circ f_m\|^2 + 0.1)`.

    Parameters
    ----------
    c : [A, B, I, J] complex
        Coefficients as `server.estimation.profiles.Observation` has them.
    users : [B] int
        Whose pilot comb each belongs to.
    waveform : Waveform

    Returns
    -------
    [B, CHANNELS, M] float32
        Window by window the Doppler shifts, then a channel that says how many antennas there are, log2 / 2.
    """
    over_time, over_frequency = beams(waveform)
    antennas, count = c.shape[:2]
    steered = over_time @ c.astype(np.complex64)  # [A, B, D, J]
    seen = steered[:, :, None] @ over_frequency[:, users].swapaxes(0, 1)  # [A, B, W, D, M]
    energy = np.mean(seen.real**2 + seen.imag**2, axis=0)
    image = np.log10(energy + np.float32(LIFT)).reshape(count, CHANNELS - 1, -1)
    many = np.full((count, 1, image.shape[-1]), np.log2(antennas) / 2, np.float32)
    return np.concatenate([image, many], axis=1)


def first_profiles(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the network's passes begin: the delay profile that the Hann-windowed image shows, a flat Doppler profile.

    Returns
    -------
    log_delay : [B, M] float32
        Natural logarithm, times the pilots' gain, see `server.estimation.profiles.pilot_gain`.
    log_doppler : [B, DOPPLER_BINS] float32
    """
    hann = image[:, DOPPLER_BINS : 2 * DOPPLER_BINS]
    above = np.mean(10**hann, axis=1) - np.float32(1 + LIFT)
    delay = np.log(np.maximum(above, np.float32(LIFT)) / np.float32(DELAYS_PER_RESOLUTION))
    return delay, np.full((len(image), DOPPLER_BINS), -np.log(DOPPLER_BINS), np.float32)


@lru_cache(maxsize=8)
def beams(waveform: Waveform) -> tuple[np.ndarray, np.ndarray]:
    """Unit-norm matched filters: [D, I] over time and [W, U, J, M] over frequency, complex64."""
    grid = grid_of(waveform)
    time = grid.doppler.pilots[0].conj().T
    steering = []
    for user in range(waveform.pilot_slots):
        comb = waveform.subcarriers[pilot_comb(waveform, user)]
        waves = np.exp(-2j * np.pi / waveform.fft_size * np.outer(comb, grid.delays))
        hann = np.hanning(len(comb) + 2)[1:-1, None]
        steering.append([grid.v_frequency[user].T @ (w * waves) for w in (1.0, hann)])
    frequency = np.array(steering).conj().swapaxes(0, 1)
    time = time / np.linalg.norm(time, axis=-1, keepdims=True)
    frequency = frequency / np.linalg.norm(frequency, axis=-2, keepdims=True)
    return time.astype(np.complex64), frequency.astype(np.complex64)
