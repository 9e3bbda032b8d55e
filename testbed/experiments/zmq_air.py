"""An air on its own: ZeroMQ ports for any programs, the medium of a scenario between them, no server and no bus."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from testbed.air.medium import Medium
from testbed.air.serving import Serving
from testbed.air.zmq_ports import AirServer
from testbed.config import Air, AirPort, Scenario, load_scenario
from testbed.errors import ScenarioError
from testbed.experiments.external import SENDS, TAKES, level_words, pattern_named
from testbed.experiments.live_line import LiveLine
from testbed.experiments.scenario_files import find_scenario
from testbed.phy.waveform import Waveform

CABLE = Air(
    snr_db=40.0, channel="AWGN", common_cfo_hz=0.0
)  # of every transmitter to every receiver, without a scenario


class ZmqPort(msgspec.Struct, frozen=True):
    """One port as the command line names it."""

    kind: str  # tx: a program transmits there; rx: a program receives there
    endpoint: str
    pattern: str


def parse_ports(given: Sequence[str]) -> list[ZmqPort]:
    """``tx=47001,rx=47002:sub`` of ``--zmq``.

    Raises
    ------
    ScenarioError
        If it is written otherwise, or no port transmits or none receives.
    """
    found = []
    for text in ",".join(given).split(","):
        kind, _, where = text.partition("=")
        match = re.fullmatch(r"(?P<host>tcp://[^,]+:)?(?P<port>\d{1,5})(:(?P<pattern>[a-z-]+))?", where)
        if kind not in ("tx", "rx") or match is None or not 0 < int(match["port"]) < 65536:
            raise ScenarioError(
                f"--zmq {text}: write it as tx=PORT or rx=PORT, with :PATTERN behind it where it is not req-rep: "
                "--zmq tx=47001,rx=47002:pub"
            )
        endpoint = (match["host"] or "tcp://127.0.0.1:") + match["port"]
        found.append(ZmqPort(kind, endpoint, pattern_named(match["pattern"] or "req-rep", f"--zmq {text}")))
    kinds = {port.kind for port in found}
    if kinds != {"tx", "rx"}:
        raise ScenarioError("--zmq: at least one tx=PORT and one rx=PORT, for example --zmq tx=47001,rx=47002")
    return found


def air_between(ports: Sequence[ZmqPort], scenario: Scenario | None) -> tuple[Waveform, Air, list[AirPort]]:
    """The medium's parts and the air's ports: transmitters are the scenario's edges in turn, receivers its antennas.

    Raises
    ------
    ScenarioError
        If the scenario has too few edges.
    """
    senders = [port for port in ports if port.kind == "tx"]
    edges = scenario.edges if scenario else []
    if scenario and len(senders) > len(edges):
        raise ScenarioError(f"--zmq: {len(senders)} transmitters; {scenario.name} has {len(edges)} edges")
    names = [edge.name for edge in edges] or [f"tx{i}" for i in range(len(senders))]
    users = [edge.user for edge in edges] or list(range(len(senders)))
    receiver = scenario.server.name if scenario else "rx"
    served = [
        AirPort(name=name, user=user, tx=[port.endpoint], pattern=port.pattern, external=True)
        for name, user, port in zip(names, users, senders, strict=False)
    ]
    served += [
        AirPort(name=receiver, user=None, rx=[port.endpoint], pattern=port.pattern, external=True)
        for port in ports
        if port.kind == "rx"
    ]
    if scenario:
        return scenario.waveform, scenario.air, served
    no_offsets = [0.0] * len(senders)
    return Waveform(), msgspec.structs.replace(CABLE, user_cfo_hz=no_offsets, user_delay_samples=no_offsets), served


def serve_until(
    given: Sequence[str],
    scenario: str | None,
    settings: list[str],
    seed: int | None,
    pace: str,
    as_json: bool,
    should_stop: Callable[[], bool],
    tell: Callable[[str], None],
) -> None:
    """Serve ZeroMQ ports until told to stop; ``pace`` replaces that of the scenario where it is not empty.

    Raises
    ------
    ScenarioError, AddressInUse
        If ports and scenario do not go together, or a port is taken.
    """
    if scenario is None and settings:
        raise ScenarioError("semtb air: --set changes a scenario: name it by --scenario")
    ports = parse_ports(given)
    chosen = load_scenario(find_scenario(scenario), settings, seed) if scenario else None
    waveform, air, served = air_between(ports, chosen)
    air = msgspec.structs.replace(air, pace=pace or air.pace)
    seed = chosen.seed if chosen else 1 if seed is None else seed
    names = {port.name: port.user for port in served if port.user is not None}
    users = list(names.values())
    antennas = sum(len(port.rx) for port in served)
    Medium(waveform, air, users, antennas, seed).mix(np.zeros((len(users), 1), np.complex64), 0)  # compiles kernels
    medium = Medium(waveform, air, users, antennas, seed, names)
    with AirServer(medium, served, air.block_samples, pace=air.pace) as server, Serving(air.name, server) as serving:
        for line in in_words(served, chosen, waveform, air):
            tell(line)
        live = LiveLine(lambda now_s: serving.ports, as_json)

        def between_blocks() -> bool:
            serving.look()
            live.look()
            return should_stop()

        server.run(between_blocks)


def in_words(served: Sequence[AirPort], scenario: Scenario | None, waveform: Waveform, air: Air) -> list[str]:
    """What is where, for the person who wires programs to it."""
    cables = "a cable from every transmitter to every receiver, 40 dB of SNR"
    between = f"the air of {scenario.name}" if scenario else cables
    pace = "in lock step with its peers" if air.pace == "lockstep" else "in real pace"
    lines = [f"between the ports: {between}, {waveform.sample_rate_hz / 1e6:g} MS/s of complex64, {pace}"]
    if scenario:
        lines.append(f"whoever transmits does so {level_words(scenario)}")
    antennas = itertools.count()
    for port in served:
        for endpoint in port.tx:
            kind = f"{SENDS[port.pattern]} socket (GNU Radio: ZMQ {SENDS[port.pattern]} Sink)"
            lines.append(f"{port.name} transmits: bind a ZeroMQ {kind} at {endpoint}")
        for endpoint in port.rx:
            kind = f"{TAKES[port.pattern]} socket (GNU Radio: ZMQ {TAKES[port.pattern]} Source)"
            lines.append(f"{port.name} receives, antenna {next(antennas)}: connect a ZeroMQ {kind} to {endpoint}")
    return lines
