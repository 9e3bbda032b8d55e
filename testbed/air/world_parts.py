"""The two halves of what a world does: a transmitter brought to a receiver's nominal samples, and a receiver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.signal import firwin

from testbed.air._kernels import superimpose
from testbed.air.bank import FilterBank
from testbed.air.impairments import KERNEL_HALF
from testbed.air.oscillator import NS, Clock
from testbed.air.resample import HALF, LATENCY, Resampler
from testbed.air.tuned import TunedRadio
from testbed.channels.base import TappedDelayLine

EDGE, STOP = 0.4, 0.5  # of a receiver's rate: what a band filter keeps, and what it holds below -70 dB
HEARD = 0.5 * (EDGE + STOP)  # of two rates together: bands farther apart do not overlap
HEARD_WHOLE = 0.6  # of a receiver's rate: a transmitter's band that ends before needs no filter, which has a delay
BAND_TAPS = 4.6  # Kaiser, 70 dB, times the sample rate over the transition: (A - 8) / (2.285 * 2 pi)
BAND_BETA = 6.76  # 0.1102 (A - 8.7) for 70 dB


def delayed(positions: tuple[np.ndarray, np.ndarray], delay_samples: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions earlier by a delay.

    Parameters
    ----------
    positions : tuple of [n] int64 and [n] float64
        Whole, and part in [0, 1).
    delay_samples : float

    Returns
    -------
    whole : [n] int64
    part : [n] float64
    """
    whole, part = positions
    if not delay_samples:
        return whole, part
    moved = part - delay_samples
    down = np.floor(moved)
    return whole + down.astype(np.int64), moved - down


def ceil_samples(time_ns: int, rate_hz: int) -> int:
    """How many nominal samples lie before a time.

    Parameters
    ----------
    time_ns : int
    rate_hz : int

    Returns
    -------
    int
    """
    return -(-time_ns * rate_hz // NS)


class BandFilter:
    r"""A complex FIR that keeps what a receiver :math:`\Delta f` away can hear, with a delay of half its length.

    Parameters
    ----------
    channels : int
    rate_hz : float
        Of the samples; what lies within 0.4 of it is kept where the receiver hears it.
    shift_hz : float
        :math:`\Delta f`, the samples' LO over the receiver's.
    width_hz : float
        The receiver's sample rate; what lies within 0.4 of it is kept.
    """

    def __init__(self, channels: int, rate_hz: float, shift_hz: float, width_hz: float) -> None:
        middle = 0.5 * (EDGE + STOP)
        low_hz = max(-shift_hz - middle * width_hz, -middle * rate_hz)
        high_hz = min(-shift_hz + middle * width_hz, middle * rate_hz)
        narrower_hz = min(rate_hz, width_hz)
        taps = int(np.ceil(BAND_TAPS * rate_hz / ((STOP - EDGE) * narrower_hz))) | 1
        self.delay_samples = taps // 2
        half_hz = max(0.5 * (high_hz - low_hz), 1e-3 * narrower_hz)
        low = firwin(taps, half_hz, window=("kaiser", BAND_BETA), fs=rate_hz, scale=False)
        centre_hz = 0.5 * (high_hz + low_hz)
        h = low * np.exp(2j * np.pi * centre_hz / rate_hz * (np.arange(taps) - taps // 2))
        grid = np.repeat(h[::-1].astype(np.complex64)[None, None, None], 2, axis=0)
        self._h = np.ascontiguousarray(grid.real), np.ascontiguousarray(grid.imag)
        self._past = np.zeros((2, channels, taps - 1), dtype=np.float32)

    def filter(self, samples: np.ndarray) -> np.ndarray:
        """The next samples.

        Parameters
        ----------
        samples : [C, n] complex64

        Returns
        -------
        [C, n] complex64
        """
        x = np.concatenate([self._past, np.stack([samples.real, samples.imag])], axis=2)
        self._past = x[..., samples.shape[1] :].copy()
        y = np.zeros((2, *samples.shape), dtype=np.float32)
        zero = np.zeros(1, dtype=np.int64)
        for c in range(samples.shape[0]):
            part = x[:, c : c + 1]
            superimpose(
                np.ascontiguousarray(part[0]), np.ascontiguousarray(part[1]), zero, zero[None], *self._h, 0, 1 << 62,
                y[0, c : c + 1], y[1, c : c + 1],
            )  # fmt: skip
        return (y[0] + 1j * y[1]).astype(np.complex64)

    def clear(self) -> None:
        """Forget what came before."""
        self._past[:] = 0.0


class Lift:
    """One transmitter on the grid of nominal samples, and at the LO, of receivers of one rate and LO.

    Parameters
    ----------
    radio : TunedRadio
        The transmitter.
    antennas : int
    delay_samples : float
        From its converter to its antenna.
    rate_hz : int
        The receivers'.
    shift_hz : float
        The transmitter's nominal LO over theirs.
    now_ns : int
        When it begins.
    """

    def __init__(
        self, radio: TunedRadio, antennas: int, delay_samples: float, rate_hz: int, shift_hz: float, now_ns: int
    ) -> None:
        self.radio, self.antennas, self.rate_hz, self.shift_hz = radio, antennas, rate_hz, shift_hz
        own_hz = radio.tuning.tx_rate_hz
        self._delay = delay_samples
        partial = abs(shift_hz) + own_hz / 2 > HEARD_WHOLE * rate_hz
        self._band = BandFilter(antennas, own_hz, shift_hz, rate_hz) if partial else None
        first = max(0, radio.tx_clock.own_at(now_ns)[0] + (radio.tx_clock.own_at(now_ns)[1] > 0))
        self._resampler = Resampler(
            self._positions, antennas, first, ceil_samples(now_ns, rate_hz), steady=own_hz == rate_hz
        )
        self._needs = 2 * (HALF + LATENCY) + (0 if self._band is None else 2 * self._band.delay_samples)
        self._quiet = self._needs

    @property
    def latency_s(self) -> float:
        """Of the interpolation and the band filter."""
        band = 0 if self._band is None else self._band.delay_samples
        return (LATENCY + band) / self.radio.tuning.tx_rate_hz

    def advance(self, samples: np.ndarray | None, own: int, count: int) -> np.ndarray | None:
        """The next nominal samples.

        Parameters
        ----------
        samples : [antennas, own] complex64 or None
            At the transmit antennas; None: silence.
        own : int
        count : int
            Nominal samples that are due.

        Returns
        -------
        [2, antennas, count] float32 or None
            Real and imaginary parts; None: silence.
        """
        self._quiet = self._quiet + own if samples is None else 0
        begin = self._resampler.next_output
        if self._quiet >= self._needs + own or begin + count <= ceil_samples(self.radio.start_ns, self.rate_hz):
            self.lose(own, count)
            return None
        x = np.zeros((self.antennas, own), np.complex64) if samples is None else samples
        self._resampler.push(x if self._band is None else self._band.filter(x))
        late = min(max(0, ceil_samples(self.radio.start_ns, self.rate_hz) - begin), count)
        self._resampler.next_output += late
        lifted = self._resampler.pull(count - late)
        out = np.zeros((2, self.antennas, count), dtype=np.float32)
        for c in range(self.antennas):
            self.radio.rotate("tx", lifted[c], begin + late, self.rate_hz, self.shift_hz, (*out[:, c, late:],))
        return out

    def lose(self, own: int, count: int) -> None:
        """Let samples pass that nobody listens to.

        Parameters
        ----------
        own, count : int
            As in `advance`.
        """
        self._quiet = self._needs
        self._resampler.lose(own, count)
        if self._band is not None:
            self._band.clear()

    def _positions(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return delayed(self.radio.tx_clock.own(outputs, self.rate_hz), self._delay)


class Ear:
    """One receiver: what its antennas meet of all it is connected to, at its own samples.

    Parameters
    ----------
    radio : TunedRadio
    lines : [A][U] TappedDelayLine or None
        From each of U transmit antennas.
    delay_samples : float
        From its antenna to its converter.
    now_ns : int
        When it begins.
    """

    def __init__(
        self,
        radio: TunedRadio,
        lines: Sequence[Sequence[TappedDelayLine | None]],
        delay_samples: float,
        now_ns: int,
    ) -> None:
        self.radio = radio
        self.rate_hz = radio.tuning.rx_rate_hz
        self._delay = delay_samples
        columns = list(zip(*lines, strict=True))
        shortest = [min((float(line.delays_s.min()) for line in column if line), default=0.0) for column in columns]
        moved = [[line and line.later(-s) for line, s in zip(row, shortest, strict=True)] for row in lines]
        self.bank = FilterBank(moved, np.array(shortest) * self.rate_hz, self.rate_hz)
        self._heard = np.full(self.bank.users, -self.bank.history - 1)  # when each user was last no silence
        self.next_nominal = ceil_samples(now_ns, self.rate_hz)
        self._resampler = Resampler(self._positions, len(lines), self.next_nominal, due(radio.rx_clock, now_ns))

    @property
    def latency_s(self) -> float:
        """Of the interpolation at the receiver, and of delays."""
        return (LATENCY + KERNEL_HALF) / self.rate_hz

    def lose(self, nominal: int, own: int) -> None:
        """Let samples pass that nobody wants.

        Parameters
        ----------
        nominal, own : int
        """
        self.bank.skip(nominal)
        self.next_nominal += nominal
        self._resampler.lose(nominal, own)

    def advance(self, lifted: Mapping[int, np.ndarray | None], nominal: int, own: int) -> np.ndarray:
        """The next samples.

        Parameters
        ----------
        lifted : {user: [2, nominal] float32 or None}
            What each transmit antenna sends; None or left out: silence.
        nominal : int
        own : int

        Returns
        -------
        [A, own] complex64
        """
        frame = self.bank.frame(nominal)
        begin, end = self.next_nominal, self.next_nominal + nominal
        for user in range(self.bank.users):
            wave = lifted.get(user)
            frame[:, user, self.bank.history :] = 0.0 if wave is None else wave
            if wave is not None:
                self._heard[user] = end
        silent = self._heard <= begin - self.bank.history
        sums = self.bank.mix(frame, begin, silent)
        turned = np.empty_like(sums)
        for a in range(self.bank.antennas):
            met = np.empty(nominal, dtype=np.complex64)
            met.real, met.imag = sums[:, a]
            self.radio.rotate("rx", met, begin, self.rate_hz, 0.0, (*turned[:, a],))
        self.next_nominal = end
        joined = np.empty(turned.shape[1:], dtype=np.complex64)
        joined.real, joined.imag = turned
        self._resampler.push(joined)
        return self._resampler.pull(own)

    def _positions(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.radio.rx_clock.nominal(outputs, self._delay)


def due(clock: Clock, time_ns: int) -> int:
    """How many of a clock's own samples lie before a time, from its sample 0 on.

    Parameters
    ----------
    clock : Clock
    time_ns : int

    Returns
    -------
    int
    """
    whole, part = clock.own_at(time_ns)
    return max(0, whole + (part > 0))
