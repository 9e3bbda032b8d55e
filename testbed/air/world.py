"""What lies between radios with clocks of their own: samples at transmit antennas in, at receive antennas out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from testbed.channels.base import TappedDelayLine
from testbed.config import RadioModel

Port = tuple[str, int]  # a radio's name and one of its antennas
Path = tuple[Port, Port]  # from a transmit antenna to a receive antenna


@dataclass(frozen=True)
class Station:
    """One radio of a world, as it is built."""

    model: RadioModel  # its name, oscillator and front end
    tx_antennas: int = 1
    rx_antennas: int = 1


@dataclass(frozen=True)
class Tuning:
    """What a client has set of a radio: nominal values, which its oscillator then misses."""

    tx_rate_hz: int
    rx_rate_hz: int
    tx_lo_hz: float
    rx_lo_hz: float
    correction_ppm: float = 0.0  # added to the oscillator's ppm, for LO and sample clock alike (``xo_correction``)


class World:
    r"""Every radio hears every transmitter that a path connects to it, in nominal time.

    Nominal time is a whole number of nanoseconds since the world began and belongs to no radio. Each radio's own clock
    says how many samples of its own fall into a stretch of it (`due`): a transmitter with +20 ppm gives more than one
    with -20 ppm, a receiver is given more. For each step the caller takes that many samples from each transmitter,
    hands them to `advance`, and gets that many for each receiver::

        due = world.due(until_ns)                                  # {name: (tx, rx)}
        sent = {name: chain[name].transmit(dac(name, tx), first, gains_db) for name, (tx, _) in due.items()}
        heard = world.advance(until_ns, sent)                      # {name: [rx antennas, rx] complex64}
        adc = {name: receive_chain[name].receive(y, first, gains_db) for name, y in heard.items()}

    Amplitudes at antennas are in :math:`\sqrt{\mathrm{mW}}`: :math:`|x|^2 = 1` is 0 dBm. What lies between converters
    and antennas, noise too, is `testbed.air.front_end`; what a client filters is the caller's. Delays of front ends
    (``tx_delay_samples``, ``rx_delay_samples``) are in the world, since they move the instants.

    What arrives depends on absolute indices alone: it is the same bit for bit however nominal time is cut into steps.
    All delays are longer by the constant ``latency_s`` of a receiver, that of the interpolation filters.

    Parameters
    ----------
    stations : sequence of Station
    paths : {((transmitter, antenna), (receiver, antenna)): TappedDelayLine}
        Gains from :math:`\sqrt{\mathrm{mW}}` to :math:`\sqrt{\mathrm{mW}}`; ``testbed.air.paths`` draws them from an
        air. What is left out is not connected. A radio may have a path to itself.
    tunings : {name: Tuning}
        At nominal time 0.
    seed : int
        Of phase noise.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        paths: Mapping[Path, TappedDelayLine],
        tunings: Mapping[str, Tuning],
        seed: int,
    ) -> None:
        raise NotImplementedError

    @property
    def now_ns(self) -> int:
        """Nominal time up to which samples have passed."""
        raise NotImplementedError

    def tune(self, name: str, tuning: Tuning) -> None:
        """A client sets something: it holds from ``now_ns`` on. A new rate begins with a new sample 0 there."""
        raise NotImplementedError

    def set_gain(self, path: Path, gain_db: float, at_ns: int | None = None) -> None:
        """A path becomes louder or softer than it was drawn, from ``at_ns`` (or ``now_ns``) on."""
        raise NotImplementedError

    def due(self, until_ns: int) -> dict[str, tuple[int, int]]:
        """Samples of each radio's own clock from ``now_ns`` to ``until_ns``: (transmitted, received)."""
        raise NotImplementedError

    def time_of(self, name: str, rx_samples: int) -> int:
        """The nominal time, in ns, by which so many further samples are due to a receiver."""
        raise NotImplementedError

    def advance(
        self, until_ns: int, transmitted: Mapping[str, np.ndarray], listening: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Let time pass.

        Parameters
        ----------
        until_ns : int
        transmitted : {name: [tx_antennas, n] complex64}
            Exactly the n that `due` says; who is left out is silent.
        listening : collection of str, optional
            Who wants samples; the others' are lost. All by default.

        Returns
        -------
        {name: [rx_antennas, n] complex64}
            Exactly the n that `due` says.
        """
        raise NotImplementedError
