"""The air's process: the medium behind its ports, as the control bus says. No mathematics here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import msgspec
import numpy as np

from testbed.air.iiod.air import PlutoAir
from testbed.air.iiod.live_run import LivePlutoAir
from testbed.air.iiod.pace import WallClock
from testbed.air.levels import level_warnings
from testbed.air.medium import Medium
from testbed.air.serving import KEYS, Serving
from testbed.air.zmq_ports import AirServer
from testbed.config import AirConfig, Change
from testbed.control.bus import Member
from testbed.control.messages import Changed
from testbed.errors import RunIncomplete

LOOK_S = 0.05  # how often a waiting node looks whether the run has ended
LAST_WORDS_S = 2.0  # for programs of others to end when all is done

log = logging.getLogger(__name__)


def open_ports(medium: Medium, config: AirConfig) -> AirServer | PlutoAir | LivePlutoAir:
    """ZeroMQ ports, or virtual Plutos; one kind for all radios of a run."""
    if all(port.pluto for port in config.ports):
        if config.air.pace == "realtime":
            return LivePlutoAir(medium, config.ports, config.seed, WallClock(config.air.speed, config.air.patience_s))
        return PlutoAir(medium, config.ports)
    return AirServer(medium, config.ports, config.air.block_samples, pace=config.air.pace)


def report(member: Member, change: Change) -> None:
    """Let the server know of a change, for the run's events."""
    key, value = next((key, v) for key in KEYS if (v := getattr(change, key)) is not None)
    member.say(Changed(node=member.name, at_sample=change.at_sample, link=change.link, key=key, value=value))


def run_air(config: AirConfig, should_stop: Callable[[], bool]) -> None:
    """Open the ports, carry as many samples as Start says, hand in the truth, and end when the server says Stop.

    Raises
    ------
    PeerUnreachable, PeerLost
        If the server, an edge's radio or the server's radio is not there, or goes away.
    RunIncomplete
        If the run ends before all is carried.
    AddressInUse, ScenarioError
        As the ports and the configuration have it.
    """
    name = config.air.name
    names = {port.name: port.user for port in config.ports if port.user is not None}
    users = list(names.values())
    antennas = sum(len(port.rx) or port.antennas for port in config.ports if port.user is None)

    def medium() -> Medium:
        return Medium(config.waveform, config.air, users, antennas, config.seed, names)

    with Member(config.control, name, "air", should_stop) as member:
        medium().mix(np.zeros((len(users), 1), np.complex64), 0)  # compiles kernels before anybody waits for samples
        with open_ports(medium(), config) as server:
            for warning in server.medium.warnings():
                log.warning("%s", warning)
            log.info("ports open: %d users, %d antennas", len(users), antennas)
            with Serving(name, server, partial(report, member)) as serving:
                total = member.ready().samples

                def ended() -> bool:
                    serving.look()
                    member.heartbeat(server.served, total)
                    return should_stop() or member.stop_reason is not None

                server.run(ended, total)
            levels_dbfs = server.levels_dbfs()
            for warning in level_warnings(levels_dbfs, config.waveform, config.air.snr_db, users):
                log.warning("%s", warning)
            values = {
                "samples": server.served,
                "truth": msgspec.to_builtins(server.truth),
                "events": dict(server.events),
                "levels_dbfs": {str(user): level for user, level in levels_dbfs.items()},
                "warnings": server.medium.warnings(),
                "changes": msgspec.to_builtins(serving.changes),
                "late": server.late_samples() if isinstance(server, AirServer) else {},
            }
            member.result(values)
            log.info("%d of %d samples carried", server.served, total)
            linger = server.linger if isinstance(server, AirServer) else lambda limit_s: None
            while member.stop_reason is None and not should_stop():
                linger(LOOK_S)
                time.sleep(LOOK_S)
            if member.stop_reason == "":
                linger(LAST_WORDS_S)
    if member.stop_reason != "":
        raise RunIncomplete(member.stop_reason or f"{name} was told to end before all was carried")
