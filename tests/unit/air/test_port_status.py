"""What a port's line says, from counts that are known."""

from __future__ import annotations

import json

import pytest

from testbed.air.port_status import PortMeter, json_line, text_lines


def test_a_port_tells_rate_and_level_of_the_time_since_it_was_looked_at_and_counts_since_the_start():
    """1000 samples of 0.5 in 0.25 s are 4 kS/s at -6.02 dBFS; the next 100 of 0.05 in 1 s are 100 S/s at -26.02."""
    meter = PortMeter("edge-1", "tx")
    assert meter.status(10.0).rate_hz == 0.0
    meter.add(1000, 250.0, clipped=3)
    meter.lose(7)
    first = meter.status(10.25)
    meter.add(100, 0.25, clipped=2)
    meter.miss(11)
    second = meter.status(11.25)
    assert (first.rate_hz, second.rate_hz) == (4000, 100)
    assert (first.level_dbfs, second.level_dbfs) == (
        pytest.approx(-6.0206, abs=1e-3),
        pytest.approx(-26.0206, abs=1e-3),
    )
    assert [(s.clipped, s.lost, s.late) for s in (first, second)] == [(3, 7, 0), (5, 7, 11)]
    assert meter.status(12.0).level_dbfs is None


def test_the_line_and_its_json_say_the_same():
    meter = PortMeter("server.rx1", "rx")
    meter.status(0.0)
    meter.add(1_920_000, 1_920_000 * 0.01, clipped=4)
    status = meter.status(1.0)
    (line,) = text_lines([status])
    assert " ".join(line.split()) == "server.rx1 rx 1.920 MS/s -20.0 dBFS clipped 4 lost 0 late 0"
    (port,) = json.loads(json_line(1.0, [status]))["ports"]
    assert port["rate_hz"] == 1_920_000
    assert port["level_dbfs"] == pytest.approx(-20.0)
    assert "silent" in text_lines([meter.status(2.0)])[0]
