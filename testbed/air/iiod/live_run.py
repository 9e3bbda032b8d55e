"""The air of a run whose radios are virtual Plutos in real pace: every Pluto hears all others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from testbed.air.commands import SetLink
from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.live import NS
from testbed.air.iiod.live_air import connect
from testbed.air.iiod.pace import Pacer
from testbed.air.iiod.serving import LOOK_S, leave, serve
from testbed.air.links import gain_of
from testbed.air.medium import Medium
from testbed.air.paths import apply_schedule, draw_paths, set_link_gain
from testbed.air.port_status import PortStatus
from testbed.air.power import unity_noise_mw
from testbed.air.serving import change_of
from testbed.air.truth import Truth
from testbed.air.world import Station
from testbed.config import AirPort, Change, RadioModel
from testbed.errors import ScenarioError


class LivePlutoAir:
    """It stands where `testbed.air.iiod.air.PlutoAir` does when ``air.pace`` is real.

    Edges hear the server over the channel on which it hears them, and each other. Clocks and front ends are those of
    ``air.radios``; the carrier offsets of ``air`` do not count, since oscillators make them. ``air.schedule`` counts
    samples from the moment at which the air comes up.

    Parameters
    ----------
    medium : Medium
        Whose air, users and noise hold; no sample passes through it.
    ports : list of AirPort
        ``pluto`` names each one's address.
    seed : int
    pacer : Pacer, optional
        In place of the machine's clock.

    Raises
    ------
    ScenarioError
        If there is not exactly one receiver, ports do not match the medium's users, or two share a Pluto.
    AddressInUse
        If an address is served already.
    """

    def __init__(self, medium: Medium, ports: Sequence[AirPort], seed: int, pacer: Pacer | None = None) -> None:
        self.medium = medium
        self._total: int | None = None
        servers = [port.name for port in ports if port.user is None]
        users = {port.name: port.user for port in ports if port.user is not None}
        if len(servers) != 1 or sorted(users.values()) != sorted(medium.users):
            raise ScenarioError(f"ports: one receiver and users {medium.users}: allowed for virtual Plutos")
        if len({port.pluto for port in ports}) < len(ports):
            raise ScenarioError("ports: two radios of one Pluto: in real pace give each node one of its own")
        self._server, self._users = servers[0], users
        models = {model.name: model for model in medium.air.radios}
        each = [models.get(port.name, RadioModel(port.name)) for port in ports]
        plutos = [VirtualPluto(port.pluto, medium.antennas if port.user is None else 1) for port in ports]
        stations = [Station(model, pluto.channels, pluto.channels) for model, pluto in zip(each, plutos, strict=True)]
        paths = draw_paths(stations, self._server, users, medium.waveform, medium.air, seed)
        self._ether = connect(plutos, each, paths, unity_noise_mw(medium.truth.noise_variance), seed, pacer)
        apply_schedule(self._ether.world, self._server, users, medium.air, medium.waveform.sample_rate_hz)
        self._plutos = serve(plutos, self._ether)

    @property
    def served(self) -> int:
        """Samples that have passed while the receiver had a buffer open, lost ones too, of those that the run wants."""
        passed = self._ether.passed(self._server)
        return passed if self._total is None else min(passed, self._total)

    @property
    def events(self) -> Counter[str]:
        """What went wrong at the ports, and how many samples that cost."""
        found: Counter[str] = Counter()
        for port in self._ether.counts():
            found[f"{port.port}: samples lost, nobody took them in time"] = port.lost
            found[f"{port.port}: silence in place of samples that were not there in time"] = port.late
        return +found

    @property
    def truth(self) -> Truth:
        """Of the medium, with the carrier offsets of the oscillators as they are now."""
        offsets_hz = {user: self._ether.world.cfo_hz(name, self._server) for name, user in self._users.items()}
        return msgspec.structs.replace(
            self.medium.truth, common_cfo_hz=0.0, user_cfo_hz=[offsets_hz[user] for user in self.medium.truth.users]
        )

    def __enter__(self) -> LivePlutoAir:
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
        """How every port stands, since the last call."""
        return self._ether.status(now_s)

    def set_link(self, order: SetLink) -> Change:
        """As `testbed.air.zmq_ports.AirServer.set_link`, by whichever thread; samples are those of nominal time."""
        links = [f"{name}.{self._server}" for name in self._users]
        change_of(order, 0, links)  # what is wrong with it is said to whom it concerns

        def act() -> Change:
            world = self._ether.world
            change = change_of(order, round(world.now_ns / NS * self.medium.waveform.sample_rate_hz), links)
            set_link_gain(world, self._server, self._users, self.medium.air, change.ends[0], gain_of(change))
            return change

        return self._ether.between_steps(act)

    def levels_dbfs(self) -> dict[int, float | None]:
        """Nothing: a Pluto's level is set by its converter and gain, which its registers tell."""
        return {}

    def close(self) -> None:
        """Cut all clients off, once they had time to mute their transmitters and leave; idempotent."""
        leave(self._plutos)
