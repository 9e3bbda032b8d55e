"""What an edge of a scenario transmits, as samples in a file: for GNU Radio, or any program that can read complex64."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from edge.transmitter import Transmitter
from testbed.codec.base import Codec
from testbed.codec.registry import open_codec
from testbed.config import EdgePart, Scenario
from testbed.errors import ScenarioError
from testbed.experiments.simulate import total_samples
from testbed.experiments.tasks import require_kind, sources
from testbed.files import write_aside
from testbed.units import power_to_db


class Written(msgspec.Struct, frozen=True):
    """What a file of frames holds."""

    samples: int
    sample_rate_hz: float
    pictures: int
    frames: int
    level_dbfs: float  # rms of what is not silence
    peak: float  # of |re| and |im|, full scale 1.0


def edge_named(scenario: Scenario, name: str) -> EdgePart:
    """An edge by its name.

    Raises
    ------
    ScenarioError
        If the scenario has none of that name.
    """
    for edge in scenario.edges:
        if edge.name == name:
            return edge
    raise ScenarioError(
        f"{name}: {scenario.name} has no such edge; its edges: {', '.join(e.name for e in scenario.edges)}"
    )


def planned_samples(scenario: Scenario, edge: EdgePart, codec: Codec) -> int:
    """From sample 0 to the end of the last frame's gap, known before anything is encoded."""
    return Transmitter(scenario.waveform, edge.user, codec).plan(sources(scenario, edge, codec.sides)).samples


def carried_samples(scenario: Scenario, codec: Codec) -> int:
    """What a run of the scenario carries: the longest of its edges' streams and what comes behind it."""
    tail = round(scenario.server.tail_s * scenario.waveform.sample_rate_hz)
    return total_samples(scenario, max(planned_samples(scenario, edge, codec) for edge in scenario.edges)) + tail


def write_frames(scenario: Scenario, name: str, out: Path) -> Written:
    """Write all that an edge transmits in a run, silence to the run's end included, as little-endian complex64.

    Raises
    ------
    ScenarioError, DataError, CodecError
        As the edge, its pictures and its codec have it.
    """
    edge = edge_named(scenario, name)
    codec = open_codec(scenario.codec.name, provider=scenario.codec.provider)
    require_kind(scenario, codec.kind, codec.identity.label)
    transmitter = Transmitter(scenario.waveform, edge.user, codec)
    pictures = sources(scenario, edge, codec.sides)
    sent = np.concatenate([piece[0] for piece in transmitter.stream(pictures)])
    samples = np.pad(sent, (0, carried_samples(scenario, codec) - len(sent))).astype("<c8")
    write_aside(out, samples.tobytes())
    sounding = sent[sent != 0]
    return Written(
        samples=len(samples),
        sample_rate_hz=scenario.waveform.sample_rate_hz,
        pictures=len(pictures),
        frames=transmitter.frames_sent,
        level_dbfs=float(power_to_db(np.mean(np.abs(sounding) ** 2))),
        peak=float(np.abs(sent.view(np.float32)).max()),
    )
