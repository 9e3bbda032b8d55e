"""From the samples of one found frame to every user's symbols and their noise. It keeps nothing from frame to frame.

A frame receiver is made by a factory ``(waveform, estimator, detector, clock) -> FrameReceiver`` in `RECEIVERS`; a
scenario names it, ``server.receiver``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import numpy as np

from server.detection import Channel, Detector, Received
from server.estimation import Estimator
from server.synchronisation import FoundFrame
from testbed.errors import ScenarioError
from testbed.phy import ofdm, sync
from testbed.phy.arrival import mean_delays
from testbed.phy.waveform import Waveform

Clock = Callable[[], float]


class SeparatedFrame(msgspec.Struct, frozen=True):
    """A frame with its users apart, before anything of it is read.

    Attributes
    ----------
    x_hat : [U, S, F] complex64
        Unbiased estimates of unit-power symbols of each pilot slot's user.
    no_eff : [U, S, F] float32
        Variance of their errors: noise, the other users, and the error of the channel estimate.
    cfo_hz : float
        Offset common to the users, which was taken out of the samples.
    user_cfo_hz : [U] float64
        Offset of each user from the receiver's oscillator.
    user_delay_samples : [U] float64
        Mean delay of each user's paths behind the frame's start.
    timing_samples : float
        Delay behind the frame's start of the middle between the first and the last arrival of any user.
    no : float
        Noise variance of a resource element, per antenna.
    channel : [P, F, A, U] complex64
        Estimate at the pilot symbols, including the transmitters' amplitude.
    stage_s : dict
        Seconds spent, by stage.
    """

    x_hat: np.ndarray
    no_eff: np.ndarray
    cfo_hz: float
    user_cfo_hz: np.ndarray
    user_delay_samples: np.ndarray
    timing_samples: float
    no: float
    channel: np.ndarray
    stage_s: dict[str, float]


class FrameReceiver(Protocol):
    """Whatever separates the users of a frame."""

    def receive(self, found: FoundFrame) -> SeparatedFrame:
        """One frame, from samples to symbols."""


class SinglePass:
    """Offset, timing, channel, detection: each once, in this order.

    Parameters
    ----------
    waveform : Waveform
    estimator : callable
        Of `server.estimation`.
    detector : callable
        Of `server.detection`.
    clock : callable
        Seconds, for ``stage_s`` only.
    """

    def __init__(self, waveform: Waveform, estimator: Estimator, detector: Detector, clock: Clock) -> None:
        self.waveform = waveform
        self._estimate = estimator
        self._detect = detector
        self._clock = clock

    def receive(self, found: FoundFrame) -> SeparatedFrame:
        """See `FrameReceiver`."""
        times = [self._clock()]
        cfo_hz = sync.estimate_cfo(found.samples, self.waveform, found.cfo_hz)
        arrivals = sync.estimate_arrivals(found.samples, self.waveform, cfo_hz)
        times.append(self._clock())
        grid = self._grid(found.samples, cfo_hz, arrivals)
        estimate = self._estimate(grid)
        times.append(self._clock())
        received = Received(np.moveaxis(grid, 0, -1), Channel(estimate.h_hat, estimate.error_variance), estimate.no)
        posterior = self._detect(received)
        times.append(self._clock())
        channel = estimate.h_hat[self.waveform.pilot_symbols]
        return SeparatedFrame(
            x_hat=np.moveaxis(posterior.x_hat, -1, 0),
            no_eff=np.moveaxis(posterior.no_eff, -1, 0),
            cfo_hz=cfo_hz,
            user_cfo_hz=cfo_hz + np.asarray(estimate.user_cfo_hz, np.float64),
            user_delay_samples=sync.window_offset(arrivals, self.waveform) + mean_delays(channel, self.waveform),
            timing_samples=(arrivals[0] + arrivals[1]) / 2,
            no=estimate.no,
            channel=channel,
            stage_s=dict(zip(("sync", "estimate", "detect"), map(float, np.diff(times)), strict=True)),
        )

    def _grid(self, samples: np.ndarray, cfo_hz: float, arrivals: tuple[float, float]) -> np.ndarray:
        """[A, S, F] complex64: the body's resource elements, the common offset taken out."""
        body = self.waveform.preamble_samples + sync.window_offset(arrivals, self.waveform)
        level = sync.derotate(samples, cfo_hz, self.waveform)
        return ofdm.demodulate(level, self.waveform, self.waveform.body_symbols, body)


RECEIVERS: dict[str, Callable[[Waveform, Estimator, Detector, Clock], FrameReceiver]] = {"single-pass": SinglePass}


def find_receiver(name: str) -> Callable[[Waveform, Estimator, Detector, Clock], FrameReceiver]:
    """The factory of this name.

    Raises
    ------
    ScenarioError
        If there is none; the message lists those known.
    """
    if name not in RECEIVERS:
        raise ScenarioError(f"server.receiver = {name}: allowed: {', '.join(RECEIVERS)}")
    return RECEIVERS[name]
