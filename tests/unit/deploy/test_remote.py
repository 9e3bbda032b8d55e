"""What a run asks of an edge that was deployed before, and when it does not go on with it. Without any SSH."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from testbed.codec.card import find_card, read_card
from testbed.deploy import remote
from testbed.deploy.bundle import understanding
from testbed.deploy.remote import RemoteEdges
from testbed.deploy.ssh import Target
from testbed.errors import BoardError, ScenarioError
from testbed.experiments.resolve import Node, resolve
from testbed.experiments.scenario_files import open_scenario
from testbed.record import provenance

PORTS = [30_000, 30_001]


class Deployed:
    """A board that has edge-1, and answers what it is asked."""

    def __init__(self) -> None:
        card = find_card("deepjscc-cifar10")
        self.manifest: dict[str, Any] = {
            "understands": understanding(),
            "codec": {"name": "deepjscc-cifar10", "sha256": read_card(card)[0].sha256, "card": card.name},
            "git_commit": provenance.git_commit(),
            "board_images": "",
        }
        self.asked: list[str] = []

    def ask(self, target: Target, name: str, do: str, *payload: object, **more: object) -> dict[str, Any]:
        self.asked.append(f"{do} {name}")
        return {"manifest": self.manifest, "root": "/home/pi/semtb/edge-1", "ports": PORTS} if do == "status" else {}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Deployed:
    board = Deployed()
    monkeypatch.setattr(remote, "ask", board.ask)
    return board


def place(*settings: str, edge: str = "edge-1") -> list[Node]:
    scenario = open_scenario("two-users", list(settings), None, None)
    return RemoteEdges({edge: Target("pi@board")}).place(scenario, resolve(scenario))


def test_an_edge_that_fits_is_told_of_the_run(deployed: Deployed):
    """What it is told names its own side: its codec's card there, its end of the forwarded ports."""
    config = {node.name: node.config for node in place()}["edge-1"]
    config_ = msgspec.to_builtins(config)
    assert config_["codec"] == "/home/pi/semtb/edge-1/current/codec/deepjscc-cifar10.json"
    assert config_["control"] == f"tcp://127.0.0.1:{PORTS[0]}"
    assert deployed.asked == ["status edge-1", "place_run edge-1"]


def test_an_edge_of_another_release_is_not_told_anything(deployed: Deployed):
    """Its file would have other keys: it is to be deployed again, and nothing was sent there."""
    deployed.manifest["understands"] = "0" * 16
    with pytest.raises(BoardError, match=r"another release .* Deploy it again: semtb deploy edge-1 --to pi@board"):
        place()
    assert deployed.asked == ["status edge-1"]


def test_an_edge_with_another_codec_is_not_told_anything(deployed: Deployed, other_codec):
    """Byte for byte: another codec here, and other bytes of the same name there."""
    with pytest.raises(BoardError, match=rf"Deploy it again: semtb deploy edge-1 .*codec\.name={other_codec}"):
        place(f"codec.name={other_codec}")
    deployed.manifest["codec"]["sha256"] = "0" * 64
    with pytest.raises(BoardError, match="is deployed with codec deepjscc-cifar10 00000000, this run uses"):
        place()
    assert deployed.asked == ["status edge-1"] * 2


def test_an_edge_that_the_scenario_has_not_is_refused(deployed: Deployed):
    with pytest.raises(ScenarioError, match="edges of two-users are edge-1, edge-2"):
        place(edge="edge-9")
    assert deployed.asked == []
