"""From antenna samples to every user's header, symbols and effective noise. No radio, no codec, no file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from server.detection import find_detector
from server.estimation import find_estimator
from server.received import ReceivedFrame, UserFrame
from server.stream import SampleStream
from testbed.errors import ScenarioError, ShapeError
from testbed.phy import ofdm, sync
from testbed.phy.frame import read_data, read_header
from testbed.phy.header import header_from_symbols
from testbed.phy.waveform import Waveform

SEARCH_PERIODS = 18  # starts searched at once, in fft_size: three blocks of the correlator, 1.2 ms
SANE_AMPLITUDE = 1e4  # times full scale; what exceeds it, or is not a number, counts as a fault and is received as 0


class Receiver:
    """Finds the frames of a stream and separates their users.

    What it returns depends on the samples alone, not on the chunks in which they are pushed: the stream is searched in
    windows that are laid by position, from its first sample or from the end of the last frame.

    Parameters
    ----------
    waveform : Waveform
    antennas : int
    users : sequence of int, optional
        Pilot slots to report; all of them unless given. The others are estimated and separated too.
    estimator, detector : str
        Names in `server.estimation` and `server.detection`.
    false_alarms_per_10ms : float
        See `testbed.phy.sync.detection_threshold`.
    max_cfo_hz : float
        Frames with an offset up to this are found.
    clock : callable
        Seconds, for ``stage_s`` only.

    Attributes
    ----------
    frames_cut : int
        Frames that the end of the stream cut off.
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
        false_alarms_per_10ms: float = 1e-4,
        max_cfo_hz: float = 26e3,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.waveform = waveform
        self.antennas = antennas
        self.users = list(range(waveform.pilot_slots) if users is None else users)
        if not all(0 <= user < waveform.pilot_slots for user in self.users):
            raise ScenarioError(f"users = {self.users}: allowed: 0..{waveform.pilot_slots - 1} (waveform.pilot_slots)")
        self.frames_cut = 0
        self.faulty_samples = 0
        self.first_faulty_sample: int | None = None
        self._estimate = find_estimator(estimator)
        self._detect = find_detector(detector)
        self._max_cfo_hz = max_cfo_hz
        hypotheses = len(sync.cfo_hypotheses(waveform, max_cfo_hz))
        self._threshold = sync.detection_threshold(waveform, antennas, false_alarms_per_10ms, hypotheses)
        self._clock = clock
        self._stream = SampleStream(antennas)
        self._next = 0  # where the search goes on
        self._found: tuple[int, sync.Detection] | None = None  # a frame that has not wholly arrived
        self._sync_s = 0.0

    def push(self, samples: np.ndarray) -> list[ReceivedFrame]:
        """Take in what was received next and return the frames that are complete with it.

        Parameters
        ----------
        samples : [A, n] complex64
            Any n, gapless behind what was pushed before.

        Raises
        ------
        ShapeError
            If there is not one row for each antenna.
        """
        samples = np.ascontiguousarray(samples, dtype=np.complex64)
        if samples.ndim != 2 or len(samples) != self.antennas:
            raise ShapeError(f"samples {samples.shape}: must be [antenna, sample] with {self.antennas} antennas")
        self._stream.append(self._sane(samples))
        return self._drain()

    def flush(self) -> list[ReceivedFrame]:
        """End the stream: return the frames that it still holds, count the one that it cut off, if any.

        Silence is put behind the end; nothing may be pushed after it.
        """
        end = self._stream.end
        frames: list[ReceivedFrame] = []
        while self._next < end:
            missing = self._wanted() - self._stream.end
            if missing > 0:
                self._stream.append(np.zeros((self.antennas, missing), dtype=np.complex64))
            if self._found is not None and self._found[0] + self.waveform.frame_samples > end:
                self.frames_cut += 1
                break
            frames += self._step()
        self._next, self._found = max(self._next, end), None
        return frames

    def _drain(self) -> list[ReceivedFrame]:
        frames: list[ReceivedFrame] = []
        while self._stream.end >= self._wanted():
            frames += self._step()
        return frames

    def _wanted(self) -> int:
        """Position up to which samples must have arrived for the next step."""
        if self._found is not None:
            # Late arrivals may draw the last FFT window up to one prefix behind the frame's nominal end.
            return self._found[0] + self.waveform.frame_samples + self.waveform.cp_samples
        return self._next + self._search_samples + 2 * self.waveform.preamble_samples

    def _step(self) -> list[ReceivedFrame]:
        """Search one window, or receive the frame that was found."""
        if self._found is not None:
            start, detection = self._found
            frame = self._receive(start, detection)
            self._found = None
            if any(user.header is not None for user in frame.users):
                # One prefix early: the next preamble may be heard on an earlier path than this one was.
                self._next = start + self.waveform.frame_samples - self.waveform.cp_samples
            else:
                # Nothing shows that this was a frame: a true preamble may stand inside what was taken for its body.
                self._next = start + self.waveform.preamble_samples
            self._stream.drop_before(self._next)
            return [frame]
        begun = self._clock()
        window = self._stream.view(self._next, self._wanted() - self._next)
        found = sync.detect(window, self.waveform, self._threshold, self._max_cfo_hz, self._search_samples)
        if found is not None:
            self._found = (self._next + found.start, found)
        else:
            self._next += self._search_samples
            self._stream.drop_before(self._next)
        self._sync_s += self._clock() - begun
        return []

    def _receive(self, start: int, detection: sync.Detection) -> ReceivedFrame:
        """One frame, from samples to symbols."""
        waveform = self.waveform
        times = [self._clock()]
        samples = self._stream.view(start, waveform.frame_samples + waveform.cp_samples)
        cfo_hz = sync.estimate_cfo(samples, waveform, detection.cfo_hz)
        arrivals = sync.estimate_arrivals(samples, waveform, cfo_hz)
        body = waveform.preamble_samples + sync.window_offset(arrivals, waveform)
        times.append(self._clock())
        level = sync.derotate(samples, cfo_hz, waveform)
        grid = ofdm.demodulate(level, waveform, waveform.body_symbols, body)  # [A, S, F]
        estimate = self._estimate(grid, waveform)
        times.append(self._clock())
        noise = estimate.no + estimate.error_variance.sum(axis=-1)
        x_hat, no_eff = self._detect(np.moveaxis(grid, 0, -1), estimate.h_hat, noise)
        x_hat, no_eff = np.moveaxis(x_hat, -1, 0), np.moveaxis(no_eff, -1, 0)  # [U, S, F]
        times.append(self._clock())
        users = [
            UserFrame(
                user=user,
                header=header_from_symbols(
                    read_header(x_hat[user], waveform), read_header(no_eff[user], waveform), waveform, user
                ),
                symbols=read_data(x_hat[user], waveform),
                no_eff=read_data(no_eff[user], waveform),
                cfo_hz=cfo_hz + float(estimate.user_cfo_hz[user]),
            )
            for user in self.users
        ]
        times.append(self._clock())
        spent = np.diff(times)
        stage_s = {"sync": self._sync_s + spent[0], "estimate": spent[1], "detect": spent[2], "header": spent[3]}
        self._sync_s = 0.0
        return ReceivedFrame(
            first_sample=start,
            timing_samples=(arrivals[0] + arrivals[1]) / 2,
            cfo_hz=cfo_hz,
            statistic=detection.statistic,
            no=estimate.no,
            users=users,
            channel=estimate.h_hat[waveform.pilot_symbols],
            stage_s={name: float(seconds) for name, seconds in stage_s.items()},
        )

    @property
    def _search_samples(self) -> int:
        return SEARCH_PERIODS * self.waveform.fft_size

    def _sane(self, samples: np.ndarray) -> np.ndarray:
        """Samples with faulty ones, which would spoil a whole frame, set to 0 and counted."""
        if np.all(np.abs(samples.view(np.float32)) < SANE_AMPLITUDE):
            return samples
        with np.errstate(invalid="ignore"):
            fault = ~((np.abs(samples.real) < SANE_AMPLITUDE) & (np.abs(samples.imag) < SANE_AMPLITUDE))
        self.faulty_samples += int(np.count_nonzero(fault))
        if self.first_faulty_sample is None:
            self.first_faulty_sample = self._stream.end + int(np.flatnonzero(fault.any(axis=0))[0])
        return np.where(fault, np.complex64(0), samples)
