"""From antenna samples to every user's header, symbols and effective noise. No radio, no codec, no file.

Frames are found (`server.synchronisation`), their users separated (`server.reception`), their headers read with the
help of the frames around them (`server.headers`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from server.detection import find_detector
from server.estimation import find_estimator
from server.headers import HeaderTracker
from server.received import ReceivedFrame, UserFrame
from server.reception import find_receiver
from server.synchronisation import FoundFrame, FrameFinder
from testbed.errors import ScenarioError, ShapeError
from testbed.phy.frame import read_data, read_header
from testbed.phy.header import Header
from testbed.phy.header_code import header_soft_bits
from testbed.phy.waveform import Waveform

SANE_AMPLITUDE = 1e4  # times full scale; what exceeds it, or is not a number, counts as a fault and is received as 0


class Waiting(msgspec.Struct):
    """A received frame, and the headers that were read of it so far."""

    frame: ReceivedFrame
    headers: dict[int, Header | None]


class Receiver:
    """Finds the frames of a stream, separates their users and reads their headers.

    What it returns depends on the samples alone, not on the chunks in which they are pushed. Frames come in order, each
    as soon as all its headers are read or given up: at most `server.headers.HELD_FRAMES` frames late.

    Parameters
    ----------
    waveform : Waveform
    antennas : int
    users : sequence of int, optional
        Pilot slots to report; all of them unless given. The others are estimated and separated too.
    estimator, detector, receiver : str
        Names in `server.estimation`, `server.detection` and `server.reception`.
    false_alarms_per_10ms : float
        See `testbed.phy.sync.detection_threshold`.
    max_cfo_hz : float
        Frames with an offset up to this are found.
    clock : callable
        Seconds, for ``stage_s`` only.

    Attributes
    ----------
    faulty_samples : int
        Samples that were no numbers, or beyond any receiver's range.
    first_faulty_sample : int or None
        Where the first of them was.
    """

    def __init__(
        self,
        waveform: Waveform,
        antennas: int,
        users: Sequence[int] | None = None,
        estimator: str = "lmmse",
        detector: str = "lmmse",
        receiver: str = "single-pass",
        false_alarms_per_10ms: float = 1e-4,
        max_cfo_hz: float = 26e3,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.waveform = waveform
        self.antennas = antennas
        self.users = list(range(waveform.pilot_slots) if users is None else users)
        if not all(0 <= user < waveform.pilot_slots for user in self.users):
            raise ScenarioError(f"users = {self.users}: allowed: 0..{waveform.pilot_slots - 1} (waveform.pilot_slots)")
        self.faulty_samples = 0
        self.first_faulty_sample: int | None = None
        self._clock = clock
        self._finder = FrameFinder(waveform, antennas, self._take, false_alarms_per_10ms, max_cfo_hz, clock)
        self._separate = find_receiver(receiver)(
            waveform, find_estimator(estimator)(waveform, antennas), find_detector(detector), clock
        )
        self._trackers = {user: HeaderTracker(waveform, user) for user in self.users}
        self._waiting: dict[int, Waiting] = {}  # by their start, in order

    @property
    def frames_cut(self) -> int:
        """Frames that the end of the stream cut off."""
        return self._finder.frames_cut

    def push(self, samples: np.ndarray) -> list[ReceivedFrame]:
        """Take in what was received next and return the frames that are settled with it.

        Parameters
        ----------
        samples : [A, n] complex64
            Any n, gapless behind what was pushed before.

        Returns
        -------
        list of ReceivedFrame

        Raises
        ------
        ShapeError
            If there is not one row for each antenna.
        """
        samples = np.ascontiguousarray(samples, dtype=np.complex64)
        if samples.ndim != 2 or len(samples) != self.antennas:
            raise ShapeError(f"samples {samples.shape}: must be [antenna, sample] with {self.antennas} antennas")
        self._finder.push(self._sane(samples))
        return self._settled()

    def flush(self) -> list[ReceivedFrame]:
        """End the stream: return the frames that it still holds, count the one that it cut off, if any.

        Silence is put behind the end; nothing may be pushed after it.
        """
        self._finder.flush()
        for user, tracker in self._trackers.items():
            self._note(user, tracker.finish())
        return self._settled()

    def _take(self, found: FoundFrame) -> bool:
        """Separate a frame and read what can be read now; whether anything shows that it is one."""
        separated = self._separate.receive(found)
        begun = self._clock()
        expected = False
        headers: dict[int, Header | None] = {}
        frame = ReceivedFrame(
            first_sample=found.start,
            timing_samples=separated.timing_samples,
            cfo_hz=separated.cfo_hz,
            statistic=found.statistic,
            no=separated.no,
            users=[
                UserFrame(
                    user=user,
                    header=None,
                    symbols=read_data(separated.x_hat[user], self.waveform),
                    no_eff=read_data(separated.no_eff[user], self.waveform),
                    cfo_hz=float(separated.user_cfo_hz[user]),
                    delay_samples=float(separated.user_delay_samples[user]),
                )
                for user in self.users
            ],
            channel=separated.channel,
            stage_s=separated.stage_s,
        )
        self._waiting[found.start] = Waiting(frame, headers)
        for user, tracker in self._trackers.items():
            expected |= tracker.expects(found.start)
            x_hat, no_eff = separated.x_hat[user], separated.no_eff[user]
            soft = header_soft_bits(
                read_header(x_hat, self.waveform), read_header(no_eff, self.waveform), self.waveform
            )
            self._note(user, tracker.push(found.start, soft))
        frame.stage_s["sync"] += found.search_s
        frame.stage_s["header"] = self._clock() - begun
        return expected or any(header is not None for header in headers.values())

    def _note(self, user: int, settled: Sequence[tuple[int, Header | None]]) -> None:
        for start, header in settled:
            self._waiting[start].headers[user] = header

    def _settled(self) -> list[ReceivedFrame]:
        """Take from the front all frames of which each header is read or given up."""
        frames = []
        while self._waiting:
            start, waiting = next(iter(self._waiting.items()))
            if len(waiting.headers) < len(self.users):
                break
            del self._waiting[start]
            users = [msgspec.structs.replace(u, header=waiting.headers[u.user]) for u in waiting.frame.users]
            frames.append(msgspec.structs.replace(waiting.frame, users=users))
        return frames

    def _sane(self, samples: np.ndarray) -> np.ndarray:
        """Samples with faulty ones, which would spoil a whole frame, set to 0 and counted."""
        if np.all(np.abs(samples.view(np.float32)) < SANE_AMPLITUDE):
            return samples
        with np.errstate(invalid="ignore"):
            fault = ~((np.abs(samples.real) < SANE_AMPLITUDE) & (np.abs(samples.imag) < SANE_AMPLITUDE))
        self.faulty_samples += int(np.count_nonzero(fault))
        if self.first_faulty_sample is None:
            self.first_faulty_sample = self._finder.end + int(np.flatnonzero(fault.any(axis=0))[0])
        return np.where(fault, np.complex64(0), samples)
