"""An edge's receive path: finds the server's beacon, and tracks how far its own oscillator is from the server's.

Carrier and sample clock of a radio come from one oscillator, so one figure tells both; the carrier tells it a thousand
times as finely. It knows no radio and no network.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from testbed.phy.beacon import (
    Beacon,
    burst_samples,
    cfo_deviation_hz,
    find_beacon,
    measure_beacon,
    period_samples,
)
from testbed.phy.stream import SampleStream
from testbed.phy.waveform import Waveform

MAX_PPM = 54.0  # +-25 ppm at both ends, and a server that is 4 ppm off in its LO's rounding: 130 kHz at 2.4 GHz
SEARCH_EVERY = 2  # periods: a search takes longer than one period lasts, and must not fall behind
LOST_AFTER = 20  # periods without a beacon where it is expected, after which it is searched for
NEAR_PPM = 2.0  # at first so near the offset that is known: hypotheses are few then
NEAR_SEARCHES = 20  # then over all offsets again
DOPPLER_HZ = 2.0  # of a slowly fading channel, which no estimator can tell from an oscillator's
DRIFT_PPM_PER_S = 0.02  # of an oscillator that was just switched on: what the filter expects before it has seen any
DRIFT_CHANGE = 5e-4  # ppm/s, by which the drift changes in a second
OUTLIER = 8.0  # standard deviations; a beacon that differs by more counts as missed


class OscillatorTrack:
    r"""Second-order tracking of an oscillator: a Kalman filter of offset and drift over beacons.

    State :math:`(p, \dot p)` in ppm and ppm/s, :math:`p_{k+1} = p_k + T \dot p_k`, the drift a random walk of
    :math:`q` ppm/s a square-root second; measured is p, from the carrier.

    References
    ----------
    Y. Bar-Shalom, X. Rong Li and T. Kirubarajan, *Estimation with Applications to Tracking and Navigation*, 2001,
    sec. 6.2.2 (white-noise acceleration).
    """

    def __init__(self, ppm: float, deviation_ppm: float) -> None:
        self.state = np.array([ppm, 0.0])
        self.covariance = np.diag([deviation_ppm**2, DRIFT_PPM_PER_S**2])

    @property
    def ppm(self) -> float:
        """Offset at the last update."""
        return float(self.state[0])

    @property
    def deviation_ppm(self) -> float:
        """Its standard deviation."""
        return math.sqrt(self.covariance[0, 0])

    def predict(self, seconds: float) -> None:
        """Let time pass."""
        move = np.array([[1.0, seconds], [0.0, 1.0]])
        walk = DRIFT_CHANGE**2 * np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        self.state = move @ self.state
        self.covariance = move @ self.covariance @ move.T + walk

    def update(self, ppm: float, deviation_ppm: float) -> bool:
        """Take in a measurement; False, and nothing is changed, if it cannot be of this oscillator."""
        variance = self.covariance[0, 0] + deviation_ppm**2
        innovation = ppm - self.state[0]
        if innovation**2 > OUTLIER**2 * variance:
            return False
        gain = self.covariance[:, 0] / variance
        self.state = self.state + gain * innovation
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        return True


class Reception(msgspec.Struct, frozen=True):
    """What an edge knows of the server at this moment.

    Attributes
    ----------
    ppm : float
        By how much this edge's oscillator is faster than the server's.
    deviation_ppm : float
        Standard deviation of ``ppm``.
    drift_ppm_per_s : float
    beacon : Beacon
        The last, its arrival counted from the edge's sample 0.
    heard : bool
        Whether beacons come; False: ``ppm`` is what it was when the last one came, and the drift since.
    """

    ppm: float
    deviation_ppm: float
    drift_ppm_per_s: float
    beacon: Beacon
    heard: bool


def ppm_of(cfo_hz: float, lo_hz: float) -> float:
    r"""How much faster an oscillator is than the one whose carrier it hears, from the offset that it sees.

    The carrier :math:`f (1 + p_s)` is heard at :math:`\Delta = f (p_s - p_e)/(1 + p_e)` in the edge's own hertz, so
    :math:`p = (1 + p_e)/(1 + p_s) - 1 = -c/(1 + c)` with :math:`c = \Delta / f`: exact.

    Parameters
    ----------
    cfo_hz : float
    lo_hz : float
        Nominal carrier.

    Returns
    -------
    float
        In ppm.
    """
    share = cfo_hz / lo_hz
    return -share / (1 + share) * 1e6


def cfo_of(ppm: float, lo_hz: float) -> float:
    """The offset at which an oscillator so much faster hears a carrier: the inverse of `ppm_of`.

    Parameters
    ----------
    ppm : float
    lo_hz : float

    Returns
    -------
    float
        In Hz.
    """
    share = ppm * 1e-6
    return -share / (1 + share) * lo_hz


class BeaconReceiver:
    """Acquires the beacon in a stream of samples, then measures each one where it is expected.

    What it finds depends on the samples alone, not on the pieces in which they are pushed.

    Parameters
    ----------
    waveform : Waveform
    lo_hz : float
        Of the beacon, nominal.
    antennas : int

    Attributes
    ----------
    beacons, misses, acquisitions : int
        Measured; expected and not there; how often it was found by a search.
    """

    def __init__(self, waveform: Waveform, lo_hz: float, antennas: int = 1) -> None:
        self.waveform = waveform
        self.lo_hz = lo_hz
        self.beacons = self.misses = self.acquisitions = 0
        self._antennas = antennas
        self._stream = SampleStream(antennas)
        self._track: OscillatorTrack | None = None
        self._last: Beacon | None = None
        self._missed = 0  # in a row
        self._searches = 0  # without success
        self._next = 0  # position from which samples are wanted
        self._period = period_samples(waveform)
        self._burst = burst_samples(waveform)
        self._margin = 2 * waveform.cp_samples

    @property
    def state(self) -> Reception | None:
        """What is known; None until a beacon was heard."""
        if self._track is None or self._last is None:
            return None
        return Reception(
            ppm=self._track.ppm,
            deviation_ppm=self._track.deviation_ppm,
            drift_ppm_per_s=float(self._track.state[1]),
            beacon=self._last,
            heard=self._missed < LOST_AFTER,
        )

    def push(self, samples: np.ndarray) -> list[Beacon]:
        """Take in what was received next, in order and without gaps.

        Parameters
        ----------
        samples : [A, n] complex64

        Returns
        -------
        list of Beacon
            Those measured now.
        """
        self._stream.append(samples)
        found: list[Beacon] = []
        while True:
            searching = self._last is None or self._missed >= LOST_AFTER
            wanted = self._period + self._burst + self._margin if searching else self._burst + 2 * self._margin
            if self._stream.end < self._next + wanted:
                self._stream.drop_before(self._next)
                return found
            view = self._stream.view(self._next, wanted)
            beacon = self._search(view) if searching else self._follow(view)
            if beacon is not None:
                found.append(beacon)

    def _search(self, samples: np.ndarray) -> Beacon | None:
        """Look for a beacon anywhere; near the offset that is known, if one is and it was not long ago."""
        first = self._next
        near = self._track is not None and self._searches < NEAR_SEARCHES
        ppm = self._track.ppm if near and self._track is not None else 0.0
        reach_hz = (NEAR_PPM if near else MAX_PPM) * 1e-6 * self.lo_hz
        found = find_beacon(samples, self.waveform, reach_hz, cfo_of(ppm, self.lo_hz))
        cp = self.waveform.cp_samples
        beacon = None
        if found is not None and cp <= found.start <= samples.shape[1] - self._burst - cp:
            beacon = measure_beacon(samples, self.waveform, found.start, found.cfo_hz)
        if beacon is None:
            self._searches += 1
            self._next = first + SEARCH_EVERY * self._period
            if found is not None:  # a burst across the end, or one that cannot be read: the next begins there
                self._next = first + found.start + self._period - self._margin
            return None
        self._searches = self._missed = 0
        self.acquisitions += 1
        beacon = msgspec.structs.replace(beacon, arrival=first + beacon.arrival)
        if self._track is not None and self._last is not None:  # what was known of it ages by what has passed
            self._track.predict((beacon.arrival - self._last.arrival) / self.waveform.sample_rate_hz)
        if self._track is None or not self._track.update(*self._measured(beacon)):
            self._track = OscillatorTrack(*self._measured(beacon))
        return self._take(beacon)

    def _follow(self, samples: np.ndarray) -> Beacon | None:
        """Measure the beacon that is due."""
        assert self._track is not None and self._last is not None
        ahead = self._missed + 1
        expected = self._last.arrival + ahead * self._period * (1 + self._track.ppm * 1e-6) - self._next
        number = (self._last.number + ahead) % 2**32
        cfo_hz = cfo_of(self._track.ppm, self.lo_hz)
        beacon = measure_beacon(samples, self.waveform, round(expected), cfo_hz, number)
        seconds = ahead * self._period / self.waveform.sample_rate_hz
        if beacon is not None:
            before = self._track.state.copy(), self._track.covariance.copy()
            self._track.predict(seconds)
            if not self._track.update(*self._measured(beacon)):
                self._track.state, self._track.covariance = before
                beacon = None
        if beacon is None:
            self._missed += 1
            self.misses += 1
            self._aim(ahead + 1)
            return None
        self._missed = 0
        return self._take(msgspec.structs.replace(beacon, arrival=self._next + beacon.arrival))

    def _take(self, beacon: Beacon) -> Beacon:
        self._last = beacon
        self.beacons += 1
        self._aim(1)
        return beacon

    def _aim(self, ahead: int) -> None:
        """Want the samples about the beacon that is due so many periods behind the last."""
        assert self._track is not None and self._last is not None
        due = self._last.arrival + ahead * self._period * (1 + self._track.ppm * 1e-6)
        self._next = round(due) - self._margin

    def _measured(self, beacon: Beacon) -> tuple[float, float]:
        """ppm and its standard deviation as one beacon tells it."""
        deviation_hz = math.hypot(cfo_deviation_hz(beacon.snr_db, self._antennas, self.waveform), DOPPLER_HZ)
        return ppm_of(beacon.cfo_hz, self.lo_hz), deviation_hz / self.lo_hz * 1e6
