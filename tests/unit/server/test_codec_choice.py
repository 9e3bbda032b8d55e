"""Each picture is decoded with the codec that its frames name, whichever others are there, and with no other."""

from __future__ import annotations

import numpy as np
import pytest

from server.decoder import PictureAssembler
from server.pipeline import ReceivedFrame, UserFrame
from testbed.codec.base import CodecIdentity
from testbed.errors import CodecError
from testbed.phy.header import Header

SYMBOLS = 8  # in a frame; a picture of 4 x 4 pixels takes two


class Constant:
    """A codec whose pictures are all of one grey, so that they tell who decoded them."""

    def __init__(self, digest: int, grey: int) -> None:
        self.identity = CodecIdentity("constant", 1, digest)
        self.grey = grey

    def symbol_count(self, height: int, width: int) -> int:
        return height * width

    def encode(self, picture):
        raise AssertionError

    def decode(self, symbols, no_eff, height, width):
        return np.full((height, width, 3), self.grey, np.uint8)


OLD, NEW = Constant(0xA, 10), Constant(0xB, 20)


def frame(picture: int, part: int, digest: int, user: int = 0) -> ReceivedFrame:
    header = Header(
        user=user,
        frame=part,
        picture=picture,
        part=part,
        codec=1,
        codec_hash=digest,
        height=4,
        width=4,
        k=2 * SYMBOLS,
        scale=1.0,
    )
    data = UserFrame(user, header, np.ones(SYMBOLS, np.complex64), np.ones(SYMBOLS, np.float32), 0.0, 0.0)
    return ReceivedFrame(0, 0.0, 0.0, 1.0, 1e-3, [data], np.zeros((1, 1, 1, 1), np.complex64), {})


def test_pictures_of_two_codecs_in_any_order_meet_their_own_decoder():
    """Frames of both mixed, the old one's last after the new one was installed."""
    assembler = PictureAssembler(OLD)
    assert assembler.add(frame(0, 0, 0xA)) == []
    assembler.install(NEW)
    assert assembler.add(frame(1, 0, 0xB)) == []
    (old,) = assembler.add(frame(0, 1, 0xA))
    (new,) = assembler.add(frame(1, 1, 0xB))
    assert (old.decoded.max(), old.codec) == (10, "constant 0000000a")
    assert (new.decoded.max(), new.codec) == (20, "constant 0000000b")
    assert not assembler.codecs_refused


def test_a_frame_of_an_unknown_codec_is_counted_and_decoded_by_nobody():
    """From a user whose frames were understood before; the picture it belongs to never appears."""
    assembler = PictureAssembler(OLD)
    for part in (0, 1):
        assembler.add(frame(0, part, 0xA))
    for part in (0, 1):
        assert assembler.add(frame(1, part, 0xB)) == []
    assert assembler.finish() == []
    assert list(assembler.codecs_refused.values()) == [2]
    assert "hash 0000000b" in next(iter(assembler.codecs_refused))


def test_a_user_who_never_was_understood_is_a_mistake_of_configuration():
    """Also when another user was."""
    assembler = PictureAssembler(OLD)
    assembler.add(frame(0, 0, 0xA, user=0))
    with pytest.raises(CodecError, match="user 1 sends with codec 1, hash 0000000b"):
        assembler.add(frame(0, 0, 0xB, user=1))


def test_one_picture_is_of_one_codec():
    """Its second frame names another codec, which is here as well: refused; the rest is decoded as erased."""
    assembler = PictureAssembler(OLD)
    assembler.install(NEW)
    assembler.add(frame(0, 0, 0xA))
    assert assembler.add(frame(0, 1, 0xB)) == []
    assert assembler.headers_refused == 1
    (picture,) = assembler.finish()
    assert (picture.decoded.max(), picture.lost_share) == (10, 0.5)
