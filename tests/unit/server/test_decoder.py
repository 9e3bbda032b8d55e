"""What reaches the codec: symbols on its own scale, and the variance of the error that they then have."""

from __future__ import annotations

import tracemalloc

import msgspec
import numpy as np
import pytest

from server.decoder import OPEN_PICTURES, PictureAssembler
from server.pipeline import ReceivedFrame, UserFrame
from testbed.codec.base import CodecIdentity
from testbed.phy.header import Header
from testbed.phy.interleave import interleave

SIZE = 50_000  # symbols in a frame; a picture of 300 x 400 pixels takes three, the last not full


class Listening:
    """A codec that keeps what it is given to decode."""

    identity = CodecIdentity("listening", 1, 0xA)

    def symbol_count(self, height: int, width: int) -> int:
        return height * width

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        self.symbols, self.no_eff = symbols, no_eff
        return np.zeros((height, width, 3), np.uint8)


def frame(part: int, symbols: np.ndarray, no_eff: np.ndarray, scale: float) -> ReceivedFrame:
    header = Header(
        user=0, frame=part, picture=0, part=part, codec=1, codec_hash=0xA, height=300, width=400, k=120_000, scale=scale
    )
    data = UserFrame(0, header, symbols.astype(np.complex64), no_eff.astype(np.float32), 0.0, 0.0)
    return ReceivedFrame(0, 0.0, 0.0, 1.0, 1e-3, [data], np.zeros((1, 1, 1, 1), np.complex64), {})


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0**1.5])
def test_the_codec_is_told_the_error_of_the_symbols_it_gets(scale, rng):
    """A codec's symbols of power scale^2 leave with power 1 and meet noise of variance 0.01 to 1, which the detector
    reports. In the codec's order and on its scale: symbols and variances exactly as laid out (float32), and the error
    measured over 1.2e5 symbols is the one told within 4 standard errors (1.2 %)."""
    plain = scale * np.exp(2j * np.pi * rng.random(120_000))
    sent = np.pad(interleave(plain) / scale, (0, 3 * SIZE - 120_000))
    no = 10 ** rng.uniform(-2, 0, len(sent))
    noise = np.sqrt(no / 2) * (rng.standard_normal((len(sent), 2)) @ [1, 1j])
    codec = Listening()
    assembler = PictureAssembler(codec)
    done = []
    for part in (1, 0, 2):
        place = slice(part * SIZE, (part + 1) * SIZE)
        done += assembler.add(frame(part, (sent + noise)[place], no[place], scale))
    assert [p.lost_share for p in done] == [0.0]
    np.testing.assert_allclose(interleave(codec.no_eff), scale**2 * no[:120_000], rtol=1e-5)
    np.testing.assert_allclose(interleave(codec.symbols), scale * (sent + noise)[:120_000], rtol=1e-5, atol=1e-6)
    ratio = np.abs(codec.symbols - plain) ** 2 / codec.no_eff
    assert np.mean(ratio) == pytest.approx(1.0, abs=4 / np.sqrt(120_000))


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_part_is_infinitely_noisy_on_any_scale(lost, rng):
    """Erased exactly where the part would lie, with symbols of zero; all else is scaled as ever."""
    codec = Listening()
    assembler = PictureAssembler(codec)
    for part in {0, 1, 2} - {lost}:
        assert assembler.add(frame(part, np.full(SIZE, 1 + 1j), np.full(SIZE, 0.5), 2.0)) == []
    (picture,) = assembler.finish()
    erased = np.arange(120_000) // SIZE == lost
    assert picture.lost_share == pytest.approx(np.mean(erased), rel=1e-9)
    assert np.array_equal(interleave(codec.no_eff), np.where(erased, np.inf, 2.0))
    assert np.array_equal(interleave(codec.symbols), np.where(erased, 0, 2 + 2j))


@pytest.mark.parametrize(
    ("change", "why"),
    [({"height": 4000, "width": 3000, "k": 12_000_000}, "headers_refused"), ({"kind": 1}, "kinds_refused")],
)
def test_what_a_server_does_not_take_reserves_nothing(change, why, rng):
    """A picture larger than max_pixels, though its header agrees with itself, and a kind of payload of the future:
    counted, and no memory for it."""
    codec = Listening()
    assembler = PictureAssembler(codec, max_pixels=300 * 400)
    plain = frame(0, np.ones(SIZE), np.ones(SIZE), 1.0)
    (user,) = plain.users
    strange = msgspec.structs.replace(user, header=msgspec.structs.replace(user.header, **change))
    tracemalloc.start()
    for _ in range(3):
        assert assembler.add(msgspec.structs.replace(plain, users=[strange])) == []
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    refused = getattr(assembler, why)
    assert (refused if isinstance(refused, int) else sum(refused.values())) == 3
    assert assembler.finish() == []
    assert assembler.add(plain) == []
    assert [p.picture for p in assembler.finish()] == [0]


def test_a_picture_that_misses_parts_has_a_deadline(rng):
    """Two of three parts, then frames of another user: decoded with a third erased once the stream is past the
    deadline, not before; its last part is then refused."""
    assembler = PictureAssembler(Listening(), deadline_samples=1000)
    assert assembler.add(frame(0, np.ones(SIZE), np.ones(SIZE), 1.0)) == []
    late = msgspec.structs.replace(frame(1, np.ones(SIZE), np.ones(SIZE), 1.0), first_sample=500)
    assert assembler.add(late) == []
    assert assembler.add(msgspec.structs.replace(late, first_sample=1500, users=[])) == []
    (done,) = assembler.add(msgspec.structs.replace(late, first_sample=1501, users=[]))
    assert done.lost_share == pytest.approx(20_000 / 120_000)
    assert assembler.add(frame(2, np.ones(SIZE), np.ones(SIZE), 1.0)) == []
    assert assembler.headers_refused == 1


def test_a_user_has_few_pictures_open():
    """Ten pictures of which one part each comes: the oldest is decoded when the fifth begins, and so on."""
    assembler, done = PictureAssembler(Listening()), []
    for number in range(10):
        one = frame(0, np.ones(SIZE), np.ones(SIZE), 1.0)
        header = msgspec.structs.replace(one.users[0].header, picture=number, frame=3 * number)
        done += assembler.add(
            msgspec.structs.replace(one, users=[msgspec.structs.replace(one.users[0], header=header)])
        )
    assert [p.picture for p in done] == list(range(10 - OPEN_PICTURES))
    assert [p.picture for p in assembler.finish()] == list(range(10 - OPEN_PICTURES, 10))
