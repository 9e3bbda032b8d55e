"""How a switch is written on the command line, and what a scenario says of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from testbed.config import EdgeConfig, ServerConfig, Switch, switches_of
from testbed.errors import ScenarioError
from testbed.experiments.resolve import resolve
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from testbed.experiments.switch import switch_settings


def opened(*plans: str):
    return open_scenario("two-users", switch_settings(list(plans)), None, None)


def test_a_switch_names_edge_codec_and_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A card's path becomes absolute; without an edge it is for all; a path may hold ':' and '@'."""
    monkeypatch.chdir(tmp_path)
    assert opened().switches == []
    assert opened("edge-1:new/card.json@40", "edge-2:a:b@c.json@7", "deepjscc-cifar10@9").switches == [
        Switch(edge="edge-1", codec=str(tmp_path / "new/card.json"), at_frame=40),
        Switch(edge="edge-2", codec=str(tmp_path / "a:b@c.json"), at_frame=7),
        Switch(edge="", codec="deepjscc-cifar10", at_frame=9),
    ]


@pytest.mark.parametrize(
    "plan", ["edge-1:card.json", "edge-1:card.json@", "edge-1:card.json@-1", "edge-1:@4", "@4", ""]
)
def test_another_way_of_writing_it_is_refused(plan: str):
    with pytest.raises(ScenarioError, match="EDGE:CODEC@FRAME"):
        switch_settings([plan])


@pytest.mark.parametrize(
    ("plans", "says"),
    [(["edge-9:x.json@1"], "edge-1, edge-2"), (["x.json@5", "edge-2:y.json@5"], "each frame of edge-2 once")],
)
def test_a_scenario_refuses_switches_that_cannot_be(plans: list[str], says: str):
    with pytest.raises(ScenarioError, match=says):
        opened(*plans)


def test_each_node_is_told_its_own_switches():
    """The server all of them, by edge and frame; an edge the frames before which it waits."""
    scenario = opened("edge-1:deepjscc-cifar10@40", "deepjscc-cifar10@9")
    assert [s.at_frame for s in switches_of(scenario, "edge-1")] == [9, 40]
    configs = {node.name: node.config for node in resolve(scenario)}
    server, one, two = configs["server"], configs["edge-1"], configs["edge-2"]
    assert isinstance(server, ServerConfig)
    assert isinstance(one, EdgeConfig)
    assert isinstance(two, EdgeConfig)
    assert [(s.edge, s.at_frame) for s in server.switches] == [("edge-1", 9), ("edge-1", 40), ("edge-2", 9)]
    assert one.repeat == 1
    assert one.switches == [9, 40]
    assert two.switches == [9]


def test_a_switch_behind_the_last_picture_changes_nothing(other_codec: Path):
    """Planned for a frame behind which no picture begins: the same metrics, byte by byte, as without it."""
    plain, late = (
        open_scenario("two-users", ["max_pixels=4000", *switch_settings(plans)], 3, None)
        for plans in ([], [f"{other_codec}@999"])
    )
    assert msgspec.json.encode(simulate(late).metrics) == msgspec.json.encode(simulate(plain).metrics)
