"""The edge's process: photographs in, samples out through its radio, as the control bus says. No mathematics here."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from edge.transmitter import Transmitter
from testbed.background import Background
from testbed.codec.onnx import open_codec
from testbed.config import EdgeConfig
from testbed.control.bus import Member
from testbed.control.messages import Artifact
from testbed.data.pictures import Picture, load_pictures
from testbed.errors import RunIncomplete
from testbed.radio.base import Radio, RadioSettings
from testbed.radio.registry import open_radio
from testbed.record.folder import sent_name

LOOK_S = 0.05  # how often a waiting node looks whether the run has ended
WARM_UP_SIDE = 32  # pixels of the picture that loads the encoder's kernels before anything is timed

log = logging.getLogger(__name__)


def run_edge(config: EdgeConfig, should_stop: Callable[[], bool]) -> None:
    """Send this edge's pictures, hand in what was sent, and keep silent on the air until the server says Stop.

    Everything is encoded and modulated before Ready, so that the radio is fed without pause after Start.

    Raises
    ------
    PeerUnreachable
        If the server does not answer.
    RunIncomplete
        If the run ends before all is sent.
    DataError, CodecError, RadioError
        As the pictures, the codec and the radio have it.
    """
    name = config.edge.name
    with Member(config.control, name, "edge", should_stop) as member:
        pictures = load_pictures(config.edge.images, config.share, config.max_pixels)
        codec = open_codec(config.codec, threads=1)
        codec.encode(np.zeros((WARM_UP_SIDE, WARM_UP_SIDE, 3), np.uint8))
        transmitter = Transmitter(config.waveform, config.edge.user, codec)
        plan = transmitter.plan(pictures)
        settings = RadioSettings(sample_rate_hz=config.waveform.sample_rate_hz, tx_channels=1)
        with open_radio(config.radio, settings) as radio:
            pieces = []
            for piece in transmitter.stream(pictures):
                give_up_if_stopped(member, should_stop)
                pieces.append(piece)
                member.heartbeat(transmitter.frames_sent, plan.frames)
            artifacts = as_artifacts(name, pictures)
            log.info("%d pictures, %d frames ready, radio %s", len(pictures), plan.frames, config.radio)
            member.ready(plan.samples, plan.frames)
            send(radio, pieces, member, should_stop)
            values = {
                "user": config.edge.user,
                "frames_sent": transmitter.frames_sent,
                "channel_uses": plan.channel_uses,
                "clipped_samples": transmitter.clipped_samples,
                "pictures": [picture.name for picture in pictures],
                "stage_s": {stage: list(spent) for stage, spent in transmitter.stage_s.items()},
            }
            member.result(values, artifacts)
            log.info("all %d frames sent, %d samples clipped", transmitter.frames_sent, transmitter.clipped_samples)
            while member.stop_reason != "":
                give_up_if_stopped(member, should_stop)
                time.sleep(LOOK_S)


def send(radio: Radio, pieces: Sequence[np.ndarray], member: Member, should_stop: Callable[[], bool]) -> None:
    """Feed the radio from a thread, because it may block, and look meanwhile whether the run has ended."""

    def feed() -> None:
        for number, piece in enumerate(pieces):
            if should_stop() or member.stop_reason is not None:
                return
            radio.send(piece)
            member.heartbeat(number, len(pieces) - 1)
        radio.finish()

    feeding = Background(feed, "radio-feed")
    while not feeding.finished(LOOK_S):
        give_up_if_stopped(member, should_stop)
    give_up_if_stopped(member, should_stop)


def give_up_if_stopped(member: Member, should_stop: Callable[[], bool]) -> None:
    """Raise RunIncomplete if this process, or the server, ends the run before its time."""
    if should_stop():
        raise RunIncomplete(f"{member.name} was told to end before all was sent")
    if member.stop_reason:
        raise RunIncomplete(member.stop_reason)


def as_artifacts(name: str, pictures: Sequence[Picture]) -> list[Artifact]:
    """The pictures as they are encoded, as PNG files for the run folder."""
    artifacts = []
    for index, picture in enumerate(pictures):
        stream = io.BytesIO()
        Image.fromarray(picture.pixels).save(stream, format="png")
        artifacts.append(Artifact(sent_name(name, index), stream.getvalue()))
    return artifacts
