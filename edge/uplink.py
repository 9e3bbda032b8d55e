"""What an edge of its own clock sends, slot by slot: laid out as the server orders, corrected as the beacon says."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from edge.clock import ClockCorrection
from edge.slots import FRAMES, Order, Slots
from testbed.phy.waveform import Waveform


class Answer(msgspec.Struct, frozen=True):
    """An order is obeyed from this frame of the edge on."""

    number: int
    frame: int


class Uplink:
    """The continuous stream of one edge.

    Parameters
    ----------
    waveform : Waveform
    user : int
    lo_hz : float
        That it sends at, nominal.

    Attributes
    ----------
    frames : int
        Handed out so far.
    """

    def __init__(self, waveform: Waveform, user: int, lo_hz: float) -> None:
        self.frames = 0
        self.slots = Slots(waveform, user)
        self.clock = ClockCorrection(waveform.sample_rate_hz, lo_hz)

    def next(
        self, ppm: float, frame: Callable[[], np.ndarray | None], order: Order | None = None
    ) -> tuple[np.ndarray, Answer | None]:
        """The next slot.

        Parameters
        ----------
        ppm : float
            By how much this edge's oscillator is faster than the server's.
        frame : callable
            The next frame, [frame_samples] complex64, or None if there is none yet; asked only where one is wanted.
        order : Order, optional
            The server's last, if a new one has come.

        Returns
        -------
        samples : [n] complex64
            For this edge's converter.
        answer : Answer or None
            If an order came into force with this slot.
        """
        if order is not None:
            self.slots.obey(order)
        answer = Answer(self.slots.order.number, self.frames) if self.slots.begin() else None
        self.clock.ppm, self.clock.trim_hz = ppm, self.slots.order.trim_hz
        content = frame() if self.slots.order.phase == FRAMES else None
        self.frames += content is not None
        samples, fraction = self.slots.lay(content)
        corrected = self.clock.push(samples)
        if fraction:
            self.clock.delay(fraction)
        return corrected, answer
