"""A scenario in one process, without sockets: the same transmitter, air and receiver, called one after the other.

What comes out equals what four processes measure, because their streams are the same; it serves sweeps and tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge.switching import first_picture, frames_each, moved, why_no_room, why_not
from edge.transmitter import Transmitter
from server.decoder import PictureAssembler
from server.pipeline import Receiver
from testbed.air.medium import Medium
from testbed.codec.base import Codec
from testbed.codec.registry import open_codec
from testbed.config import Scenario, switches_of
from testbed.data.pictures import Picture
from testbed.errors import ScenarioError
from testbed.experiments.counted import counted, counted_warnings
from testbed.experiments.measure import Measured, measure
from testbed.experiments.plutos import ONE_CLOCK
from testbed.experiments.sent import Sent
from testbed.experiments.tasks import require_kind, sources, truth


class OncePerPicture:
    """A codec that remembers what it encoded, so that a simulation encodes each picture once."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.identity, self.kind, self.sides = codec.identity, codec.kind, codec.sides
        self.provider = codec.provider
        self.symbol_count = codec.symbol_count
        self.decode = codec.decode
        self._encoded: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """As the codec itself; the same array gives the same symbols."""
        if id(picture) not in self._encoded:
            self._encoded[id(picture)] = (picture, self.codec.encode(picture))
        return self._encoded[id(picture)][1]


def make_medium(scenario: Scenario) -> Medium:
    """The air of a scenario."""
    names = {edge.name: edge.user for edge in scenario.edges}
    return Medium(scenario.waveform, scenario.air, list(names.values()), scenario.server.antennas, scenario.seed, names)


def make_receiver(scenario: Scenario) -> Receiver:
    """The server's receiver of a scenario."""
    server = scenario.server
    return Receiver(
        scenario.waveform,
        server.antennas,
        estimator=server.estimator,
        detector=server.detector,
        receiver=server.receiver,
        false_alarms_per_10ms=server.false_alarms_per_10ms,
        max_cfo_hz=server.max_cfo_hz,
    )


def total_samples(scenario: Scenario, planned: int) -> int:
    """What the air carries: the longest edge's stream and room for delays and filters behind it."""
    return planned + 2 * scenario.waveform.frame_samples


def planned_codecs(
    scenario: Scenario,
    edge: str,
    pictures: Sequence[Picture],
    first_frames: Sequence[int],
    codec: Codec,
    others: Mapping[str, Codec],
) -> list[Codec]:
    """The codec of each picture of an edge, as edge and server agree on it over the control bus."""
    codecs = [codec] * len(pictures)
    sizes = [(p.pixels.shape[0], p.pixels.shape[1]) for p in pictures]
    frame_symbols = scenario.waveform.data_elements
    planned = sum(frames_each(codec, sizes, frame_symbols))
    earliest = 0
    for switch in switches_of(scenario, edge):
        new = others[switch.codec]
        frames = frames_each(new, sizes, frame_symbols)
        picture = first_picture(first_frames, switch.at_frame, earliest)
        if picture is None or why_not(new, codecs[-1], sizes):
            continue
        if not why_no_room(new, first_frames, picture, frames, planned):
            codecs[picture:] = [new] * (len(pictures) - picture)
            first_frames = moved(first_frames, picture, frames)[:-1]
            earliest = picture + 1
    return codecs


def simulate(scenario: Scenario, codec: Codec | None = None) -> Measured:
    """Run a scenario and measure it.

    Raises
    ------
    ScenarioError
        If radios have clocks of their own, or the codec is of another kind than the task.
    """
    if scenario.air.radios:
        raise ScenarioError(ONE_CLOCK)
    known = OncePerPicture(codec or open_codec(scenario.codec.name, provider=scenario.codec.provider))
    require_kind(scenario, known.kind, known.identity.label)
    others = {name: OncePerPicture(open_codec(name)) for name in {s.codec for s in scenario.switches}}
    assembler = PictureAssembler(known, scenario.max_pixels)
    for other in others.values():
        assembler.install(other)
    sent: list[Sent] = []
    streams: dict[int, np.ndarray] = {}
    planned, nodes = 0, {}
    for edge in scenario.edges:
        pictures = sources(scenario, edge, known.sides)
        transmitter = Transmitter(scenario.waveform, edge.user, known)
        planned = max(planned, transmitter.plan(pictures).samples)
        codecs = planned_codecs(scenario, edge.name, pictures, transmitter.first_frames(pictures), known, others)
        pieces = transmitter.stream(pictures, codecs.__getitem__)
        streams[edge.user] = np.concatenate([piece[0] for piece in pieces])
        uses = sum(len(symbols) for symbols in transmitter.symbols)
        nodes[edge.name] = {"clipped_samples": transmitter.clipped_samples, "channel_uses": uses}
        sent.append(Sent(edge.name, edge.user, pictures, transmitter.symbols, codecs, truth(scenario, edge)))
    medium, receiver = make_medium(scenario), make_receiver(scenario)
    total = total_samples(scenario, planned)
    padded = {user: np.pad(s, (0, total - len(s))) for user, s in streams.items()}
    frames = []
    block = scenario.air.block_samples
    for begin in range(0, total, block):
        mixed = medium.mix({user: s[begin : begin + block] for user, s in padded.items()}, begin)
        frames += receiver.push(mixed)
    frames += receiver.flush()
    pictures_done = [p for frame in frames for p in assembler.add(frame)] + assembler.finish()
    received = {(p.user, p.picture): (p.decoded, p.lost_share) for p in pictures_done}
    measured = measure(scenario, sent, frames, received, make_medium(scenario))
    summary = {"nodes": nodes, "samples": total, "headers_refused": assembler.headers_refused} | {
        "faulty_samples": receiver.faulty_samples,
        "frames_cut": receiver.frames_cut,
    }
    measured.metrics.counted = counted(scenario, summary)
    rate_hz = scenario.waveform.sample_rate_hz
    measured.metrics.warnings += counted_warnings(measured.metrics.counted, summary, rate_hz)
    return measured
