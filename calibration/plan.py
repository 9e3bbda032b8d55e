"""The plan of tones: which are sent, and where in the receiver's band each fault of both radios then shows.

The transmitted tones lie at multiples of a grid (``bins``), whose negatives are no tones and no products of third or
fifth order of them; the receiver's oscillator lies a number of steps *and a quarter* lower. So what the transmitter
makes (tones, their images, LO leakage) lies a quarter above the grid as it is received, what the receiver makes of it
(images) a quarter below, and the receiver's DC on it: no fault hides another.

========================  =========================  ==================
what                      as sent, in steps          as received
========================  =========================  ==================
tone                      k                          s + k
image of the transmitter  -k                         s - k
LO leakage                0                          s
image of the receiver                                -(s + k)
DC of the receiver                                   0
========================  =========================  ==================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERIOD = 48  # samples: the grid is 40 kHz at 1.92 MS/s, and a driver's blocks of 9600 samples hold whole periods
BINS = (-9, -4, 2, 7)  # no -k, and no 0, among their products of third and fifth order; one delay fits their phases
SHIFT = 4.25  # steps: nothing of the transmitter falls near the receiver's DC, and all within 0.28 of the rate
LEVEL = 0.2  # amplitude of each tone: together at most 0.8 of full scale, -8 dBFS rms
BLOCK = 40 * PERIOD  # of a fit: 1 ms at 1.92 MS/s; a multiple of four periods, over which all lines are orthogonal


@dataclass(frozen=True)
class TonePlan:
    """Tones of one capture.

    Attributes
    ----------
    rate_hz : float
    level : float
        Amplitude of each tone, full scale 1.0.
    bins : tuple of int
    shift : float
        By how many steps the transmitter's LO is above the receiver's.
    """

    rate_hz: float
    level: float = LEVEL
    bins: tuple[int, ...] = BINS
    shift: float = SHIFT

    @property
    def step_hz(self) -> float:
        """Of the grid."""
        return self.rate_hz / PERIOD

    @property
    def shift_hz(self) -> float:
        """Transmitter's LO less receiver's."""
        return self.shift * self.step_hz

    def amplitudes(self) -> np.ndarray:
        """[tone] complex128: as sent, with phases that go with the square of their number, for a low crest."""
        places = np.arange(len(self.bins))
        return self.level * np.exp(1j * np.pi * places**2 / len(self.bins))

    def waveform(self) -> np.ndarray:
        """[PERIOD] complex64: one period of what is sent."""
        n = np.arange(PERIOD)
        return (np.exp(2j * np.pi / PERIOD * np.outer(n, self.bins)) @ self.amplitudes()).astype(np.complex64)

    def received(self, lo_hz: float = 0.0, ratio: float = 1.0) -> Lines:
        r"""Where everything shows, in cycles of a nominal sample.

        With :math:`e` the ratio of the transmitter's reference to the receiver's, a component at :math:`f` of the
        transmitter's band is received at :math:`(f_{TX} + f) e - f_{RX}`, in Hz of the receiver's own clock.

        Parameters
        ----------
        lo_hz : float
            The transmitter's; of no account where ``ratio`` is 1.
        ratio : float

        Returns
        -------
        Lines
        """
        bins = np.array(self.bins, dtype=np.float64)
        moved = (lo_hz * (ratio - 1) + self.shift_hz) / self.rate_hz
        tones, images = moved + bins / PERIOD * ratio, moved - bins / PERIOD * ratio
        return Lines(np.concatenate([tones, images, [moved], -tones, [0.0]]), len(bins))


@dataclass(frozen=True)
class Lines:
    """Frequencies of all components in one array, and which of them is what."""

    frequencies: np.ndarray
    tones_count: int

    @property
    def tones(self) -> slice:
        """Those that are meant."""
        return slice(0, self.tones_count)

    @property
    def transmit_images(self) -> slice:
        """In the order of `tones`."""
        return slice(self.tones_count, 2 * self.tones_count)

    @property
    def leakage(self) -> int:
        """The transmitter's."""
        return 2 * self.tones_count

    @property
    def receive_images(self) -> slice:
        """In the order of `tones`."""
        return slice(2 * self.tones_count + 1, 3 * self.tones_count + 1)

    @property
    def dc(self) -> int:
        """The receiver's."""
        return 3 * self.tones_count + 1
