"""Gains of many tapped delay lines on a grid of times. Where they act on samples is in ``medium``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from testbed.channels.base import TappedDelayLine


class GainGrid:
    r"""Gains of many lines at multiples of ``step_s``, cheaply: by rotation from exact anchors.

    .. math::  e^{j(\omega t + \varphi)} = e^{j(\omega t_c + \varphi)} \, e^{j 8 \omega a T} \, e^{j \omega k T}, \quad
        t = t_c + (8 a + k) T, \quad 0 \le a, k < 8

    The last two factors are tables, so each sinusoid costs one exponential in 64 points. Chunks begin at fixed
    multiples of the step and are always computed whole: what they hold does not depend on which of their points is
    asked for, nor in what order.

    Parameters
    ----------
    lines : sequence of TappedDelayLine
        Of one shape: as many taps, and sinusoids in each.
    step_s : float
    """

    POINTS = 8  # of each table
    CHUNK_POINTS = POINTS * POINTS

    def __init__(self, lines: Sequence[TappedDelayLine], step_s: float) -> None:
        self.step_s = step_s
        self._doppler = np.stack([line.doppler_hz for line in lines])  # [lines, taps, sinusoids]
        amplitudes = np.stack([line.amplitudes for line in lines])
        self._start = amplitudes[..., None] * np.exp(1j * np.stack([line.phases for line in lines]))
        turns = self._doppler[..., None] * (np.arange(self.POINTS) * step_s)
        self._near = np.exp(2j * np.pi * turns)  # [lines, taps, sinusoids, 8]
        self._far = np.exp(2j * np.pi * self.POINTS * turns.swapaxes(-1, -2))  # [lines, taps, 8, sinusoids]

    def chunk(self, index: int) -> np.ndarray:
        """Gains at points ``64 index .. 64 index + 63``; point p is at ``p * step_s``.

        Parameters
        ----------
        index : int

        Returns
        -------
        [lines, taps, 64] complex128
        """
        first = self._start * np.exp(2j * np.pi * (self._doppler * (index * self.CHUNK_POINTS * self.step_s)))
        anchors = first[..., None, :] * self._far
        return (anchors @ self._near).reshape(*first.shape[:2], self.CHUNK_POINTS)
