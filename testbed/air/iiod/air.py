"""Virtual Plutos with a medium between them: those of a run, as its ports say, or some on their own for any client."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
import numpy as np

from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.ether import Ether
from testbed.air.iiod.hearing import Hearing, Mixer
from testbed.air.iiod.server import IiodServer
from testbed.air.medium import Medium
from testbed.config import Air, AirPort
from testbed.errors import ScenarioError
from testbed.phy.waveform import Waveform

LOOK_S = 0.05
LEAVE_S = 1.0  # of the 3 s within which a run ends
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
        addresses = list(dict.fromkeys(port.pluto for port in ports))
        if len({port.pluto for port in senders.values()}) < len(senders):
            raise ScenarioError("ports: two users of one Pluto: give each edge one of its own")
        plutos = {a: VirtualPluto(a, medium.antennas if a == self._receiver else 1) for a in addresses}
        users = {user: (plutos[port.pluto], 0) for user, port in senders.items() if user is not None}
        hearing = Hearing(plutos[self._receiver], users, self._mixer, self._probe)
        self._plutos = serve(list(plutos.values()), [hearing], float("inf"))

    @property
    def served(self) -> int:
        """Samples that have passed, of those that the run wants: a server reads ahead."""
        passed = self._plutos[0].ether.position
        return passed if self._total is None else min(passed, self._total)

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

    def levels_dbfs(self) -> dict[int, float | None]:
        """Nothing: a Pluto's level is set by its converter and gain, which its registers tell."""
        return {}

    def close(self) -> None:
        """Cut all clients off, once they had time to mute their transmitters and leave; idempotent."""
        deadline = time.monotonic() + LEAVE_S
        while any(server.clients for server in self._plutos) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        for server in self._plutos:
            server.close()

    def _mixer(self, rate_hz: float) -> Medium:
        """The run's medium, which has one rate; a receiver at another hears it at its own."""
        if rate_hz == self.medium.waveform.sample_rate_hz:
            return self.medium
        return self._probe(rate_hz)

    def _probe(self, rate_hz: float) -> Medium:
        """A medium like the run's, by which levels are measured: the run's own remembers what passes through it."""
        return at_rate(self.medium.waveform, self.medium.air, self.medium.users, self.medium.antennas, 0, rate_hz)


def present(
    addresses: Sequence[str], channels: int = 1, waveform: Waveform | None = None, air: Air | None = None, seed: int = 1
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
    """
    plutos = [VirtualPluto(address, channels) for address in addresses]
    shape = waveform or Waveform()
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
    return serve(plutos, hearings, PATIENCE_S)


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


def serve(plutos: Sequence[VirtualPluto], hearings: Sequence[Hearing], patience_s: float) -> list[IiodServer]:
    """One ether, and a server for each Pluto; none if one of them cannot be."""
    ether = Ether(plutos, hearings, patience_s)
    servers: list[IiodServer] = []
    try:
        for pluto in plutos:
            servers.append(IiodServer(pluto, ether))
    except BaseException:
        for server in servers:
            server.close()
        raise
    return servers


def at_rate(waveform: Waveform, air: Air, users: list[int], antennas: int, seed: int, rate_hz: float) -> Medium:
    """A medium whose times and offsets hold at a device's rate, with its kernels compiled."""
    shape = msgspec.structs.replace(waveform, sample_rate_hz=rate_hz)
    Medium(shape, air, users, antennas, seed).mix(np.zeros((len(users), 1), np.complex64), 0)
    return Medium(shape, air, users, antennas, seed)
