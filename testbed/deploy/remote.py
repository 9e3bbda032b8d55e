"""Edges of `semtb run` that live behind SSH: told over SSH, reached through its port forwardings, gone with the run."""

from __future__ import annotations

import re
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from testbed.codec.card import find_card, read_card
from testbed.config import EdgeConfig, Scenario, dump
from testbed.control.bus.wire import parse_address
from testbed.deploy.boards import BOARD_PROGRAM, ask
from testbed.deploy.bundle import archive, lay_pictures, understanding
from testbed.deploy.ssh import Target, parse_target, run_command
from testbed.errors import BoardError, ScenarioError
from testbed.experiments.plutos import loopback_pluto
from testbed.experiments.resolve import Node
from testbed.record import provenance

HERE = "127.0.0.1"  # both ends of every forwarding are loopback: neither bus nor radio ports are secured


def parse_remotes(texts: Sequence[str], options: Sequence[str] = (), base: str = "") -> dict[str, Target]:
    """Boards by edge, of ``edge-1=user@host[:port]``.

    Raises
    ------
    BoardError
        If one is written otherwise, or an edge comes twice.
    """
    targets: dict[str, Target] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        if not equals or not name or name in targets:
            raise BoardError(f"--remote {text}: write it as EDGE=USER@HOST[:PORT], each edge once")
        host, port = parse_target(where, f"--remote {name}")
        plain = Target(host, port, options=tuple(options))
        targets[name] = msgspec.structs.replace(plain, base=base) if base else plain
    return targets


class RemoteEdges:
    """The edges of one run that are deployed on boards.

    As a context manager it sees to it, when the run is over, that nothing of it is left on any of them.
    """

    def __init__(self, targets: dict[str, Target]) -> None:
        self.targets = targets
        self.commands: dict[str, list[str]] = {}  # what is started here instead of the edge
        self._run = secrets.token_hex(4)
        self._placed: list[str] = []

    def __enter__(self) -> RemoteEdges:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in self._placed:
            try:
                ask(self.targets[name], name, "settle", run=self._run, limit_s=10.0)
            except BoardError as error:
                print(f"nobody could look whether {name} has ended there: {error}", file=sys.stderr)

    def place(self, scenario: Scenario, nodes: Sequence[Node], debug: bool = False) -> list[Node]:
        """Tell every remote edge what it is to do; returns the nodes as they are then.

        Raises
        ------
        ScenarioError
            If there is no such edge, or it cannot be remote.
        BoardError
            If its board cannot be reached, or has not got it.
        """
        edges = {node.name for node in nodes if node.kind == "edge"}
        for name in self.targets:
            if name not in edges:
                raise ScenarioError(f"--remote {name}: edges of {scenario.name} are {', '.join(sorted(edges))}")
        return [self._place(node, debug) if node.name in self.targets else node for node in nodes]

    def _place(self, node: Node, debug: bool) -> Node:
        config, target = node.config, self.targets[node.name]
        assert isinstance(config, EdgeConfig)
        if loopback_pluto(config.radio):
            raise ScenarioError(f"--remote {node.name}: its radio {config.radio} is a virtual Pluto of this machine")
        ours = ports_of(config)
        answer = ask(target, node.name, "status", ports=len(ours), avoid=ours)
        manifest, root = answer["manifest"], answer["root"]
        if manifest["understands"] != understanding():
            raise BoardError(
                f"{target.host}: {node.name} was deployed by another release of semcom-testbed, which is told other "
                f"things. Deploy it again: semtb deploy {node.name} --to {target.host}"
            )
        require_same_codec(target, node.name, config.codec, manifest["codec"])
        if manifest["git_commit"] != provenance.git_commit():
            print(
                f"{node.name} on {target.host} was deployed from {manifest['git_commit'][:20] or 'elsewhere'}, this is "
                f"{provenance.git_commit()[:20]}: deploy it again if what it does has changed",
                file=sys.stderr,
            )
        forwards, config = forwarded(config, dict(zip(ours, answer["ports"], strict=True)))
        config = msgspec.structs.replace(config, codec=f"{root}/current/codec/{manifest['codec']['card']}")
        with tempfile.TemporaryDirectory(prefix="semtb-remote-") as scratch:
            folder = Path(scratch) / "run"
            folder.mkdir()
            images = manifest["board_images"]
            if not images:
                config, images = lay_pictures(folder / "pictures", config), f"{root}/runs/{self._run}/pictures"
            edge = msgspec.structs.replace(config.edge, images=images)
            config = msgspec.structs.replace(config, edge=edge)
            (folder / "edge.toml").write_bytes(dump(config))
            ask(target, node.name, "place_run", archive(folder), run=self._run)
        self._placed.append(node.name)
        current = f"{root}/current"
        self.commands[node.name] = run_command(
            target,
            node.name,
            self._run,
            python=f"{current}/venv/bin/python",
            program=f"{current}/{BOARD_PROGRAM}",
            environment={"SEMTB_DEBUG": "1"} if debug else {},
            forwards=forwards,
        )
        return Node(node.name, node.kind, config)


def ports_of(config: EdgeConfig) -> list[int]:
    """Ports of this machine that the edge uses: the control bus, then those of its radio, if the air emulates it."""
    radio = [] if config.edge.radio else re.findall(r"=tcp://[^:,]+:(\d+)", config.radio)
    return [parse_address(config.control)[1], *map(int, radio)]


def forwarded(config: EdgeConfig, there: dict[int, int]) -> tuple[list[str], EdgeConfig]:
    """ssh's options that carry the edge's ports, and what the edge is told on its side of them.

    The bus and what the air binds are forwarded from the board to here (-R); what the edge's own radio binds there is
    asked for by the air here (-L).
    """
    control = parse_address(config.control)[1]
    forwards = ["-R", f"{HERE}:{there[control]}:{HERE}:{control}"]
    radio = config.radio
    for kind, number in re.findall(r"([tr]x)_port\d*=tcp://[^:,]+:(\d+)", "" if config.edge.radio else config.radio):
        here = int(number)
        if kind == "tx":
            forwards += ["-L", f"{HERE}:{here}:{HERE}:{there[here]}"]
        else:
            forwards += ["-R", f"{HERE}:{there[here]}:{HERE}:{here}"]
    if not config.edge.radio:
        radio = re.sub(r"=tcp://[^:,]+:(\d+)", lambda m: f"=tcp://{HERE}:{there[int(m[1])]}", radio)
    return forwards, msgspec.structs.replace(config, control=f"tcp://{HERE}:{there[control]}", radio=radio)


def require_same_codec(target: Target, name: str, wanted: str, deployed: dict[str, str]) -> None:
    """Raise BoardError unless what is deployed is, byte for byte, the codec that the run uses."""
    card = read_card(find_card(wanted))[0]
    if card.sha256 != deployed["sha256"]:
        raise BoardError(
            f"{target.host}: {name} is deployed with codec {deployed['name']} {deployed['sha256'][:8]}, this run uses "
            f"{card.name} {card.sha256[:8]}. Deploy it again: "
            f"semtb deploy {name} --to {target.host} --set codec.name={wanted}"
        )
