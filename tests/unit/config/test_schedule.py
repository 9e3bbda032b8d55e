"""What a scenario may plan for its links."""

from __future__ import annotations

import pytest

from testbed.air.links import link_of
from testbed.config import load_scenario
from testbed.errors import ScenarioError

SCENARIO = """
name = "planned"
[[air.links]]
user = 0
path_loss_db = 45.0
[[air.schedule]]
at_sample = 1000
link = "edge-1.server"
path_loss_db = 80.0
[[edges]]
name = "edge-1"
user = 0
"""


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "planned.toml"
    written.write_text(SCENARIO, encoding="utf-8")
    return written


def test_a_path_loss_is_a_gain(path):
    """30 dB of loss is a gain of 0."""
    assert link_of(load_scenario(path).air, 0, 0).gain_db == -15.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("air.schedule.0.link=edge-2.server", r"air.schedule.link = edge-2.server: allowed: edge-1.server"),
        ("air.schedule.0.link=server.air", r"air.schedule.link = server.air: allowed: edge-1.server"),
        ("air.schedule.0.link=edge-1", r"air.schedule.link = edge-1: allowed: EDGE.SERVER"),
        ("air.schedule.0.gain_db=3", r"air.schedule = at_sample 1000: allowed: one of gain_db and path_loss_db"),
        ("air.schedule.0.path_loss_db=131", r"air.schedule.path_loss_db = 131.0: allowed: -10..130"),
        ("air.schedule.0.at_sample=-1", r"air.schedule.at_sample = -1: allowed"),
        ("air.links.0.gain_db=3", r"air.links = gain_db 3.0, path_loss_db 45.0: allowed: one of the two"),
    ],
)
def test_what_no_link_can_do_is_refused(path, setting, message):
    with pytest.raises(ScenarioError, match=message):
        load_scenario(path, [setting])
