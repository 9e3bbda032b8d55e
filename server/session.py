"""What the server keeps of one run: frames, pictures and facts, each written into the run folder as it comes."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from server.decoder import PictureAssembler, ReceivedPicture, write_decoded
from server.pipeline import ReceivedFrame, Receiver
from server.recording import frame_arrays
from server.switching import NewCodec
from testbed.background import Behind
from testbed.codec.base import Codec
from testbed.codec.card import card_bytes, find_card, read_card
from testbed.codec.registry import open_codec
from testbed.codec.store import install_pair
from testbed.config import ServerConfig
from testbed.control.messages import Changed, Result, ResultFile
from testbed.errors import DataError
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.radio.base import RadioEvent, RxBlock
from testbed.record.events import AnyEvent, FrameReceived, LinkChanged, PictureDecoded, UserPart
from testbed.record.folder import CODECS, IQ, SUMMARY, RunFolder, frame_name, may_hand_in, sent_folder
from testbed.record.schema import Recorded

if TYPE_CHECKING:
    from server.own_clock import Alignments
    from testbed.record.recorder import Recorder

FRAMES_BEHIND = 256  # between receiver and writer, 2 s of frames in 45 MB; when full the receiver waits
SPECTRUM_SAMPLES = 1 << 16  # kept as they came, for the report's spectrum

log = logging.getLogger(__name__)


def open_session(config: ServerConfig, folder: RunFolder, emit: Callable[[AnyEvent], None]) -> Session:
    """A session with its codecs loaded and all kernels compiled, so that nobody waits for them once the run starts.

    Raises
    ------
    CodecError
        If the codec, or one that the scenario plans to switch to, is unknown, incomplete or damaged.
    """
    codec = open_codec(config.codec, 1, config.provider)
    warm_up(config)
    session = Session(config, folder, codec, emit)
    for name in dict.fromkeys(switch.codec for switch in config.switches):
        card, encoder, decoder = read_card(find_card(name))
        session.planned[name] = session.keep_codec(card_bytes(card), encoder, decoder)
        session.install(session.planned[name])
    return session


def make_receiver(config: ServerConfig) -> Receiver:
    """The receiver that a configuration asks for."""
    server = config.server
    return Receiver(
        config.waveform,
        server.antennas,
        estimator=server.estimator,
        detector=server.detector,
        receiver=server.receiver,
        false_alarms_per_10ms=server.false_alarms_per_10ms,
        max_cfo_hz=server.max_cfo_hz,
    )


class Session:
    """What the server has received of one run, written into its folder as it comes."""

    def __init__(self, config: ServerConfig, folder: RunFolder, codec: Codec, emit: Callable[[AnyEvent], None]) -> None:
        self.config = config
        self.folder = folder
        self.receiver = make_receiver(config)
        self.assembler = PictureAssembler(codec, config.max_pixels)
        self.samples = 0
        self.frames = 0
        self.pictures: list[dict[str, object]] = []
        self.stage_s: dict[str, list[float]] = defaultdict(list)
        self.events: list[RadioEvent] = []
        self.results: dict[str, dict[str, object]] = {}
        self.alignments: Alignments | None = None  # of users whose radios have clocks of their own
        self.recorder: Recorder | None = None  # of all that is taken
        self.recorded: Recorded | None = None
        self.adjusted: list[str] = []  # what its radio has otherwise than it was asked for
        self.calibrations: list[str] = []  # records by which its radio is corrected
        self.files_refused = 0
        self.planned: dict[str, NewCodec] = {}  # by the name that the scenario gives
        self.switches: list[dict[str, object]] = []  # what became of each, as the node last told
        self.frames_of: Counter[str] = Counter()  # by user and codec
        self._emit = emit
        self._nodes = {user: node for node, user in config.users.items()}
        self._files: Counter[str] = Counter()  # that came, by node
        self._spectrum: list[np.ndarray] = []
        self._behind = Behind(self.take_frame, FRAMES_BEHIND, "write-and-decode")

    def keep_codec(self, card: bytes, encoder: bytes, decoder: bytes) -> NewCodec:
        """Check a codec, keep it in the run folder and load it; may run on a thread of its own.

        Raises
        ------
        CodecError
            If something is wrong with it.
        """
        return NewCodec(card, encoder, install_pair(self.folder.path / CODECS, card, encoder, decoder))

    def install(self, new: NewCodec) -> None:
        """From now on frames of this codec are decoded with it."""
        self.assembler.install(new.codec)

    def take(self, block: RxBlock) -> list[ReceivedFrame]:
        """Receive one block. Its frames are written, and the pictures that they complete decoded, on another thread.

        Returns
        -------
        list of ReceivedFrame
            Those that are settled with it.

        Raises
        ------
        Exception
            What that thread raised on an earlier frame.
        """
        if self.recorder is not None:
            self.recorder.put(block)
        kept = sum(part.shape[1] for part in self._spectrum)
        if kept < SPECTRUM_SAMPLES:
            self._spectrum.append(block.samples[:, : SPECTRUM_SAMPLES - kept].copy())
        self.samples += block.samples.shape[1]
        self.events += block.events
        frames = self.receiver.push(block.samples)
        for frame in frames:
            self._behind.put(frame)
        return frames

    def take_frame(self, frame: ReceivedFrame) -> None:
        """Write a frame down, then decode what it completes."""
        self.folder.write_npz_plain(frame_name(self.frames), **frame_arrays(frame))
        self._emit(frame_event(self.frames, frame))
        self.frames += 1
        for stage, seconds in frame.stage_s.items():
            self.stage_s[stage].append(seconds)
        for part in frame.users:
            if part.header is not None:
                self.frames_of[f"user {part.user}, codec {part.header.codec} {part.header.codec_hash:08x}"] += 1
        for picture in self.assembler.add(frame):
            self.keep(picture)

    def keep(self, picture: ReceivedPicture) -> None:
        """Write a decoded picture and a line about it."""
        node = self._nodes.get(picture.user, f"user-{picture.user}")
        name = write_decoded(self.folder, node, picture)
        self.stage_s["decode"].append(picture.decode_s)
        facts: dict[str, object] = {
            "user": picture.user,
            "picture": picture.picture,
            "file": name,
            "lost_share": picture.lost_share,
            "codec": picture.codec,
        }
        if picture.decoded.ndim == 1:
            facts["read_as"] = int(picture.decoded.argmax())
        self.pictures.append(facts)
        self._emit(
            PictureDecoded(
                user=picture.user,
                picture=picture.picture,
                file=name,
                lost_share=picture.lost_share,
                codec=picture.codec,
                decode_s=picture.decode_s,
            )
        )

    def finish(self) -> None:
        """The stream has ended: take its last frames, decode what is left with lost parts as erasures."""
        if self.recorder is not None and self.recorded is None:
            self.recorded = self.recorder.close()
        for frame in self.receiver.flush():
            self._behind.put(frame)
        self._behind.close()
        for picture in self.assembler.finish():
            self.keep(picture)
        if self._spectrum:
            self.folder.write_npz(
                IQ,
                samples=np.concatenate(self._spectrum, axis=1),
                sample_rate_hz=np.float64(self.config.waveform.sample_rate_hz),
            )

    def take_result(self, result: Result) -> None:
        """Keep a node's values."""
        self.results[result.node] = result.values
        if self._files[result.node] != result.files:
            log.warning("%s: %d of its %d files came", result.node, self._files[result.node], result.files)

    def take_change(self, change: Changed) -> None:
        """Write down that the air was changed."""
        self._emit(LinkChanged(at_sample=change.at_sample, link=change.link, key=change.key, value=change.value))

    def take_file(self, file: ResultFile) -> None:
        """Keep a node's file where it belongs; one for any other place is counted and left out."""
        self._files[file.node] += 1
        try:
            if not may_hand_in(file.node, file.name):
                raise DataError(f"{file.name!r}: {file.node} may only hand in {sent_folder(file.node)}/NAME.SUFFIX")
            self.folder.write_bytes(file.name, file.data)
        except DataError as error:
            self.files_refused += 1
            log.warning("%s: a file is left out: %s", file.node, error)

    def write_summary(self, complete: bool) -> None:
        """The summary: counts, what each node measured, and the time spent in each stage."""
        self.folder.write_json(
            SUMMARY,
            {
                "complete": complete,
                "expects": self.config.expects,
                "external": list(self.config.external),
                "provider": next(iter(self.assembler.codecs.values())).provider,
                "calibrations": self.calibrations,
                "adjusted": self.adjusted,
                "samples": self.samples,
                "frames": self.frames,
                "frames_cut": self.receiver.frames_cut,
                "waits_for_writer": self._behind.waits,
                "faulty_samples": self.receiver.faulty_samples,
                "first_faulty_sample": self.receiver.first_faulty_sample,
                "files_refused": self.files_refused,
                "headers_refused": self.assembler.headers_refused,
                "codecs_refused": self.assembler.codecs_refused,
                "kinds_refused": self.assembler.kinds_refused,
                "frames_of": self.frames_of,
                "switches": self.switches,
                "recording": self.recorded,
                "events": [{"kind": e.kind, "sample": e.sample, "count": e.count} for e in self.events],
                "pictures": self.pictures,
                "nodes": self.results,
                "stage_s": self.stage_s,
            },
        )


def warm_up(config: ServerConfig) -> None:
    """Receive one frame; the codec has decoded small pictures when it was opened."""
    waveform, receiver = config.waveform, make_receiver(config)
    header = Header(user=0, frame=0, picture=0, part=0, codec=0, codec_hash=0, height=1, width=1, k=1, scale=1.0)
    frame, _ = build_frame(header, np.ones(waveform.data_elements, np.complex64), waveform)
    silence = np.zeros(waveform.symbol_samples, np.complex64)
    samples = np.concatenate([silence, frame, silence])
    receiver.push(np.tile(samples, (config.server.antennas, 1)))
    receiver.flush()


def frame_event(number: int, frame: ReceivedFrame) -> FrameReceived:
    """What is written down of a frame."""
    return FrameReceived(
        frame=number,
        first_sample=frame.first_sample,
        timing_samples=frame.timing_samples,
        cfo_hz=frame.cfo_hz,
        statistic=frame.statistic,
        no=frame.no,
        users=[
            UserPart(
                user=part.user,
                header=part.header is not None,
                picture=part.header.picture if part.header else None,
                part=part.header.part if part.header else None,
                cfo_hz=part.cfo_hz,
                delay_samples=part.delay_samples,
                mean_no_eff=float(np.mean(part.no_eff, dtype=np.float64)),
            )
            for part in frame.users
        ],
        stage_s=frame.stage_s,
    )
