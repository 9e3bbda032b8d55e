"""Faulty radios by the formulas of textbooks, on real I and Q, written apart from the emulated air and what is tested.

In continuous time: what a transmitter sends is a sum of tones, so delays, clocks and oscillators need no filter.
"""

from __future__ import annotations

import numpy as np


def imbalance(x: np.ndarray, gain_db: float, phase_deg: float) -> np.ndarray:
    """Two mixers: the I path is stronger by the gain, half of it to each path, and Q leans towards I by the phase."""
    half, lean = 10 ** (gain_db / 40), np.deg2rad(phase_deg)
    return half * x.real + 1j / half * (x.imag * np.cos(lean) + x.real * np.sin(lean))


def image_rejection_db(gain_db: float, phase_deg: float) -> float:
    """Razavi, RF Microelectronics, ch. 5: (1 + 2 g cos p + g^2) / (1 - 2 g cos p + g^2)."""
    g, p = 10 ** (gain_db / 20), np.deg2rad(phase_deg)
    return 10 * np.log10((1 + 2 * g * np.cos(p) + g * g) / (1 - 2 * g * np.cos(p) + g * g))


def noise(rng: np.random.Generator, count: int, variance: float) -> np.ndarray:
    """Complex, circular, white."""
    return np.sqrt(variance / 2) * (rng.standard_normal((count, 2)) @ [1, 1j])


def tones(amplitudes: np.ndarray, frequencies: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Their sum at any times, in samples."""
    return np.sum([a * np.exp(2j * np.pi * f * at) for a, f in zip(amplitudes, frequencies, strict=True)], axis=0)


def rapp(x: np.ndarray, saturation: float, smoothness: float) -> np.ndarray:
    """C. Rapp, 1991: AM/AM of a solid-state amplifier of unit gain."""
    return x / (1 + (np.abs(x) / saturation) ** (2 * smoothness)) ** (1 / (2 * smoothness))


def level_dbc(y: np.ndarray, frequency: float, reference: float) -> float:
    """Power at one frequency against that at another, by correlation over everything."""
    n = np.arange(len(y))
    power = [abs(np.mean(y * np.exp(-2j * np.pi * f * n))) ** 2 for f in (frequency, reference)]
    return 10 * np.log10(power[0] / power[1])
