"""An edge's transmit path: pictures to symbols to frames to samples. It knows no radio and no network."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from testbed.codec.base import Codec, CodecIdentity
from testbed.data.pictures import Picture
from testbed.errors import ScenarioError
from testbed.phy.frame import build_frame
from testbed.phy.header import FRAME_CYCLE, MAX_VALUES, Header, quantise_scale
from testbed.phy.interleave import interleave
from testbed.phy.waveform import Waveform

LEAD_SAMPLES = 2400  # silence before the first frame, so that no preamble meets a filter's start


class Plan(msgspec.Struct, frozen=True):
    """What a list of pictures costs on the air."""

    frames: int
    samples: int  # from sample 0 to the end of the last frame's gap
    channel_uses: int  # complex data symbols, padding left out


class Transmitter:
    """Encodes pictures and lays them into frames of one user.

    A picture's k symbols are interleaved as a whole, then cut into parts of ``waveform.data_elements``, one a frame;
    the last part is filled up with zeros. The stream depends on the pictures and their codecs alone, from sample 0 on.
    """

    def __init__(
        self, waveform: Waveform, user: int, codec: Codec, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.waveform = waveform
        self.user = user
        self.codec = codec
        self.clipped_samples = 0
        self.frames_sent = 0
        self.codecs: list[CodecIdentity] = []  # of each picture so far
        self.symbols: list[np.ndarray] = []  # [k] complex64 of each picture so far, in the order in which they left
        self._kept: dict[bytes, np.ndarray] = {}  # by their bytes' hash: pictures that repeat are kept once
        self.stage_s: dict[str, list[float]] = defaultdict(list)
        self._clock = clock

    def parts(self, height: int, width: int) -> int:
        """Frames that a picture of this size takes."""
        return self.waveform.frames_for(self.codec.symbol_count(height, width))

    def plan(self, pictures: Sequence[Picture]) -> Plan:
        """Frames, samples and channel uses of these pictures, known before any is encoded.

        Parameters
        ----------
        pictures : sequence of Picture

        Returns
        -------
        Plan

        Raises
        ------
        ScenarioError
            If headers could not tell the pictures or their frames apart.
        """
        sizes = [p.pixels.shape[:2] for p in pictures]
        parts = [self.parts(*size) for size in sizes]
        frames = sum(parts)
        for what, count, most in (
            ("pictures", len(pictures), MAX_VALUES["picture"] + 1),
            ("frames", frames, MAX_VALUES["frame"] + 1),
            ("frames of one picture", max(parts, default=0), FRAME_CYCLE),
        ):
            if count > most:
                raise ScenarioError(
                    f"user {self.user} is to send {count} {what}: headers count up to {most}. "
                    "Lower repeat or max_pixels, or send fewer pictures"
                )
        samples = LEAD_SAMPLES + frames * self.waveform.frame_period_samples
        return Plan(frames, samples, sum(self.codec.symbol_count(*size) for size in sizes))

    def first_frames(self, pictures: Sequence[Picture]) -> list[int]:
        """The number of each picture's first frame."""
        counts = [self.parts(*p.pixels.shape[:2]) for p in pictures]
        return [sum(counts[:index]) for index in range(len(counts))]

    def encode(self, picture: Picture) -> np.ndarray:
        """[k] complex64, in the order in which the symbols leave (interleaved)."""
        begin = self._clock()
        symbols = interleave(self.codec.encode(picture.pixels))
        self.stage_s["encode"].append(self._clock() - begin)
        return symbols

    def frames(
        self, pictures: Sequence[Picture], codec_for: Callable[[int], Codec] | None = None
    ) -> Iterator[np.ndarray]:
        """[frame_samples] complex64 for each frame of each picture, encoded when its turn comes.

        ``codec_for`` is asked once for each picture, then; all of its frames come from that codec.
        """
        size = self.waveform.data_elements
        for number, picture in enumerate(pictures):
            if codec_for is not None:
                self.codec = codec_for(number)
            identity = self.codec.identity
            self.codecs.append(identity)
            symbols = self.encode(picture)
            self.symbols.append(self._kept.setdefault(hashlib.sha256(symbols.tobytes()).digest(), symbols))
            height, width = picture.pixels.shape[:2]
            # Frames carry unit mean power; the header says what to multiply by to have the codec's scale again.
            scale = quantise_scale(float(np.sqrt(np.mean(np.abs(symbols) ** 2))) or 1.0)
            parts = self.parts(height, width)
            padded = np.zeros(parts * size, np.complex64)
            padded[: len(symbols)] = symbols / np.float32(scale)
            for part in range(parts):
                begin = self._clock()
                header = Header(
                    user=self.user,
                    frame=self.frames_sent,
                    picture=number,
                    part=part,
                    codec=identity.number,
                    codec_hash=identity.digest,
                    height=height,
                    width=width,
                    k=len(symbols),
                    scale=scale,
                )
                samples, clipped = build_frame(header, padded[part * size : (part + 1) * size], self.waveform)
                self.clipped_samples += clipped
                self.frames_sent += 1
                self.stage_s["modulate"].append(self._clock() - begin)
                yield samples

    def stream(
        self, pictures: Sequence[Picture], codec_for: Callable[[int], Codec] | None = None
    ) -> Iterator[np.ndarray]:
        """[1, n] complex64 pieces of the gapless stream: lead silence, then each frame and the gap behind it."""
        yield np.zeros((1, LEAD_SAMPLES), np.complex64)
        gap = np.zeros(self.waveform.gap_samples, np.complex64)
        for frame in self.frames(pictures, codec_for):
            yield np.concatenate([frame, gap])[None]
