"""A radio that plays a recording: what was received once is received again, sample by sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from testbed.errors import PeerLost, RadioError
from testbed.radio.base import RadioEvent, RadioIdentity, RadioSettings, RxBlock, Tuning, nothing_to_tune
from testbed.radio.sigmf_recording import Recording


class SigmfRadio:
    """``sigmf:PATH``: receives a SigMF recording, from its first sample to its last, and the events that it names.

    PATH is a ``.sigmf-collection`` or ``.sigmf-meta`` file, or a folder that holds a recording, such as that of a run.
    What was lost is zeros, as it was when it was recorded. Behind the last sample `receive` raises PeerLost.

    Raises
    ------
    RadioError
        If a transmit channel is asked for, or another rate or number of antennas than was recorded.
    DataError
        If the recording is missing or damaged.
    """

    @staticmethod
    def check(uri: str, settings: RadioSettings) -> None:
        """See `testbed.radio.registry.check_uri`."""
        if not uri.partition(":")[2]:
            raise RadioError(f"{uri}: write sigmf:PATH, a recording or a folder that holds one")
        if settings.tx_channels:
            raise RadioError(f"{uri}: a recording is received; it cannot transmit")

    def __init__(self, uri: str, settings: RadioSettings) -> None:
        self.check(uri, settings)
        self.uri = uri
        self.settings = settings
        self.recording = Recording(Path(uri.partition(":")[2]).expanduser())
        rate_hz, antennas = self.recording.rate_hz, self.recording.antennas
        if rate_hz != settings.sample_rate_hz:
            raise RadioError(
                f"{uri}: recorded at {rate_hz:g} samples a second; the waveform has {settings.sample_rate_hz:g}: "
                "choose a waveform of that rate (waveform.profile) or resample the recording"
            )
        if antennas != settings.rx_channels:
            raise RadioError(f"{uri}: recorded with {antennas} antennas; {settings.rx_channels} are asked for")
        self._position = 0
        self._events: list[RadioEvent] = list(self.recording.events)
        self._closed = False

    def __enter__(self) -> SigmfRadio:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def paced(self) -> bool:
        """A file waits."""
        return True

    @property
    def identity(self) -> RadioIdentity:
        """The recording, and what it was made with."""
        return RadioIdentity("sigmf", self.uri.partition(":")[2], model=self.recording.hardware)

    @property
    def adjusted(self) -> tuple[str, ...]:
        """Nothing: it is as it was asked to be."""
        return ()

    @property
    def tuning(self) -> None:
        """What was recorded is tuned no more."""

    def retune(self, tuning: Tuning) -> Tuning:
        """See `testbed.radio.base.Radio.retune`."""
        raise nothing_to_tune(self.uri)

    def send(self, samples: np.ndarray) -> None:
        """See `testbed.radio.base.Radio.send`."""
        self._require_open("send")
        raise RadioError(f"{self.uri}: send: opened without a transmit channel: a recording cannot transmit")

    def finish(self) -> None:
        """Nothing is ever queued."""

    def sent_events(self) -> tuple[RadioEvent, ...]:
        """Nothing is ever sent."""
        return ()

    def receive(self, count: int) -> RxBlock:
        """See `testbed.radio.base.Radio.receive`."""
        self._require_open("receive")
        first, end = self._position, self._position + count
        if end > self.recording.samples:
            raise PeerLost(f"{self.uri}: the recording ends after {self.recording.samples} samples")
        samples = self.recording.read(first, count)
        self._position = end
        told = 0
        while told < len(self._events) and (self._events[told].sample < end or end == self.recording.samples):
            told += 1
        events, self._events = tuple(self._events[:told]), self._events[told:]
        return RxBlock(samples, first, events)

    def close(self) -> None:
        """See `testbed.radio.base.Radio.close`."""
        self._closed = True

    def _require_open(self, what: str) -> None:
        if self._closed:
            raise RadioError(f"{self.uri}: {what}: the radio is closed")
