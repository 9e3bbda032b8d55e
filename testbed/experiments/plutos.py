"""Plutos on the command line: which addresses are virtual, who serves them, and what answers on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence

from testbed.config import RadioModel, Scenario, load_scenario
from testbed.errors import ScenarioError
from testbed.experiments.live_line import LiveLine
from testbed.experiments.scenario_files import find_scenario
from testbed.radio.probe import refusal

ONE_CLOCK = (
    "air.radios: radios with clocks of their own are virtual Plutos in real pace; ZeroMQ ports and lockstep hand every "
    'radio as many samples: set air.pace = "realtime" and give each node a radio such as pluto:ip:127.0.0.2'
)

IIOD_PORT = 30431
LOOK_S = 0.05
START_S = 30  # for the air to come up beside the nodes that want its Plutos
# Where `semtb radio list` looks: the address that a Pluto comes with, its neighbour, and virtual ones.
LOOKED_AT = ["192.168.2.1", "192.168.3.1", *(f"127.0.0.{i}" for i in range(2, 10))]
OWN = ipaddress.ip_network("127.0.0.0/8")


def loopback_pluto(uri: str) -> str:
    """The address of a Pluto that can only be virtual: 127.0.0.2 and up; empty for any other radio."""
    scheme, _, rest = uri.partition(":")
    kind, _, host = rest.partition(",")[0].partition(":")
    if (scheme, kind) != ("pluto", "ip"):
        return ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return host if address in OWN and host != "127.0.0.1" else ""


def unserved(own: Mapping[str, str], virtual: Mapping[str, str]) -> list[str]:
    """Addresses of virtual Plutos that nobody serves yet, so that the run's air will.

    Raises
    ------
    ScenarioError
        If that is so for some of the nodes' radios only: they would not share one air.
    """
    missing = [a for a in dict.fromkeys(virtual.values()) if refusal(f"tcp://{a}:{IIOD_PORT}")]
    others = [name for name in own if virtual.get(name) not in missing]
    if missing and others:
        raise ScenarioError(
            f"nobody serves the virtual Pluto at {', '.join(missing)}, and {', '.join(others)} have other radios: give "
            "every node a virtual Pluto that is not served yet, or serve all of them first (`semtb air --pluto ...`)"
        )
    return missing


def with_wait(uri: str) -> str:
    """The radio, told to wait for the air of its own run."""
    return f"{uri},wait_s={START_S}"


def radio_settings(scenario: str, radios: Sequence[str]) -> list[str]:
    """``--radio NODE=URI`` as settings of a scenario.

    Raises
    ------
    ScenarioError
        If the scenario has no such node.
    """
    if not radios:
        return []
    known = load_scenario(find_scenario(scenario))
    keys = {edge.name: f"edges.{edge.name}.radio" for edge in known.edges} | {known.server.name: "server.radio"}
    settings = []
    for radio in radios:
        name, equals, uri = radio.partition("=")
        if not equals or name not in keys:
            raise ScenarioError(f"--radio {radio}: write NODE=URI; nodes with a radio here: {', '.join(keys)}")
        settings.append(f"{keys[name]}={uri}")
    return settings


def present_until(
    addresses: Sequence[str],
    channels: int,
    scenario: str | None,
    settings: list[str],
    seed: int | None,
    should_stop: Callable[[], bool],
    tell: Callable[[str], None],
    pace: str = "",
    cables: Sequence[str] = (),
    as_json: bool = False,
) -> None:
    """Present virtual Plutos until told to stop; ``scenario`` names the medium between them, or ``cables`` do.

    Raises
    ------
    ScenarioError
        If these do not go together.
    """
    from testbed.air.iiod.air import present
    from testbed.air.iiod.cabling import parse_cables
    from testbed.air.iiod.live import LiveEther

    if scenario is None and settings:
        raise ScenarioError("semtb air: --set changes a scenario: name it by --scenario")
    if scenario is not None and cables:
        raise ScenarioError("semtb air: --cable and --scenario: allowed: one of them, for what lies between the Plutos")
    wires = parse_cables(cables, addresses, channels)
    chosen = load_scenario(find_scenario(scenario), settings, seed) if scenario else None
    if chosen:
        real = (pace or chosen.air.pace) == "realtime"
        models = node_models(chosen, len(addresses)) if real else []
        servers = present(
            addresses, channels, chosen.waveform, chosen.air, chosen.seed,
            pace=pace, models=models, server=chosen.server.name,
        )  # fmt: skip
    else:
        servers = present(addresses, channels, seed=1 if seed is None else seed, pace=pace, cables=wires)
    try:
        if chosen:
            between = f"the air of {chosen.name}, every transmit channel at every antenna"
        else:
            between = ", ".join(cables) if cables else cabling(channels)
        ether = servers[0].ether
        pace_said = ", in real pace" if isinstance(ether, LiveEther) else ""
        tell(f"{'between them' if len(addresses) > 1 else 'it hears itself'}{pace_said}: {between}")
        for address in addresses:
            tell(f"virtual Pluto at ip:{address} ({channels}R{channels}T); here: --radio NODE=pluto:ip:{address}")
        line = LiveLine(ether.status, as_json) if isinstance(ether, LiveEther) else None
        while not should_stop():
            if line is not None:
                line.look()
            time.sleep(LOOK_S)
    finally:
        for server in servers:
            server.close()


def node_models(scenario: Scenario, count: int) -> list[RadioModel]:
    """The radios of a scenario's first nodes, edges by their user numbers and the server behind them.

    Raises
    ------
    ScenarioError
        If it has fewer nodes.
    """
    nodes = [*(edge.name for edge in sorted(scenario.edges, key=lambda edge: edge.user)), scenario.server.name]
    if count > len(nodes):
        raise ScenarioError(
            f"semtb air: {count} Plutos in real pace for the nodes of {scenario.name}: {', '.join(nodes)}"
        )
    models = {model.name: model for model in scenario.air.radios}
    return [models.get(name, RadioModel(name)) for name in nodes[:count]]


def cabling(channels: int) -> str:
    """What lies between Plutos when no scenario says it, in words."""
    if channels == 1:
        return "a cable, 40 dB of SNR"
    return "a cable for each channel, 40 dB of SNR: TX1 to RX1, TX2 to RX2, nothing across"


def found() -> dict[str, str]:
    """What answers: libiio's scan of USB and network, and the usual addresses; each with what it says of itself.

    Raises
    ------
    MissingExtra
        If libiio's Python binding is missing.
    """
    from testbed.radio.pluto_libraries import require_libraries

    iio = require_libraries()
    answers = {}
    with contextlib.suppress(OSError):  # one part that it cannot scan, as mDNS without Avahi, is an error of the whole
        answers = {f"pluto:{uri}": what for uri, what in iio.scan_contexts().items()}
    for address in LOOKED_AT:
        if not refusal(f"tcp://{address}:{IIOD_PORT}"):
            with contextlib.suppress(OSError):
                answers[f"pluto:ip:{address}"] = iio.Context(f"ip:{address}").description
    return answers
