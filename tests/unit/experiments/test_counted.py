"""What nodes count, on its way into result.json, the table, the warnings and the page."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from testbed.config import EdgePart, Scenario, dump
from testbed.experiments.counted import CLIPPED_SHARE, MAX_TIMES, counted, counted_warnings
from testbed.experiments.evaluate import evaluate
from testbed.experiments.run import show
from testbed.record.folder import RunFolder
from testbed.record.schema import Counted, read_result, write_result
from testbed.report.make import make_report
from tests.unit.report.html_page import Page
from tests.unit.report.synthetic_run import make_run

SCENARIO = Scenario(name="two", edges=[EdgePart(name="edge-1", user=0), EdgePart(name="edge-2", user=1)])
RATE = SCENARIO.waveform.sample_rate_hz
NOTHING = {
    "samples": 192_000,
    "frames_cut": 0,
    "faulty_samples": 0,
    "first_faulty_sample": None,
    "files_refused": 0,
    "headers_refused": 0,
    "codecs_refused": {},
    "events": [],
    "nodes": {"edge-1": {"clipped_samples": 0, "channel_uses": 100_000}, "edge-2": {"channel_uses": 100_000}},
}
CASES = [
    (
        {"events": [{"kind": "overflow", "sample": 96_000, "count": 192_000}]},
        Counted(node="server", what="overflow", count=192_000, unit="samples", times_s=[0.05]),
        "server: 192000 samples lost (overflow) at 0.050 s: 0.10 s of the air",
    ),
    (
        {"events": [{"kind": "malformed", "sample": 19_200 * i, "count": 1} for i in range(MAX_TIMES + 2)]},
        Counted(
            node="server",
            what="malformed",
            count=MAX_TIMES + 2,
            unit="messages",
            times_s=[0.01 * i for i in range(MAX_TIMES)],
        ),
        "server: 10 messages malformed at 0.000, 0.010, 0.020, 0.030, 0.040, 0.050, 0.060, 0.070 s, ...",
    ),
    (
        {"faulty_samples": 7, "first_faulty_sample": 1920},
        Counted(node="server", what="zeroed", count=7, unit="samples", times_s=[1e-3]),
        "server: 7 samples zeroed at 0.001 s",
    ),
    (
        {"frames_cut": 2},
        Counted(node="server", what="cut off", count=2, unit="frames", times_s=[0.1]),
        "server: 2 frames cut off at 0.100 s",
    ),
    (
        {"headers_refused": 3},
        Counted(node="server", what="refused", count=3, unit="headers"),
        "server: 3 headers refused",
    ),
    ({"files_refused": 1}, Counted(node="server", what="refused", count=1, unit="files"), "server: 1 files refused"),
    (
        {"codecs_refused": {"user 0, codec 7": 4, "user 1, codec 7": 5}},
        Counted(node="server", what="of codecs that are not here", count=9, unit="frames"),
        "server: 9 frames of codecs that are not here",
    ),
    (
        {"nodes": {"edge-1": {"clipped_samples": 11, "channel_uses": 100_000}}},
        Counted(node="edge-1", what="clipped", count=11, unit="samples"),
        "edge-1: 11 samples clipped",
    ),
    (
        {"nodes": {"edge-1": {"sent_events": [{"kind": "underflow", "sample": 192_000, "count": 960}] * 2}}},
        Counted(node="edge-1", what="late", count=1920, unit="samples", times_s=[0.1, 0.1]),
        "edge-1: 1920 samples late at 0.100, 0.100 s: the air did not wait",
    ),
    (
        {"nodes": {"air": {"late": {"edge-2": 480}}}},
        Counted(node="edge-2", what="late", count=480, unit="samples"),
        "edge-2: 480 samples late: the air did not wait, and silence stood in their place",
    ),
]


@pytest.mark.parametrize(("change", "one", "message"), CASES)
def test_each_thing_that_is_counted_is_told_with_its_time(change: dict, one: Counted, message: str):
    """Alone, with its unit, the node that it befell and where the stream was; and warned of in one sentence."""
    summary = NOTHING | change
    (found,) = counted(SCENARIO, summary)
    assert msgspec.structs.replace(found, times_s=[]) == msgspec.structs.replace(one, times_s=[])
    assert found.times_s == pytest.approx(one.times_s)
    (warning,) = counted_warnings([found], summary, RATE)
    assert warning.startswith(message)


def test_nothing_is_said_of_nothing():
    assert counted(SCENARIO, NOTHING) == counted(SCENARIO, {}) == []


def test_a_few_clipped_samples_are_counted_and_not_warned_of():
    """Up to one in ten thousand of what the edge sent."""
    most = int(CLIPPED_SHARE * 100_000)
    summary = NOTHING | {"nodes": {"edge-1": {"clipped_samples": most, "channel_uses": 100_000}}}
    (found,) = counted(SCENARIO, summary)
    assert found.count == most
    assert counted_warnings([found], summary, RATE) == []


def test_what_is_asked_for_is_no_loss():
    assert counted(SCENARIO, NOTHING | {"events": [{"kind": "retuned", "sample": 5, "count": 0}]}) == []


def test_a_run_that_lost_samples_says_so_in_result_table_and_page(tmp_path: Path):
    """From received/server.json of a run folder, through result.json."""
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    folder.write_bytes("scenario.toml", dump(SCENARIO))
    event = {"kind": "overflow", "sample": 96_000, "count": 192_000}
    folder.write_json("received/server.json", NOTHING | {"events": [event]})
    result = evaluate(folder.path, False, "a test", None)
    assert result.metrics == read_result(folder).metrics
    (one,) = result.metrics.counted
    assert (one.node, one.what, one.count) == ("server", "overflow", 192_000)
    assert any("192000 samples lost (overflow) at 0.050 s" in warning for warning in result.metrics.warnings)
    text = io.StringIO()
    show(result, Console(file=text, width=100))
    (row,) = [line for line in text.getvalue().splitlines() if "overflow" in line and "│" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["server", "overflow", "192000 samples", "0.050 s"]

    run = make_run(tmp_path / "page", scale=8)
    shown = read_result(run)
    shown.metrics.counted = result.metrics.counted
    write_result(run, shown)
    page = Page(make_report(run.path).read_text(encoding="utf-8"))
    assert "Counted: lost, clipped, cut off, refused" in page.text
    assert "192\u202f000 samples" in page.text
    assert "0.050\u00a0s" in page.text
