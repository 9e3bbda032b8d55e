"""The samples of a SigMF recording, whoever made it, as a stream whose gaps are zeros."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sigmf
from sigmf.error import SigMFError

from testbed.errors import DataError
from testbed.radio.base import RadioEvent
from testbed.radio.sigmf_files import (
    DATA,
    STREAM_SAMPLES,
    events_of,
    read_metadata,
    require_plain,
    samples_in,
    segments_of,
    stream_files,
)

MAX_GAP_S = 600.0  # of samples that a recording lacks: they are handed on as zeros, so a file must not name any number


class Recording:
    """A recording of one or more antennas, as a stream whose gaps are zeros.

    Parameters
    ----------
    path : Path
        A ``.sigmf-collection``, ``.sigmf-meta`` or ``.sigmf-data`` file, or a folder with one recording in it.
    checked : bool
        Whether the samples are compared with their checksum, which reads them all.

    Attributes
    ----------
    rate_hz : float
    antennas : int
    samples : int
        Of the stream, gaps included.
    segments : list of Segment
    events : list of RadioEvent
        In the order in which the radio told of them; gaps of a recording of another program count as ``lost``.
    hardware : str
    datatype : str

    Raises
    ------
    DataError
        If it is missing, damaged, cut short, or of a kind that is not read here.
    """

    def __init__(self, path: Path, checked: bool = True) -> None:
        self.path = path
        streams = [Stream(file, checked) for file in stream_files(path)]
        first = streams[0]
        for other in streams[1:]:
            for what in ("rate_hz", "recorded", "segments"):
                if getattr(other, what) != getattr(first, what):
                    raise DataError(f"{other.path}: its {what} is not that of {first.path.name} beside it")
        self._streams = streams
        self.rate_hz = first.rate_hz
        self.antennas = sum(stream.channels for stream in streams)
        self.recorded = first.recorded
        self.segments = first.segments
        last = self.segments[-1]
        end = last.position + self.recorded - last.start
        self.samples = max(end, first.information.get(STREAM_SAMPLES, end))
        gaps = self.samples - self.recorded
        if gaps > MAX_GAP_S * self.rate_hz:
            raise DataError(
                f"{first.path}: its captures leave out {gaps} samples: at most {MAX_GAP_S:g} s of gaps are read"
            )
        self.hardware = str(first.information.get("core:hw", ""))
        self.datatype = str(first.information["core:datatype"])
        ours = STREAM_SAMPLES in first.information
        self.events = events_of(first.path, first.metadata) if ours else self._gaps()

    def read(self, position: int, count: int) -> np.ndarray:
        """[antenna, count] complex64 of the stream from ``position`` on; zeros where nothing was recorded."""
        out = np.zeros((self.antennas, count), np.complex64)
        ends = [segment.start for segment in self.segments[1:]] + [self.recorded]
        for segment, end in zip(self.segments, ends, strict=True):
            first = max(position, segment.position)
            last = min(position + count, segment.position + end - segment.start)
            if first < last:
                start = segment.start + first - segment.position
                parts = [stream.read(start, last - first) for stream in self._streams]
                out[:, first - position : last - position] = np.concatenate(parts)
        return out

    def _gaps(self) -> list[RadioEvent]:
        found = []
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            end = before.position + after.start - before.start
            if after.position > end:
                found.append(RadioEvent("lost", end, after.position - end, "the recording leaves them out"))
        return found


class Stream:
    """One recording, of a collection or by itself: checked metadata, and samples by their place in the file."""

    def __init__(self, path: Path, checked: bool) -> None:
        self.path = path
        self.metadata = read_metadata(path)
        self.information: Mapping[str, Any] = self.metadata["global"]
        require_plain(path, self.metadata)
        self.rate_hz = float(self.information["core:sample_rate"])
        self.channels = int(self.information.get("core:num_channels", 1))
        self.recorded = samples_in(path, self.information, self.channels)
        self.segments = segments_of(path, self.metadata, self.recorded)
        data = path.with_suffix(DATA)
        try:
            self._file = sigmf.SigMFFile(metadata=self.metadata, data_file=data, skip_checksum=not checked)
        except (SigMFError, OSError, ValueError) as error:
            raise DataError(f"{data}: {error} These are not the samples that were recorded: copy them anew") from error

    def read(self, start: int, count: int) -> np.ndarray:
        """[channel, count] complex64; fixed-point samples as shares of full scale."""
        try:
            samples = self._file.read_samples(start, count)
        except OSError as error:
            raise DataError(f"{self.path.with_suffix(DATA)}: cannot be read: {error.strerror or error}") from error
        if samples.size != count * self.channels:
            raise DataError(f"{self.path.with_suffix(DATA)}: became shorter while it was read")
        return samples.reshape(count, self.channels).T
