"""What a person and a program see of the air's ports while it runs."""

from __future__ import annotations

import io
import json

import pytest

from testbed.air.port_status import PortMeter
from testbed.experiments import live_line
from testbed.experiments.live_line import LiveLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> list[PortMeter]:
    monkeypatch.setattr(live_line, "EVERY_S", 0.0)
    return [PortMeter("edge-1.tx1", "tx"), PortMeter("server.rx1", "rx")]


def test_a_program_gets_a_line_of_json_each_time(meters: list[PortMeter]):
    out = io.StringIO()
    line = LiveLine(lambda now_s: [m.status(now_s) for m in meters], as_json=True)
    line.look(out)
    meters[1].lose(5)
    line.look(out)
    first, second = (json.loads(row) for row in out.getvalue().splitlines())
    assert [port["port"] for port in first["ports"]] == ["edge-1.tx1", "server.rx1"]
    assert [port["lost"] for port in second["ports"]] == [0, 5]
    assert second["time_s"] >= first["time_s"] >= 0


def test_a_person_sees_lines_that_are_written_over_and_a_log_nothing(meters: list[PortMeter]):
    line = LiveLine(lambda now_s: [m.status(now_s) for m in meters])
    terminal, log = Terminal(), io.StringIO()
    line.look(terminal)
    line.look(terminal)
    assert terminal.getvalue().count("server.rx1") == 2
    assert terminal.getvalue().count("\x1b[2A") == 1
    line.look(log)
    assert log.getvalue() == ""
