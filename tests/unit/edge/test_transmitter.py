"""The transmit path: what it plans is what it sends, and what it sends can be put together again."""

from __future__ import annotations

import numpy as np
import pytest

from edge.transmitter import LEAD_SAMPLES, Transmitter
from server.decoder import PictureAssembler
from server.pipeline import ReceivedFrame, UserFrame
from testbed.codec.base import CodecIdentity
from testbed.data.pictures import Picture
from testbed.errors import CodecError, ScenarioError
from testbed.phy.header import Header, quantise_scale
from testbed.phy.interleave import deinterleave
from testbed.phy.waveform import Waveform

WAVEFORM = Waveform(body_symbols=15)


class PixelCodec:
    """One symbol a pixel: the simplest map that loses nothing but colour. Its decoder shows erasures as white."""

    def __init__(self, number: int = 200, gain: float = 1.0) -> None:
        self.identity = CodecIdentity("pixels", number, 0xC0DE)
        self.gain = gain

    def symbol_count(self, height: int, width: int) -> int:
        return height * width

    def encode(self, picture: np.ndarray) -> np.ndarray:
        return (self.gain * picture[:, :, 0].reshape(-1) / 128.0).astype(np.complex64)

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        grey = np.where(np.isinf(no_eff), 255, np.clip(np.rint(symbols.real * 128.0 / self.gain), 0, 255))
        return np.repeat(grey.astype(np.uint8).reshape(height, width, 1), 3, axis=2)


def grey_picture(rng, height, width):
    return np.repeat(rng.integers(0, 255, (height, width, 1), dtype=np.uint8), 3, axis=2)


def frames_of(codec, pictures, user=0):
    """Headers and data as a perfect receiver would report them, straight from the transmitter's symbols."""
    transmitter = Transmitter(WAVEFORM, user, codec)
    size = WAVEFORM.data_elements
    number = 0
    for index, picture in enumerate(pictures):
        symbols = transmitter.encode(picture)
        scale = quantise_scale(float(np.sqrt(np.mean(np.abs(symbols) ** 2))))
        parts = transmitter.parts(*picture.pixels.shape[:2])
        padded = np.zeros(parts * size, np.complex64)
        padded[: len(symbols)] = symbols / scale
        for part in range(parts):
            header = Header(
                user=user,
                frame=number,
                picture=index,
                part=part,
                codec=codec.identity.number,
                codec_hash=codec.identity.digest,
                height=picture.pixels.shape[0],
                width=picture.pixels.shape[1],
                k=len(symbols),
                scale=scale,
            )
            number += 1
            data = padded[part * size : (part + 1) * size]
            yield received(UserFrame(user, header, data, np.full(size, 1e-3, np.float32), 0.0, 0.0))


def received(*users: UserFrame) -> ReceivedFrame:
    return ReceivedFrame(0, 0.0, 0.0, 1.0, 1e-3, list(users), np.zeros((1, 1, 1, 1), np.complex64), {})


def test_the_plan_is_what_is_sent(rng):
    """Frames, samples and channel uses, for pictures that end inside a part and exactly at its end."""
    size = WAVEFORM.data_elements
    exact = Picture("exact", grey_picture(rng, 2, size // 2))
    odd = Picture("odd", grey_picture(rng, 21, 31))
    transmitter = Transmitter(WAVEFORM, 1, PixelCodec())
    plan = transmitter.plan([exact, odd])
    stream = np.concatenate([piece[0] for piece in transmitter.stream([exact, odd])])
    assert plan.frames == transmitter.frames_sent == 1 + -(-21 * 31 // size)
    assert plan.samples == len(stream)
    assert plan.channel_uses == size + 21 * 31
    assert not stream[:LEAD_SAMPLES].any()
    assert np.abs(stream.view(np.float32)).max() <= 1.0  # what a converter takes


def test_every_frame_has_the_power_that_the_waveform_states(rng):
    """A codec whose symbols are ten times too strong: the body stays at rms_dbfs within 0.5 dB, the header tells."""
    pixels = np.clip(grey_picture(rng, 40, 40), 60, 255)
    transmitter = Transmitter(WAVEFORM, 0, PixelCodec(gain=10.0))
    body = next(transmitter.frames([Picture("loud", pixels)]))[WAVEFORM.preamble_samples :]
    assert 10 * np.log10(np.mean(np.abs(body) ** 2)) == pytest.approx(WAVEFORM.rms_dbfs, abs=0.5)


def test_a_picture_in_any_order_of_frames_is_put_together(rng):
    """Frames reversed and two pictures mixed: both come out exact, each once its last part is there."""
    pictures = [Picture("a", grey_picture(rng, 50, 40)), Picture("b", grey_picture(rng, 45, 47))]
    assembler = PictureAssembler(PixelCodec(gain=3.0))
    frames = list(frames_of(PixelCodec(gain=3.0), pictures))
    done = [p for frame in reversed(frames) for p in assembler.add(frame)]
    assert assembler.finish() == []
    assert [p.picture for p in done] == [1, 0]
    for p in done:
        assert p.lost_share == 0.0
        assert np.array_equal(p.decoded, pictures[p.picture].pixels)


def test_a_lost_frame_is_erased_all_over_the_picture(rng):
    """The second of its frames missing: that share of pixels is erased, spread over the picture, the rest is exact."""
    picture = Picture("a", grey_picture(rng, 60, 60))
    assembler = PictureAssembler(PixelCodec())
    frames = list(frames_of(PixelCodec(), [picture]))
    for frame in frames[:1] + frames[2:]:
        assert assembler.add(frame) == []
    (result,) = assembler.finish()
    size = WAVEFORM.data_elements
    assert result.lost_share == pytest.approx(size / 3600)
    sent = np.arange(3600)
    lost = np.zeros(3600, bool)
    lost[size : 2 * size] = True
    erased = deinterleave(lost).reshape(60, 60)
    assert len(sent[lost]) == erased.sum()
    assert np.all(result.decoded[erased] == 255)
    assert np.array_equal(result.decoded[~erased], picture.pixels[~erased])
    rows = erased.sum(axis=1)
    assert rows.min() > 0, "an erasure must not take a whole region"


def test_a_frame_of_another_codec_is_refused(rng):
    """Same name, other hash or number: an error that names both."""
    picture = Picture("a", grey_picture(rng, 20, 20))
    frame = next(frames_of(PixelCodec(number=201), [picture]))
    with pytest.raises(CodecError, match="codec 201"):
        PictureAssembler(PixelCodec()).add(frame)


@pytest.mark.parametrize("lie", [{"height": 65535, "width": 65535}, {"k": 1}, {"k": 2**28 - 1}, {"height": 90}])
def test_a_header_that_contradicts_itself_allocates_nothing(rng, lie):
    """Lies about size and symbols: counted, and no picture begun."""
    import msgspec

    picture = Picture("a", grey_picture(rng, 60, 60))
    frame = next(frames_of(PixelCodec(), [picture]))
    (user,) = frame.users
    assembler = PictureAssembler(PixelCodec())
    header = msgspec.structs.replace(user.header, **lie)
    assert assembler.add(received(msgspec.structs.replace(user, header=header))) == []
    assert assembler.headers_refused == 1
    assert assembler.finish() == []


def test_pictures_past_65536_are_told_apart(rng, monkeypatch):
    """65,636 pictures of one edge: the last hundred bear numbers of their own, and are decoded as such."""
    picture = Picture("a", grey_picture(rng, 4, 4))
    transmitter = Transmitter(WAVEFORM, 0, PixelCodec())
    headers = []
    monkeypatch.setattr("edge.transmitter.build_frame", lambda header, data, waveform: (headers.append(header), 0))
    assert transmitter.plan([picture] * 65_636).frames == 65_636
    for _ in transmitter.frames([picture] * 65_636):
        pass
    assert [h.picture for h in headers] == [h.frame for h in headers] == list(range(65_636))
    assembler, size = PictureAssembler(PixelCodec()), WAVEFORM.data_elements
    noise, symbols = np.full(size, 1e-3, np.float32), np.zeros(size, np.complex64)
    for header in (headers[99], headers[99 + 65_536]):
        (done,) = assembler.add(received(UserFrame(0, header, symbols, noise, 0.0, 0.0)))
        assert done.picture == header.picture


@pytest.mark.parametrize(
    ("count", "side", "what"), [(11, 4, "11 pictures"), (7, 40, "28 frames"), (1, 1400, "4538 frames of one picture")]
)
def test_a_plan_that_headers_cannot_count_is_refused(count, side, what, monkeypatch):
    """Before anything is sent, with what to do. Counters of pictures and frames are made short here: 10 and 20."""
    if count > 1:
        monkeypatch.setattr("edge.transmitter.MAX_VALUES", {"picture": 9, "frame": 19})
    picture = Picture("a", np.zeros((side, side, 3), np.uint8))
    with pytest.raises(ScenarioError, match=rf"user 1 is to send {what}: headers count up to .*Lower repeat"):
        Transmitter(WAVEFORM, 1, PixelCodec()).plan([picture] * count)
