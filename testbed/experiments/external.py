"""Nodes of a run that are left to somebody else's program: which, and what to wire it to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from testbed.codec.base import Codec
from testbed.codec.registry import open_codec
from testbed.config import AirConfig, EdgeConfig, Scenario, ServerConfig
from testbed.config.nodes import PATTERNS
from testbed.errors import ScenarioError
from testbed.experiments.frames import carried_samples, planned_samples

WAIT_S = 3600  # that the other nodes wait for such a program
# By any of its names: how the air calls it, how the peer does, or both.
PATTERN_OF = {word: pattern for pattern in PATTERNS for word in (pattern, *pattern.split("-"))}
SENDS = {"req-rep": "REP", "pub-sub": "PUB", "push-pull": "PUSH"}  # the socket of who has samples, which it binds
TAKES = {"req-rep": "REQ", "pub-sub": "SUB", "push-pull": "PULL"}  # of who wants them, which it connects


def pattern_named(word: str, where: str) -> str:
    """``pub-sub`` for pub, sub or pub-sub, and so on.

    Raises
    ------
    ScenarioError
        If it is the name of no pattern.
    """
    if word not in PATTERN_OF:
        raise ScenarioError(f"{where}: {word}: no pattern of ZeroMQ that is spoken here: {', '.join(PATTERN_OF)}")
    return PATTERN_OF[word]


def parse_external(scenario: Scenario, given: Sequence[str]) -> dict[str, str]:
    """``NODE`` or ``NODE:PATTERN`` of ``--external``, as the pattern of each node.

    Raises
    ------
    ScenarioError
        If there is no such node or pattern, or nothing would be left.
    """
    edges = [edge.name for edge in scenario.edges]
    nodes = [*edges, scenario.air.name, scenario.server.name]
    found: dict[str, str] = {}
    for text in given:
        name, _, word = text.partition(":")
        if name not in nodes:
            raise ScenarioError(f"--external {text}: no such node; nodes here: {', '.join(nodes)}")
        if name in found:
            raise ScenarioError(f"--external {text}: {name} is named twice")
        found[name] = pattern_named(word or "req-rep", f"--external {text}")
    if found.get(scenario.air.name, "req-rep") != "req-rep":
        raise ScenarioError(f"--external: the nodes speak REQ and REP: {scenario.air.name} has no pattern to choose")
    if set(found) >= {*edges, scenario.server.name}:
        raise ScenarioError(
            f"--external: neither an edge nor the server is left to run; the air alone is `semtb air --zmq ... "
            f"--scenario {scenario.name}`"
        )
    own = {edge.name: edge.radio for edge in scenario.edges} | {scenario.server.name: scenario.server.radio}
    for name, pattern in found.items():
        if own.get(name) and pattern != "req-rep":
            raise ScenarioError(f"--external {name}: it has a radio of its own ({own[name]}), so no pattern to choose")
    return found


def rate_words(scenario: Scenario) -> str:
    """The rate of every port."""
    return f"{scenario.waveform.sample_rate_hz / 1e6:g} MS/s"


def level_words(scenario: Scenario) -> str:
    """What amplitude ``snr_db`` counts on."""
    level = scenario.waveform.rms_dbfs
    return (
        f"at {level:g} dBFS rms ({10 ** (level / 20):.3f} of full scale 1.0) while it transmits: "
        f"air.snr_db = {scenario.air.snr_db:g} refers to that"
    )


def transmitter_lines(scenario: Scenario, called: str, name: str, endpoint: str, pattern: str) -> list[str]:
    """How to wire a program that transmits in the place of an edge; ``called``: the scenario on the command line."""
    kind = SENDS[pattern]
    return [
        f"{name} is left to another program. It binds a ZeroMQ {kind} socket (GNU Radio: ZMQ {kind} Sink) at "
        f"{endpoint}",
        f"  and sends complex64, {rate_words(scenario)}, {level_words(scenario)}",
        f"  What {name} itself would send: semtb frames {called} --edge {name} --out {name}.cf32",
    ]


def receiver_lines(scenario: Scenario, name: str, endpoints: Sequence[str], pattern: str, samples: int) -> list[str]:
    """How to wire a program that receives in the place of the server."""
    kind = TAKES[pattern]
    lines = [
        f"{name} is left to another program. For each antenna it connects a ZeroMQ {kind} socket (GNU Radio: "
        f"ZMQ {kind} Source):"
    ]
    lines += [f"  antenna {number}: {endpoint}" for number, endpoint in enumerate(endpoints)]
    return [*lines, f"  and takes complex64, {rate_words(scenario)} each, {samples} samples in all"]


def air_lines(scenario: Scenario, tx: Mapping[str, str], rx: Sequence[str]) -> list[str]:
    """How to wire a program in the place of the air."""
    lines = [f"{scenario.air.name} is left to another program. It connects a ZeroMQ REQ socket to each transmitter:"]
    lines += [f"  {name}: {endpoint}" for name, endpoint in tx.items()]
    lines += ["  and binds a ZeroMQ REP socket for each antenna of the server:"]
    lines += [f"  antenna {number}: {endpoint}" for number, endpoint in enumerate(rx)]
    return [*lines, f"  all complex64, {rate_words(scenario)}"]


def samples_given(scenario: Scenario, external: Mapping[str, str]) -> dict[str, int]:
    """How long a run goes on for the edges that are left to others: as long as they would transmit themselves."""
    given = dict.fromkeys(external, 0)
    left = [edge for edge in scenario.edges if edge.name in external]
    codec = codec_of(scenario) if left else None
    if codec is not None:
        given |= {edge.name: planned_samples(scenario, edge, codec) for edge in left}
    return given


def codec_of(scenario: Scenario) -> Codec:
    """The codec with which its edges begin."""
    return open_codec(scenario.codec.name, provider=scenario.codec.provider)


def wiring(
    scenario: Scenario, called: str, configs: Mapping[str, msgspec.Struct], external: Mapping[str, str]
) -> list[str]:
    """What to tell the person who brings the programs for the nodes that are left out.

    ``called`` is the scenario as the command line names it, ``configs`` holds those of the nodes that are not left.
    """
    air = configs.get(scenario.air.name)
    lines: list[str] = []
    if isinstance(air, AirConfig):
        for port in air.ports:
            if port.name in external and port.tx:
                lines += transmitter_lines(scenario, called, port.name, port.tx[0], port.pattern)
            elif port.name in external and port.rx:
                samples = carried_samples(scenario, codec_of(scenario))
                lines += receiver_lines(scenario, port.name, port.rx, port.pattern, samples)
    elif scenario.air.name in external:
        radios = {name: c.radio for name, c in configs.items() if isinstance(c, (EdgeConfig, ServerConfig))}
        tx = {edge.name: ports_of(radios[edge.name])[0] for edge in scenario.edges if edge.name in radios}
        lines += air_lines(scenario, tx, ports_of(radios[scenario.server.name]))
    return lines


def ports_of(radio: str) -> list[str]:
    """The endpoints in the URI of a ZeroMQ radio."""
    arguments = [part.partition("=") for part in radio.partition(":")[2].split(",")]
    return [value for key, _, value in arguments if re.match(r"[rt]x_port", key)]
