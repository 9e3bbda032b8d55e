"""Finds the frames in a stream of samples. What is in a frame is `server.reception`'s business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import numpy as np

from testbed.phy import sync
from testbed.phy.stream import SampleStream
from testbed.phy.waveform import Waveform

SEARCH_PERIODS = 18  # starts searched at once, in fft_size: three blocks of the correlator, 1.2 ms


class FoundFrame(msgspec.Struct, frozen=True):
    """A frame as it was found.

    Attributes
    ----------
    start : int
        Position in the stream at which its preamble's prefix begins, to the nearest sample.
    samples : [A, frame_samples + cp_samples] complex64
        From there on; valid until the next `FrameFinder.push`.
    cfo_hz : float
        Carrier offset, to the nearest hypothesis.
    statistic : float
        Match of the preamble, 0..1.
    search_s : float
        Seconds spent on the search since the last frame.
    """

    start: int
    samples: np.ndarray
    cfo_hz: float
    statistic: float
    search_s: float


class TakeFrame(Protocol):
    """Receives a frame; returns whether it was one: then the search goes on behind it, else within it."""

    def __call__(self, found: FoundFrame) -> bool: ...


class FrameFinder:
    """Searches a stream in windows that are laid by position, from its first sample or from the end of the last frame.

    What is found depends on the samples alone, not on the chunks in which they are pushed.

    Parameters
    ----------
    waveform : Waveform
    antennas : int
    take : callable
        Called with each frame, in order.
    false_alarms_per_10ms : float
        See `testbed.phy.sync.detection_threshold`.
    max_cfo_hz : float
        Frames with an offset up to this are found.
    clock : callable
        Seconds, for ``search_s`` only.

    Attributes
    ----------
    frames_cut : int
        Frames that the end of the stream cut off.
    """

    def __init__(
        self,
        waveform: Waveform,
        antennas: int,
        take: TakeFrame,
        false_alarms_per_10ms: float,
        max_cfo_hz: float,
        clock: Callable[[], float],
    ) -> None:
        self.waveform = waveform
        self.frames_cut = 0
        self._antennas = antennas
        self._take = take
        self._max_cfo_hz = max_cfo_hz
        hypotheses = len(sync.cfo_hypotheses(waveform, max_cfo_hz))
        self._threshold = sync.detection_threshold(waveform, antennas, false_alarms_per_10ms, hypotheses)
        self._clock = clock
        self._stream = SampleStream(antennas)
        self._next = 0  # where the search goes on
        self._found: tuple[int, sync.Detection] | None = None  # a frame that has not wholly arrived
        self._search_s = 0.0

    @property
    def end(self) -> int:
        """Position behind the last sample that was pushed."""
        return self._stream.end

    def push(self, samples: np.ndarray) -> None:
        """Take in [A, n] complex64 and search it, as far as whole windows and frames are there."""
        self._stream.append(samples)
        while self._stream.end >= self._wanted():
            self._step()

    def flush(self) -> None:
        """End the stream: search what it still holds, with silence behind it; count the frame that it cuts off."""
        end = self._stream.end
        while self._next < end:
            missing = self._wanted() - self._stream.end
            if missing > 0:
                self._stream.append(np.zeros((self._antennas, missing), dtype=np.complex64))
            if self._found is not None and self._found[0] + self.waveform.frame_samples > end:
                self.frames_cut += 1
                break
            self._step()
        self._next, self._found = max(self._next, end), None

    def _wanted(self) -> int:
        """Position up to which samples must have arrived for the next step."""
        if self._found is not None:
            # Late arrivals may draw the last FFT window up to one prefix behind the frame's nominal end.
            return self._found[0] + self.waveform.frame_samples + self.waveform.cp_samples
        return self._next + self._search_samples + 2 * self.waveform.preamble_samples

    def _step(self) -> None:
        """Search one window, or hand on the frame that was found."""
        if self._found is not None:
            start, detection = self._found
            samples = self._stream.view(start, self.waveform.frame_samples + self.waveform.cp_samples)
            found = FoundFrame(start, samples, detection.cfo_hz, detection.statistic, self._search_s)
            self._found, self._search_s = None, 0.0
            if self._take(found):
                # One prefix early: the next preamble may be heard on an earlier path than this one was.
                self._next = start + self.waveform.frame_samples - self.waveform.cp_samples
            else:
                # Nothing shows that this was a frame: a true preamble may stand inside what was taken for its body.
                self._next = start + self.waveform.preamble_samples
            self._stream.drop_before(self._next)
            return
        begun = self._clock()
        window = self._stream.view(self._next, self._wanted() - self._next)
        match = sync.detect(window, self.waveform, self._threshold, self._max_cfo_hz, self._search_samples)
        if match is not None:
            self._found = (self._next + match.start, match)
        else:
            self._next += self._search_samples
            self._stream.drop_before(self._next)
        self._search_s += self._clock() - begun

    @property
    def _search_samples(self) -> int:
        return SEARCH_PERIODS * self.waveform.fft_size
