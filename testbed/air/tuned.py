"""A radio as it is tuned at a moment: its two sample clocks and its two carriers, without jumps when it is retuned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.air._kernels import RUN, rotate_steadily
from testbed.air.oscillator import NS, Clock, PhaseNoise, Reference
from testbed.config import Oscillator


@dataclass(frozen=True)
class Tuning:
    """What a client has set of a radio: nominal values, which its oscillator then misses."""

    tx_rate_hz: int
    rx_rate_hz: int
    tx_lo_hz: float
    rx_lo_hz: float
    correction_ppm: float = 0.0  # moves LO and sample clock besides the oscillator: (1 + ppm)(1 + correction)


class TunedRadio:
    """Clocks and carriers of one radio.

    Parameters
    ----------
    oscillator : Oscillator
    tuning : Tuning
        At nominal time 0.
    seed : int
        Of phase noise.
    number : int
        Of this radio, among those of the seed.
    """

    def __init__(self, oscillator: Oscillator, tuning: Tuning, seed: int, number: int) -> None:
        self.oscillator = oscillator
        self.tuning = tuning
        self.start_ns = round(oscillator.start_s * NS)
        self.reference = Reference.of(oscillator, self.start_ns, tuning.correction_ppm)
        self.tx_clock = Clock(self.reference, tuning.tx_rate_hz)
        self.rx_clock = Clock(self.reference, tuning.rx_rate_hz)
        phase = oscillator.phase_deg / 360
        self._turns = {"tx": phase, "rx": phase}  # at the reference's origin
        self._seed, self._number = seed, number
        self._noises: dict[int, PhaseNoise] = {}

    def tune(self, tuning: Tuning, now_ns: int) -> None:
        """From a moment on. A new rate begins with a new sample 0; all else goes on where it was.

        Parameters
        ----------
        tuning : Tuning
        now_ns : int
        """
        began_ns = max(now_ns, self.start_ns)
        reference = Reference.of(self.oscillator, began_ns, tuning.correction_ppm)
        old = self.tuning
        for side, lo_hz in (("tx", old.tx_lo_hz), ("rx", old.rx_lo_hz)):
            at = np.array([began_ns], dtype=np.int64)
            self._turns[side] += float(self.reference.turns(lo_hz, at, NS)[0])
        moved = self.tx_clock.moved(reference)
        self.tx_clock = moved if tuning.tx_rate_hz == old.tx_rate_hz else Clock(reference, tuning.tx_rate_hz)
        moved = self.rx_clock.moved(reference)
        self.rx_clock = moved if tuning.rx_rate_hz == old.rx_rate_hz else Clock(reference, tuning.rx_rate_hz)
        self.reference, self.tuning = reference, tuning

    def turns(self, side: str, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        """By how much the LO's phase leads the nominal one, without phase noise.

        Parameters
        ----------
        side : str
            tx or rx.
        samples : [n] int64
            Nominal indices at ``rate_hz``.
        rate_hz : int

        Returns
        -------
        [n] float64
            In turns.
        """
        lo_hz = self.tuning.tx_lo_hz if side == "tx" else self.tuning.rx_lo_hz
        return self._turns[side] + self.reference.turns(lo_hz, samples, rate_hz)

    def rotate(
        self, side: str, x: np.ndarray, first_sample: int, rate_hz: int, shift_hz: float, y: tuple[np.ndarray, ...]
    ) -> None:
        r"""To the receiver's nominal LO, or from it: :math:`y = x \, e^{\pm j 2\pi (\theta(n) + \Delta f \, n / f_s)}`.

        Parameters
        ----------
        side : str
            tx turns forwards, rx backwards.
        x : [n] complex64
        first_sample : int
            Nominal index of the first.
        rate_hz : int
        shift_hz : float
            :math:`\Delta f`, the nominal part.
        y : tuple of two [n] float32
            Real and imaginary parts; written.
        """
        begin, count = first_sample // RUN, len(x)
        points = np.arange(begin, (first_sample + count - 1) // RUN + 2, dtype=np.int64) * RUN
        turns = self.turns(side, points, rate_hz)
        steps = np.diff(turns) + shift_hz * RUN / rate_hz
        whole_hz, rest_hz = int(shift_hz // 1), shift_hz % 1
        turns = turns + (whole_hz * (points % rate_hz) % rate_hz) / rate_hz + rest_hz / rate_hz * points
        sign = 1.0 if side == "tx" else -1.0
        if self.oscillator.linewidth_hz:
            noise = sign * 2 * np.pi * self._noise(rate_hz).turns(first_sample, count)
            x = x * (np.cos(noise) + 1j * np.sin(noise)).astype(np.complex64)
        if not self.oscillator.linewidth_hz and not steps.any() and not turns.any():
            y[0][:], y[1][:] = x.real, x.imag
            return
        rotate_steadily(x, sign * (turns - np.floor(turns)), sign * steps, first_sample, y[0], y[1])

    def _noise(self, rate_hz: int) -> PhaseNoise:
        """On one rate's grid; another rate sees another path of the same process."""
        if rate_hz not in self._noises:
            key = (PHASE_NOISE, self._number, rate_hz)
            self._noises[rate_hz] = PhaseNoise(self.oscillator.linewidth_hz, rate_hz, self._seed, key)
        return self._noises[rate_hz]


PHASE_NOISE = 4  # spawn key of the seed's streams, behind those of `medium`
