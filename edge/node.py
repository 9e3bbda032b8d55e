"""The edge's process: photographs in, samples out through its radio, as the control bus says. No mathematics here."""

from __future__ import annotations

import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from calibration.apply import calibrations_of, open_calibrated
from edge.ahead import Ahead
from edge.own_clock import hearing, send_aligned, warm_up
from edge.switching import Switching
from edge.transmitter import Plan, Transmitter
from testbed.background import Background
from testbed.codec.registry import open_codec
from testbed.codec.store import install_encoder
from testbed.config import EdgeConfig
from testbed.control.bus import Member
from testbed.data.pictures import Picture, load_pictures
from testbed.errors import RunIncomplete
from testbed.radio.base import Radio, RadioSettings
from testbed.radio.registry import has_own_clock
from testbed.record.folder import sent_name, symbols_name

LOOK_S = 0.05  # how often a waiting node looks whether the run has ended
AHEAD_FRAMES = 64  # half a second at 1.92 MS/s
MOST_AHEAD = 256  # 2 s, in 30 MB

log = logging.getLogger(__name__)


def run_edge(config: EdgeConfig, should_stop: Callable[[], bool], store: Path | None = None) -> None:
    """Send this edge's pictures, hand in what was sent, and keep silent on the air until the server says Stop.

    Pictures are encoded on a thread, so many frames ahead of the radio as ``ahead_of`` says, the first of them before
    Ready; each with the codec that is agreed with the server when its turn comes.

    Parameters
    ----------
    config : EdgeConfig
    should_stop : callable
    store : Path, optional
        Where encoders that the server sends are kept; else a folder that goes when the run is over.

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
    with Member(config.control, name, "edge", should_stop) as member, kept_in(store) as folder:
        codec = open_codec(config.codec, 1, config.provider)
        pictures = load_pictures(config.edge.images, config.share, config.max_pixels, codec.sides) * config.repeat
        transmitter = Transmitter(config.waveform, config.edge.user, codec)
        plan = transmitter.plan(pictures)
        switching = Switching(
            name,
            codec,
            [(p.pixels.shape[0], p.pixels.shape[1]) for p in pictures],
            transmitter.first_frames(pictures),
            load=lambda new: install_encoder(folder, new.card, new.encoder, new.encoder_sha256),
            say=member.say,
            frame_symbols=config.waveform.data_elements,
            planned=config.switches,
        )
        settings = RadioSettings(sample_rate_hz=config.waveform.sample_rate_hz, tx_channels=1)
        own_clock = config.beacon is not None and has_own_clock(config.radio, settings)
        if own_clock and config.beacon is not None:
            settings = msgspec.structs.replace(settings, rx_channels=1, rx_lo_offset_hz=config.beacon.offset_hz)
            warm_up(config)
        with ExitStack() as opened:
            radio = opened.enter_context(open_calibrated(config.radio, settings))
            heard = opened.enter_context(hearing(radio, config)) if own_clock else None
            make = transmitter.frames if own_clock else transmitter.stream
            ahead = ahead_of(config, plan, radio.paced, own_clock)
            pieces = Ahead(make(pictures, switching.codec_for), ahead, "encode-ahead")
            try:
                while not (pieces.filled() or switching.holding):
                    give_up_if_stopped(member, should_stop)
                    member.heartbeat(transmitter.frames_sent, plan.frames)
                    time.sleep(LOOK_S)
                log.info(
                    "%d pictures, %d of %d frames ready, radio %s",
                    len(pictures),
                    transmitter.frames_sent,
                    plan.frames,
                    config.radio,
                )
                if heard is not None:
                    heard.await_lock(lambda: give_up_if_stopped(member, should_stop))
                member.ready(plan.samples, plan.frames)
                switching.begin()
                if heard is None:
                    send(radio, pieces, plan.frames, switching, member, should_stop)
                else:
                    uplink = send_aligned(radio, heard, pieces, plan.frames, config, switching, member, should_stop)
                    transmitter.clipped_samples += uplink.clock.clipped_samples
            finally:
                switching.end()
                pieces.close()
            values = {
                "user": config.edge.user,
                "frames_sent": transmitter.frames_sent,
                "channel_uses": sum(len(symbols) for symbols in transmitter.symbols),
                "clipped_samples": transmitter.clipped_samples,
                "pictures": [picture.name for picture in pictures],
                "codecs": [identity.label for identity in transmitter.codecs],
                "provider": codec.provider,
                "calibrations": calibrations_of(radio),
                "adjusted": list(radio.adjusted),
                "sent_events": [{"kind": e.kind, "sample": e.sample, "count": e.count} for e in radio.sent_events()],
                "switches": switching.facts(),
                "pieces_waited_for": pieces.waits,
                "oscillator": None if heard is None else heard.facts(),
                "stage_s": {stage: list(spent) for stage, spent in transmitter.stage_s.items()},
            }
            log.info("all %d frames sent, %d samples clipped", transmitter.frames_sent, transmitter.clipped_samples)
            files = sent_files(name, pictures, transmitter.symbols)
            handing = Background(lambda: member.result(values, files), "hand-in")
            while not handing.finished() or member.stop_reason != "":
                give_up_if_stopped(member, should_stop)
                switching.take(member.hear(LOOK_S))  # all is encoded: who asks for a switch now is told so


def ahead_of(config: EdgeConfig, plan: Plan, paced: bool, own_clock: bool) -> int:
    """How many pieces are encoded ahead: all for a radio that does not wait, since an encoder may be slower than it.

    A stream that is aligned by the server's beacon goes on in silence where a frame is not there in time.
    """
    if config.edge.ahead_frames is not None:
        return config.edge.ahead_frames
    return AHEAD_FRAMES if paced else min(plan.frames + 1, MOST_AHEAD if own_clock else plan.frames + 1)


@contextmanager
def kept_in(store: Path | None) -> Iterator[Path]:
    """The folder itself, or one that is removed afterwards."""
    if store is not None:
        yield store
    else:
        with tempfile.TemporaryDirectory(prefix="semtb-edge-") as folder:
            yield Path(folder)


def send(
    radio: Radio,
    pieces: Iterable[np.ndarray],
    frames: int,
    switching: Switching,
    member: Member,
    should_stop: Callable[[], bool],
) -> None:
    """Feed the radio from a thread, because it may block; hear meanwhile of switches, and whether the run has ended."""

    def feed() -> None:
        for number, piece in enumerate(pieces):  # the first is the silence before frame 0
            if should_stop() or member.stop_reason is not None:
                return
            radio.send(piece)
            member.heartbeat(number, frames)
        radio.finish()

    feeding = Background(feed, "radio-feed")
    while not feeding.finished():
        switching.take(member.hear(LOOK_S))
        give_up_if_stopped(member, should_stop)
    give_up_if_stopped(member, should_stop)


def give_up_if_stopped(member: Member, should_stop: Callable[[], bool]) -> None:
    """Raise RunIncomplete if this process, or the server, ends the run before its time."""
    if should_stop():
        raise RunIncomplete(f"{member.name} was told to end before all was sent")
    if member.stop_reason:
        raise RunIncomplete(member.stop_reason)


def sent_files(name: str, pictures: Sequence[Picture], symbols: Sequence[np.ndarray]) -> Iterator[tuple[str, bytes]]:
    """The pictures as they are encoded, as PNG files for the run folder, each with the symbols that were sent for it.

    A picture that repeats is compressed once.
    """
    known: dict[int, bytes] = {}
    for index, picture in enumerate(pictures):
        if id(picture) not in known:
            stream = io.BytesIO()
            Image.fromarray(picture.pixels).save(stream, format="png")
            known[id(picture)] = stream.getvalue()
        yield sent_name(name, index), known[id(picture)]
        stream = io.BytesIO()
        np.save(stream, symbols[index], allow_pickle=False)
        yield symbols_name(name, index), stream.getvalue()
