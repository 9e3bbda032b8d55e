"""Whom one virtual Pluto hears, through which mixer, and at what level; when samples move: `ether`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from testbed.air.iiod.device import RX, VirtualPluto
from testbed.air.iiod.frontend import received, transmitted

PROBE_SAMPLES, SETTLED_SAMPLES = 8192, 4096  # mixed to measure a level while time stands still, and of these the last


class Mixer(Protocol):
    """What `testbed.air.medium.Medium` does."""

    def mix(self, transmitted: Mapping[int, np.ndarray], first_sample: int) -> np.ndarray:
        """What the antennas receive of it.

        Parameters
        ----------
        transmitted : {user: [count] complex64}
        first_sample : int
            Absolute index of the first.

        Returns
        -------
        [antennas, count] complex64
        """
        ...


class Hearing:
    """Whom one Pluto hears: users, each a Pluto's TX channel, through a mixer made for the sample rate in force.

    The mixer's sample 0 is the first that the receiver takes: what it hears depends on nobody who listened before.
    """

    def __init__(
        self,
        receiver: VirtualPluto,
        users: Mapping[int, tuple[VirtualPluto, int]],
        make: Callable[[float], Mixer],
        make_probe: Callable[[float], Mixer] | None = None,
    ) -> None:
        self.receiver = receiver
        self.users = dict(users)
        self._make = make
        self._make_probe = make_probe or make  # another mixer: one remembers what passed through it
        self._probe: Mixer | None = None
        self._probe_rate_hz = 0.0
        self._probed = 0
        self._rate_hz = 0.0
        self._mixer: Mixer | None = None
        self._origin: int | None = None

    def receive(self, sent: Mapping[VirtualPluto, np.ndarray | None], first_sample: int, count: int) -> np.ndarray:
        """Samples for the receiver's buffer.

        Parameters
        ----------
        sent : {VirtualPluto: [count, columns] int16 or None}
            DAC codes of every Pluto; None: nothing.
        first_sample, count : int
            Absolute index of the first, and how many.

        Returns
        -------
        [count, columns] int16
            I and Q of each channel.
        """
        rate_hz = self.receiver.rate_hz(RX)
        if self._mixer is None or self._rate_hz != rate_hz:
            self._mixer, self._rate_hz = self._make(rate_hz), rate_hz
        if self._origin is None:
            self._origin = first_sample
        first_sample -= self._origin
        return received(self.receiver, self._mixer.mix(self._waves(sent, first_sample, count), first_sample))

    def measure(self, sent: Mapping[VirtualPluto, np.ndarray | None], first_sample: int, count: int) -> None:
        """Bring the receiver's RSSI and AGC to what it would hear of this; no sample passes.

        Parameters
        ----------
        sent : {VirtualPluto: [count, columns] int16 or None}
            DAC codes of every Pluto; None: nothing.
        first_sample, count : int
            Absolute index of the first, and how many.
        """
        rate_hz = self.receiver.rate_hz(RX)
        if self._probe is None or self._probe_rate_hz != rate_hz:
            self._probe, self._probe_rate_hz = self._make_probe(rate_hz), rate_hz
        first_sample = max(first_sample - (first_sample if self._origin is None else self._origin), self._probed)
        self._probed = first_sample + count
        y = self._probe.mix(self._waves(sent, first_sample, count), first_sample)
        received(self.receiver, y[:, -SETTLED_SAMPLES:])

    def _waves(
        self, sent: Mapping[VirtualPluto, np.ndarray | None], first_sample: int, count: int
    ) -> dict[int, np.ndarray]:
        return {
            user: transmitted(pluto, channel, sent.get(pluto), self.receiver, first_sample, count)
            for user, (pluto, channel) in self.users.items()
        }
