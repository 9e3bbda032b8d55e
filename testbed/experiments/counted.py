"""What server and edges counted beside pictures: samples lost, clipped or zeroed, frames cut off, things refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from testbed.config import Scenario
from testbed.record.schema import Counted

MAX_TIMES = 8  # of one kind that are kept
CLIPPED_SHARE = 1e-4  # of an edge's symbols: below, clipping costs less than noise; above, gain or waveform is wrong
MESSAGES = ("malformed",)  # events that count messages, not samples
UNCOUNTED = ("retuned",)  # events that the user asked for


def counted(scenario: Scenario, summary: Mapping[str, Any]) -> list[Counted]:
    """All that is not 0 in what the nodes handed in.

    Parameters
    ----------
    scenario : Scenario
    summary : dict
        received/server.json.
    """
    rate_hz, server = scenario.waveform.sample_rate_hz, scenario.server.name
    found = []
    events: dict[str, list[Mapping[str, Any]]] = {}
    for event in summary.get("events", ()):
        if event["kind"] not in UNCOUNTED:
            events.setdefault(event["kind"], []).append(event)
    for kind, those in events.items():
        unit = "messages" if kind in MESSAGES else "samples"
        times_s = [event["sample"] / rate_hz for event in those[:MAX_TIMES]]
        found.append(_counted(server, kind, sum(event["count"] for event in those), unit, times_s))
    first = summary.get("first_faulty_sample")
    times_s = [] if first is None else [first / rate_hz]
    codecs = summary.get("codecs_refused", {})
    found += [
        _counted(server, "zeroed", summary.get("faulty_samples", 0), "samples", times_s),
        _counted(server, "cut off", summary.get("frames_cut", 0), "frames", [summary.get("samples", 0) / rate_hz]),
        _counted(server, "refused", summary.get("headers_refused", 0), "headers"),
        _counted(server, "of codecs that are not here", sum(codecs.values()), "frames"),
        _counted(server, "refused", summary.get("files_refused", 0), "files"),
    ]
    for node, values in summary.get("nodes", {}).items():
        found.append(_counted(node, "clipped", values.get("clipped_samples", 0), "samples"))
        late = values.get("sent_events", ())
        times_s = [event["sample"] / rate_hz for event in late[:MAX_TIMES]]
        found.append(_counted(node, "late", sum(event["count"] for event in late), "samples", times_s))
        found += [_counted(port, "late", count, "samples") for port, count in values.get("late", {}).items()]
    return [one for one in found if one.count]


def counted_warnings(found: Sequence[Counted], summary: Mapping[str, Any], rate_hz: float) -> list[str]:
    """One sentence for each that costs something."""
    warnings = []
    for one in found:
        sent = summary.get("nodes", {}).get(one.node, {}).get("channel_uses", 0)
        if one.what == "clipped" and one.count <= CLIPPED_SHARE * sent:
            continue
        what = f"lost ({one.what})" if one.what == "overflow" else one.what
        words = f"{one.node}: {one.count} {one.unit} {what}{when(one)}"
        if one.what == "late":
            words += ": the air did not wait, and silence stood in their place"
        if one.what == "overflow":
            words += (
                f": {one.count / rate_hz:.2f} s of the air that it was too slow to take, or had stopped; "
                "frames within are lost"
            )
        warnings.append(words)
    return warnings


def when(one: Counted) -> str:
    """The times, in words; nothing where none is known."""
    if not one.times_s:
        return ""
    more = ", ..." if len(one.times_s) == MAX_TIMES else ""
    return " at " + ", ".join(f"{time_s:.3f}" for time_s in one.times_s) + f" s{more}"


def _counted(node: str, what: str, count: int, unit: str, times_s: Sequence[float] = ()) -> Counted:
    return Counted(node=node, what=what, count=int(count), unit=unit, times_s=list(times_s))
