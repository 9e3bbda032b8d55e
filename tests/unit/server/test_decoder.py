"""What reaches the codec: symbols on its own scale, and the variance of the error that they then have."""

from __future__ import annotations

import numpy as np
import pytest

from server.decoder import PictureAssembler
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
        user=0, frame=0, picture=0, part=part, parts=3, codec=1, codec_hash=0xA, height=300, width=400, scale=scale
    )
    data = UserFrame(0, header, symbols.astype(np.complex64), no_eff.astype(np.float32), 0.0)
    return ReceivedFrame(0, 0.0, 0.0, 1.0, 1e-3, [data], np.zeros((1, 1, 1, 1), np.complex64), {})


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
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
