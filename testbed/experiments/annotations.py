"""What is marked in a run's recording when the run is over: the frames that were found, and those that were sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.transmitter import LEAD_SAMPLES
from server.pipeline import ReceivedFrame
from testbed.air.medium import Medium
from testbed.config import Scenario
from testbed.experiments.sent import Sent
from testbed.phy.waveform import Waveform
from testbed.radio.sigmf_files import Layout, read_metadata, segments_of, stream_files
from testbed.record.captures import Annotation, annotate, annotation
from testbed.record.schema import Recorded


def annotate_recording(
    folder: Path,
    recorded: Recorded,
    waveform: Waveform,
    frames: Sequence[ReceivedFrame],
    sent: Sequence[Sent],
    medium: Medium | None,
) -> None:
    """Mark every frame in each antenna's recording.

    Parameters
    ----------
    folder : Path
        Of the recording.
    recorded : Recorded
    waveform : Waveform
    frames : sequence of ReceivedFrame
        As the receiver found them.
    sent : sequence of Sent
    medium : Medium, optional
        The air that carried the run, where it hands everybody one start of time: with it the arrival of each frame is
        known, found or not.
    """
    file = stream_files(folder)[0]
    metadata = read_metadata(file)
    layout = Layout(segments_of(file, metadata, recorded.samples), recorded.samples)
    lo_hz = next((c["core:frequency"] for c in metadata["captures"] if "core:frequency" in c), 0.0)
    half_hz = (waveform.occupied_subcarriers + 1) * waveform.spacing_hz / 2
    edges = {"freq_lower_edge": lo_hz - half_hz, "freq_upper_edge": lo_hz + half_hz}
    marks = [found(layout, number, frame, waveform, edges) for number, frame in enumerate(frames)]
    if medium is not None:
        delays = dict(zip(medium.truth.users, medium.truth.user_delay_samples, strict=True))
        for one in sent:
            delay_samples = medium.truth.latency_samples + delays[one.user]
            marks += truth(layout, one, waveform, delay_samples, edges)
    annotate(folder, marks)


def arrivals_known(scenario: Scenario) -> bool:
    """Whether sample 0 of every edge is sample 0 of the server: over ports of an air in lock-step, all on one clock."""
    own = [scenario.server.radio, *(edge.radio for edge in scenario.edges)]
    return not any(own) and not scenario.air.radios and scenario.air.pace == "lockstep"


def found(layout: Layout, number: int, frame: ReceivedFrame, waveform: Waveform, edges: dict[str, float]) -> Annotation:
    """A frame that the receiver found, and what it read of each user."""
    read = {part.user: part.header for part in frame.users}
    words = [
        f"user {user}: " + (f"picture {header.picture}, part {header.part}" if header else "no header")
        for user, header in read.items()
    ]
    mark = annotation(
        layout,
        frame.first_sample,
        waveform.frame_samples,
        f"frame {number}",
        comment=f"received; {'; '.join(words)}",
        **edges,
    )
    facts = {
        "number": number,
        "cfo_hz": frame.cfo_hz,
        "timing_samples": frame.timing_samples,
        "users": [
            {"user": user, "picture": header.picture, "part": header.part} for user, header in read.items() if header
        ],
    }
    return mark | {"semtb:frame": facts}


def truth(
    layout: Layout, sent: Sent, waveform: Waveform, delay_samples: float, edges: dict[str, float]
) -> Iterator[Annotation]:
    """Each frame of one edge, where the air delivered it."""
    position = LEAD_SAMPLES + delay_samples
    for picture, symbols in enumerate(sent.symbols):
        for part in range(waveform.frames_for(len(symbols))):
            name, codec = sent.pictures[picture].name, sent.codecs[picture].identity.label
            mark = annotation(
                layout,
                round(position),
                waveform.frame_samples,
                f"{sent.node} {picture}.{part}",
                comment=f"sent: {name}, part {part}, codec {codec}",
                **edges,
            )
            facts = {
                "user": sent.user,
                "node": sent.node,
                "picture": picture,
                "part": part,
                "arrival_samples": position,
            }
            yield mark | {"semtb:sent": facts}
            position += waveform.frame_period_samples
