"""Virtual Plutos with a medium between them: those of a run, as its ports say, or some on their own for any client."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
import numpy as np

from testbed.air.commands import SetLink
from testbed.air.iiod.cabling import Cable
from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.ether import Ether
from testbed.air.iiod.hearing import Hearing, Mixer
from testbed.air.iiod.live_air import live_between
from testbed.air.iiod.pace import Pacer
from testbed.air.iiod.server import IiodServer
from testbed.air.iiod.serving import LOOK_S, leave, serve
from testbed.air.links import gain_of
from testbed.air.medium import Medium
from testbed.air.port_status import PortStatus
from testbed.air.serving import change_of
from testbed.air.truth import Truth
from testbed.config import Air, AirPort, Change, RadioModel
from testbed.errors import ScenarioError
from testbed.phy.waveform import Waveform

PATIENCE_S = 0.5  # on their own: for a script that transmits and then receives, or receives only now and then
CABLE = Air(snr_db=40.0, channel="AWGN", common_cfo_hz=0.0)  # what lies between Plutos unless a scenario says otherwise


class PlutoAir:
    """The air of a run whose radios are virtual Plutos; it stands where `testbed.air.zmq_ports.AirServer` does.

    Time stands still without limit for every Pluto that has a buffer open, so a run is the same each time, and the same
    as over ZeroMQ but for the converters' rounding: edges open their TX buffers before they report ready, the server
    asks for the first sample after that.

    Parameters
    ----------
    medium : Medium
        Its users are the edges, its antennas the one receiver's.
    ports : list of AirPort
        ``pluto`` names each one's address; a transmitter and the receiver may share one.

    Raises
    ------
    ScenarioError
        If there is not exactly one receiver, or ports do not match the medium's users.
    AddressInUse
        If an address is served already.
    """

    def __init__(self, medium: Medium, ports: Sequence[AirPort]) -> None:
        self.medium = medium
        self.events: Counter[str] = Counter()
        self._total: int | None = None
        receivers = [port for port in ports if port.user is None]
        senders = {port.user: port for port in ports if port.user is not None}
        if len(receivers) != 1 or sorted(senders) != sorted(medium.users):
            raise ScenarioError(f"ports: one receiver and users {medium.users}: allowed for virtual Plutos")
        self._receiver = receivers[0].pluto
        self._server = receivers[0].name
        self._users = {port.name: user for user, port in senders.items() if user is not None}
        addresses = list(dict.fromkeys(port.pluto for port in ports))
        if len({port.pluto for port in senders.values()}) < len(senders):
            raise ScenarioError("ports: two users of one Pluto: give each edge one of its own")
        plutos = {a: VirtualPluto(a, medium.antennas if a == self._receiver else 1) for a in addresses}
        users = {user: (plutos[port.pluto], 0) for user, port in senders.items() if user is not None}
        hearing = Hearing(plutos[self._receiver], users, self._mixer, self._probe)
        self._ether = Ether(list(plutos.values()), [hearing], float("inf"))
        self._plutos = serve(list(plutos.values()), self._ether)

    @property
    def served(self) -> int:
        """Samples that have passed, of those that the run wants: a server reads ahead."""
        passed = self._ether.position
        return passed if self._total is None else min(passed, self._total)

    @property
    def truth(self) -> Truth:
        """Of the medium."""
        return self.medium.truth

    def __enter__(self) -> PlutoAir:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def run(self, should_stop: Callable[[], bool], total_samples: int | None = None) -> int:
        """Wait until ``total_samples`` have passed, or ``should_stop`` says so. Clients are served until `close`."""
        self._total = total_samples
        while not should_stop() and (total_samples is None or self.served < total_samples):
            time.sleep(LOOK_S)
        return self.served

    def status(self, now_s: float) -> list[PortStatus]:
        """Nothing: in lock step no port is late, and none has a rate of its own."""
        return []

    def set_link(self, order: SetLink) -> Change:
        """As `testbed.air.zmq_ports.AirServer.set_link`, by whichever thread."""
        links = [f"{name}.{self._server}" for name in self._users]

        def act() -> Change:
            change = change_of(order, self._ether.position, links)
            self.medium.set_gain(self._users[change.ends[0]], gain_of(change), change.at_sample)
            return change

        return self._ether.between_steps(act)

    def levels_dbfs(self) -> dict[int, float | None]:
        """Nothing: a Pluto's level is set by its converter and gain, which its registers tell."""
        return {}

    def close(self) -> None:
        """Cut all clients off, once they had time to mute their transmitters and leave; idempotent."""
        leave(self._plutos)

    def _mixer(self, rate_hz: float) -> Medium:
        """The run's medium, which has one rate; a receiver at another hears it at its own."""
        if rate_hz == self.medium.waveform.sample_rate_hz:
            return self.medium
        return self._probe(rate_hz)

    def _probe(self, rate_hz: float) -> Medium:
        """A medium like the run's, by which levels are measured: the run's own remembers what passes through it."""
        return at_rate(self.medium.waveform, self.medium.air, self.medium.users, self.medium.antennas, 0, rate_hz)


def present(
    addresses: Sequence[str],
    channels: int = 1,
    waveform: Waveform | None = None,
    air: Air | None = None,
    seed: int = 1,
    *,
    pace: str = "",
    models: Sequence[RadioModel] = (),
    cables: Sequence[Cable] = (),
    pacer: Pacer | None = None,
    server: str = "",
) -> list[IiodServer]:
    """Serve virtual Plutos for any client. Each hears all others; a single one hears itself.

    Without ``air`` there are cables: the first transmit channels of all to each first receive channel, the second ones
    to the second. With it, every transmit channel is a user of one medium, heard at every antenna.

    Parameters
    ----------
    addresses : sequence of str
        Of this machine; 127.0.0.2 and up need no setup on Linux.
    channels : int
        1 (1R1T) or 2 (2R2T) each.
    waveform, air, seed
        Of the medium; by default cables with an SNR of 40 dB and no offsets.
    pace : str
        ``lockstep``: time waits for clients (for a while). ``realtime``: it does not. Left out: as ``air`` says; real
        where there are models or cables.
    models : sequence of RadioModel
        Of the Plutos in their order, in real pace; by default those of ``air``, ideal ones where there are none.
    cables : sequence of Cable
        In real pace, in place of ``air``: between some ports, with losses; noise is then the receivers' own.
    pacer : Pacer
        In real pace, in place of the machine's clock.
    server : str
        In real pace, which of the models is the server whose antennas ``air.links`` numbers.

    Returns
    -------
    list of IiodServer
        In the order of the addresses; their ``ether`` is one.

    Raises
    ------
    ScenarioError
        If models or cables are given for a pace that has none, or do not match the addresses.
    """
    plutos = [VirtualPluto(address, channels) for address in addresses]
    real = bool(models or cables or pacer or (air is not None and air.pace == "realtime"))
    if (pace or ("realtime" if real else "lockstep")) == "realtime":
        ether = live_between(
            plutos, waveform or Waveform(), air or CABLE, seed, models, cables, air is None, pacer, server
        )
        return serve(plutos, ether)
    if models or cables or pacer:
        raise ScenarioError("radios with clocks and front ends of their own, and cables with losses, need real pace")
    return serve(plutos, between(plutos, channels, waveform or Waveform(), air, seed))


def between(plutos: Sequence[VirtualPluto], channels: int, shape: Waveform, air: Air | None, seed: int) -> Ether:
    """Cables, or a medium for each receiver, in lock step; parameters as of `present`."""
    hearings = []
    for number, receiver in enumerate(plutos):
        heard = [pluto for pluto in plutos if pluto is not receiver or len(plutos) == 1]
        users = dict(enumerate((pluto, channel) for pluto in heard for channel in range(channels)))
        make: Callable[[float], Mixer]
        if air is None:
            make = partial(Cables, shape, [len(heard)] * channels, seed + number * channels)
        else:
            make = partial(at_rate, shape, air, list(users), channels, seed + number)
        hearings.append(Hearing(receiver, users, make))
    return Ether(plutos, hearings, PATIENCE_S)


class Cables:
    """A cable for each channel: of users 0, 1, 2… user u arrives at antenna u modulo the number of channels, only.

    Parameters
    ----------
    waveform : Waveform
    users : list of int
        For each channel, how many users share its cable.
    seed : int
        Of the first channel's noise; each further one has the next.
    rate_hz : float
    """

    def __init__(self, waveform: Waveform, users: list[int], seed: int, rate_hz: float) -> None:
        self._mediums = []
        for channel, count in enumerate(users):
            own = [channel + len(users) * i for i in range(count)]
            no_offsets = [0.0] * (own[-1] + 1)
            cable = msgspec.structs.replace(CABLE, user_cfo_hz=no_offsets, user_delay_samples=no_offsets)
            self._mediums.append(at_rate(waveform, cable, own, 1, seed + channel, rate_hz))

    def mix(self, transmitted: Mapping[int, np.ndarray], first_sample: int) -> np.ndarray:
        """[channels, n] complex64."""
        return np.concatenate([m.mix({u: transmitted[u] for u in m.users}, first_sample) for m in self._mediums])


def at_rate(waveform: Waveform, air: Air, users: list[int], antennas: int, seed: int, rate_hz: float) -> Medium:
    """A medium whose times and offsets hold at a device's rate, with its kernels compiled."""
    shape = msgspec.structs.replace(waveform, sample_rate_hz=rate_hz)
    Medium(shape, air, users, antennas, seed).mix(np.zeros((len(users), 1), np.complex64), 0)
    return Medium(shape, air, users, antennas, seed)
