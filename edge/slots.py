"""The slots of an edge's continuous stream: what stands in each, and how they are moved on the server's order.

A slot is a frame and its gap long. It holds a frame, an access burst or nothing; an order moves all later ones by
whole samples, which are put into a gap or taken out of it, and a fraction. Arrays and numbers only.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from testbed.phy.access import access_burst
from testbed.phy.waveform import Waveform

ACCESS, FRAMES, SILENT = "access", "frames", "silent"
LEAST_GAP = 64  # samples of silence that stay between two frames: no filter reaches over them


class Order(msgspec.Struct, frozen=True):
    """What the server wants of an edge's stream; each order replaces the one before.

    Attributes
    ----------
    number : int
        Counts orders; access bursts are of the variant of this number.
    phase : str
        What to send: ``access`` bursts, ``frames`` or nothing, ``silent``.
    delay_samples : float
        In all, since the stream began.
    trim_hz : float
        What the server measured of this edge's carrier beyond the edge's own correction, in all.
    """

    number: int = 0
    phase: str = ACCESS
    delay_samples: float = 0.0
    trim_hz: float = 0.0


class Slots:
    """Lays out the stream of one edge, slot by slot.

    Parameters
    ----------
    waveform : Waveform
    user : int

    Attributes
    ----------
    order : Order
        In force.
    """

    def __init__(self, waveform: Waveform, user: int) -> None:
        self.waveform = waveform
        self.user = user
        self.order = Order(phase=SILENT)
        self._next = self.order
        self._applied = 0.0  # delay so far

    def obey(self, order: Order) -> None:
        """From the next slot on."""
        self._next = order

    def begin(self) -> bool:
        """A slot begins: take over the last order if it is a new one and the stream stands where it says.

        Returns
        -------
        bool
            Whether an order has come into force with this slot.
        """
        if self._next is self.order or self._next.delay_samples != self._applied:
            return False
        self.order = self._next
        return True

    def lay(self, frame: np.ndarray | None) -> tuple[np.ndarray, float]:
        """The samples of a slot.

        While the stream does not stand yet where an order says, it is moved by as much as the gap allows.

        Parameters
        ----------
        frame : [frame_samples] complex64, optional
            In phase ``frames``: what stands in it; else None.

        Returns
        -------
        samples : [n] complex64
        fraction : float
            Of a sample, 0 to 1, by which what comes next is to leave later.
        """
        content = frame
        if content is None and self.order.phase == ACCESS:
            content = access_burst(self.waveform, self.user, self.order.number)
        if content is None:
            content = np.zeros(0, np.complex64)
        used, period = len(content), self.waveform.frame_period_samples
        wanted = self._next.delay_samples - self._applied
        whole = max(math.floor(wanted), used + LEAST_GAP - period)
        last = whole == math.floor(wanted)
        fraction = wanted - whole if last else 0.0
        self._applied = self._next.delay_samples if last else self._applied + whole
        return np.concatenate([content, np.zeros(period + whole - used, np.complex64)]), fraction
