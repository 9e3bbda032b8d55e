"""What lies between radios with clocks of their own: samples at transmit antennas in, at receive antennas out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from testbed.air.oscillator import NS
from testbed.air.tuned import TunedRadio, Tuning
from testbed.air.world_parts import HEARD, Ear, Lift, ceil_samples, due
from testbed.channels.base import TappedDelayLine
from testbed.config import RadioModel
from testbed.errors import ShapeError
from testbed.units import db_to_amplitude

Port = tuple[str, int]  # a radio's name and one of its antennas
Path = tuple[Port, Port]  # from a transmit antenna to a receive antenna


@dataclass(frozen=True)
class Station:
    """One radio of a world, as it is built."""

    model: RadioModel  # its name, oscillator and front end
    tx_antennas: int = 1
    rx_antennas: int = 1


class World:
    r"""Every radio hears every transmitter that a path connects to it, in nominal time.

    Nominal time is a whole number of nanoseconds since the world began and belongs to no radio. Each radio's own clock
    says how many samples of its own fall into a stretch of it (`due`): a transmitter with +20 ppm gives more than one
    with -20 ppm, a receiver is given more. For each step the caller takes that many samples from each transmitter,
    hands them to `advance`, and gets that many for each receiver::

        due = world.due(until_ns)                                  # {name: (tx, rx)}
        sent = {name: chain[name].transmit(dac(name, tx), gains_db) for name, (tx, _) in due.items()}
        heard = world.advance(until_ns, sent)                      # {name: [rx antennas, rx] complex64}
        adc = {name: receive_chain[name].receive(y, first, gains_db) for name, y in heard.items()}

    A transmitter's samples are resampled from its own clock to nominal samples of the receiver's rate, moved to the
    receiver's nominal LO by its own phase, filtered where only part of its band lies in the receiver's, sent through
    the paths, turned by the receiver's phase and resampled to the receiver's clock. Radios whose bands do not overlap
    do not hear each other.

    Amplitudes at antennas are in :math:`\sqrt{\mathrm{mW}}`: :math:`|x|^2 = 1` is 0 dBm. What lies between converters
    and antennas, noise too, is `testbed.air.front_end`; what a client filters is the caller's. Delays of front ends
    (``tx_delay_samples``, ``rx_delay_samples``) are in the world, since they move the instants.

    What arrives depends on absolute indices alone: it is the same bit for bit however nominal time is cut into steps.
    All delays are longer by the constant `latency_s`, that of the interpolation filters. Radios that listen again after
    they did not, or that are tuned to another LO or rate, rise from silence as the filters fill.

    Parameters
    ----------
    stations : sequence of Station
    paths : {((transmitter, antenna), (receiver, antenna)): TappedDelayLine}
        Gains from :math:`\sqrt{\mathrm{mW}}` to :math:`\sqrt{\mathrm{mW}}`; `testbed.air.paths` draws them from an
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
        self.stations = {station.model.name: station for station in stations}
        self.now_ns = 0
        self.paths = dict(paths)
        self._radios = {
            name: TunedRadio(station.model.oscillator, tunings[name], seed, number)
            for number, (name, station) in enumerate(self.stations.items())
        }
        self._sources = {name: self._sources_of(name) for name in self.stations}
        self._changes: list[tuple[Path, float, int]] = []
        self._lifts: dict[tuple[str, int, float], Lift | None] = {}
        self._ears = {name: self._ear(name) for name in self.stations}

    def tune(self, name: str, tuning: Tuning) -> None:
        """A client sets something: it holds from ``now_ns`` on. A new rate begins with a new sample 0 there.

        Parameters
        ----------
        name : str
        tuning : Tuning
        """
        old = self._radios[name].tuning
        if tuning == old:
            return
        self._radios[name].tune(tuning, self.now_ns)
        sent_alike = (tuning.tx_rate_hz, tuning.tx_lo_hz) == (old.tx_rate_hz, old.tx_lo_hz)
        self._lifts = {key: lift for key, lift in self._lifts.items() if key[0] != name or sent_alike}
        if tuning.rx_rate_hz != old.rx_rate_hz:
            self._ears[name] = self._ear(name)
        used = {self._key(s, ear) for n, ear in self._ears.items() if ear for s, _ in self._sources[n]}
        self._lifts = {key: lift for key, lift in self._lifts.items() if key in used}

    def set_gain(self, path: Path, gain_db: float, at_ns: int | None = None) -> None:
        """A path becomes louder or softer than it was drawn, at the first nominal sample at ``at_ns`` or later.

        Parameters
        ----------
        path : Path
        gain_db : float
            Over the gain with which it was drawn.
        at_ns : int, optional
            ``now_ns`` if left out.

        Raises
        ------
        ShapeError
            If there is no such path, or the time is past.
        """
        if path not in self.paths:
            raise ShapeError(f"set_gain: no path {path}; there are {sorted(self.paths)}")
        at = self.now_ns if at_ns is None else at_ns
        if at < self.now_ns:
            raise ShapeError(f"set_gain: at_ns = {at}: allowed: {self.now_ns} or later")
        self._changes.append((path, float(db_to_amplitude(gain_db)), at))
        self._apply(self._ears[path[1][0]], *self._changes[-1])

    def due(self, until_ns: int) -> dict[str, tuple[int, int]]:
        """Samples of each radio's own clock from ``now_ns`` to ``until_ns``.

        Parameters
        ----------
        until_ns : int

        Returns
        -------
        {name: (transmitted, received)}
        """
        return {
            name: (
                due(radio.tx_clock, until_ns) - due(radio.tx_clock, self.now_ns),
                due(radio.rx_clock, until_ns) - due(radio.rx_clock, self.now_ns),
            )
            for name, radio in self._radios.items()
        }

    def passed(self, name: str) -> tuple[int, int]:
        """The indices, on the radio's own clock, of the next samples that are transmitted and received.

        Parameters
        ----------
        name : str

        Returns
        -------
        tx, rx : int
            Counted from the start, or from the last change of the rate.
        """
        radio = self._radios[name]
        return due(radio.tx_clock, self.now_ns), due(radio.rx_clock, self.now_ns)

    def time_of(self, name: str, rx_samples: int) -> int:
        """The earliest nominal time by which so many further samples are due to a receiver.

        Parameters
        ----------
        name : str
        rx_samples : int
            More than 0.

        Returns
        -------
        int
            In ns.
        """
        clock = self._radios[name].rx_clock
        wanted = due(clock, self.now_ns) + rx_samples
        whole, part = clock.nominal(np.array([wanted - 1], dtype=np.int64))
        time_ns = int(whole[0]) * NS // clock.rate_hz + int(float(part[0]) * NS / clock.rate_hz) - 2
        while due(clock, time_ns) < wanted:
            time_ns += 1
        return max(time_ns, self.now_ns)

    def cfo_hz(self, transmitter: str, receiver: str) -> float:
        """How far a transmitter's carrier lies from a receiver's LO now, in nominal Hz.

        Parameters
        ----------
        transmitter, receiver : str

        Returns
        -------
        float
        """
        sender, ear = self._radios[transmitter], self._radios[receiver]
        nominal_hz = sender.tuning.tx_lo_hz - ear.tuning.rx_lo_hz
        return nominal_hz + sender.tuning.tx_lo_hz * self._error(sender) - ear.tuning.rx_lo_hz * self._error(ear)

    def latency_s(self, transmitter: str, receiver: str) -> float:
        """By how much later than its path says a transmitter is heard; front ends' delays come on top.

        Parameters
        ----------
        transmitter, receiver : str

        Returns
        -------
        float
        """
        ear = self._ears[receiver]
        lift = None if ear is None else self._lift(transmitter, ear)
        return 0.0 if ear is None or lift is None else lift.latency_s + ear.latency_s

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
            Of those who listen; exactly the n that `due` says.

        Raises
        ------
        ShapeError
            If time would go back, or samples are not as many as are due.
        """
        if until_ns < self.now_ns:
            raise ShapeError(f"advance: until_ns = {until_ns}: allowed: {self.now_ns} or later")
        counts = self.due(until_ns)
        for name, x in transmitted.items():
            shape = (self.stations[name].tx_antennas, counts[name][0])
            if x.shape != shape:
                raise ShapeError(f"advance: {name} transmits {x.shape}: due at {until_ns} ns is {shape}")
        wanted = [name for name in self.stations if listening is None or name in listening]
        lifted: dict[tuple[str, int, float], np.ndarray | None] = {}
        heard = {}
        for name, ear in self._ears.items():
            own = counts[name][1]
            if ear is None:
                if name in wanted:
                    heard[name] = np.zeros((self.stations[name].rx_antennas, own), dtype=np.complex64)
                continue
            nominal = ceil_samples(until_ns, ear.rate_hz) - ear.next_nominal
            if name not in wanted or until_ns <= ear.radio.start_ns:
                ear.lose(nominal, own)
                if name in wanted:
                    heard[name] = np.zeros((self.stations[name].rx_antennas, own), dtype=np.complex64)
                continue
            waves: dict[int, np.ndarray | None] = {}
            for user, (source, antenna) in enumerate(self._sources[name]):
                key = self._key(source, ear)
                if key not in lifted:
                    lift = self._lift(source, ear)
                    sent = transmitted.get(source)
                    lifted[key] = None if lift is None else lift.advance(sent, counts[source][0], nominal)
                wave = lifted[key]
                waves[user] = None if wave is None else wave[:, antenna]
            heard[name] = ear.advance(waves, nominal, own)
        for key, lift in self._lifts.items():
            if key not in lifted and lift is not None:
                nominal = ceil_samples(until_ns, lift.rate_hz) - ceil_samples(self.now_ns, lift.rate_hz)
                lift.lose(counts[key[0]][0], nominal)
        self.now_ns = until_ns
        return heard

    def _sources_of(self, name: str) -> list[Port]:
        """Transmit antennas from which paths lead to a receiver."""
        return list(dict.fromkeys(sender for sender, (receiver, _) in self.paths if receiver == name))

    def _ear(self, name: str) -> Ear | None:
        """A receiver, as its radio is tuned; None: nothing leads to it."""
        sources, station = self._sources[name], self.stations[name]
        if not sources or not station.rx_antennas:
            return None
        lines = [[self.paths.get((s, (name, a))) for s in sources] for a in range(station.rx_antennas)]
        ear = Ear(self._radios[name], lines, station.model.front_end.rx_delay_samples, self.now_ns)
        for change in self._changes:
            if change[0][1][0] == name:
                self._apply(ear, *change)
        return ear

    def _apply(self, ear: Ear | None, path: Path, amplitude: float, at_ns: int) -> None:
        sender, (receiver, antenna) = path
        if ear is not None:
            user = self._sources[receiver].index(sender)
            ear.bank.change(ceil_samples(at_ns, ear.rate_hz), antenna, user, amplitude)

    def _key(self, source: str, ear: Ear) -> tuple[str, int, float]:
        return source, ear.rate_hz, self._radios[source].tuning.tx_lo_hz - ear.radio.tuning.rx_lo_hz

    def _lift(self, source: str, ear: Ear) -> Lift | None:
        """A transmitter as receivers of this rate and LO meet it; None: their bands do not overlap."""
        key = self._key(source, ear)
        if key not in self._lifts:
            radio, station = self._radios[source], self.stations[source]
            apart = abs(key[2]) >= HEARD * (radio.tuning.tx_rate_hz + ear.rate_hz)
            delay = station.model.front_end.tx_delay_samples
            self._lifts[key] = (
                None if apart else Lift(radio, station.tx_antennas, delay, ear.rate_hz, key[2], self.now_ns)
            )
        return self._lifts[key]

    def _error(self, radio: TunedRadio) -> float:
        """Relative, of its crystal now."""
        reference = radio.reference
        return reference.error + reference.drift_per_s * (self.now_ns - reference.origin_ns) / NS
