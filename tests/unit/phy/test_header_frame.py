"""Headers on the wire and on the grid, and where everything lies in a frame."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import ProtocolError, ScenarioError, ShapeError
from testbed.phy import frame, ofdm
from testbed.phy.header import DESCRIPTION_BITS, HEADER_BYTES, MAX_VALUES, SCALE_STEPS, VERSION, Header
from testbed.phy.header_code import header_soft_bits, read_alone
from testbed.phy.pilots import pilot_boost, pilot_comb, pilot_values
from testbed.phy.preamble import preamble
from testbed.phy.waveform import Waveform

OTA = Waveform()
VALUES = {"user": 1, "frame": 500, "picture": 3, "part": 2, "codec": 1, "codec_hash": 0xDEADBEEF}
HEADER = Header(**VALUES, height=427, width=640, k=137_280, scale=1.0)


def random_data(rng):
    return (rng.standard_normal((OTA.data_elements, 2)) @ [1, 1j] / np.sqrt(2)).astype(np.complex64)


@given(st.binary(max_size=2 * HEADER_BYTES) | st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_a_header_or_a_protocol_error(data):
    """Of any length, and of the right length and version; what is read writes the same bytes again."""
    for wire in (data, data[:4] + bytes([VERSION << 4 | 1]) + data[5:]):
        try:
            header = Header.from_bytes(wire)
        except ProtocolError:
            continue
        assert header.to_bytes() == wire


@given(
    st.fixed_dictionaries({k: st.integers(1, v) for k, v in MAX_VALUES.items() if k not in ("part", "frame")}),
    st.integers(0, MAX_VALUES["part"]).flatmap(
        lambda part: st.tuples(st.integers(part, MAX_VALUES["frame"]), st.just(part))
    ),
    st.floats(2.0**-31, 2.0**31),
)
@settings(max_examples=200, deadline=None)
def test_bytes_carry_every_field(fields, place, scale):
    """Over the whole range of each."""
    header = Header(**fields, frame=place[0], part=place[1], scale=scale)
    assert header.scale == pytest.approx(scale, rel=2 ** (0.5 / SCALE_STEPS) - 1 + 1e-9)
    assert Header.from_bytes(header.to_bytes()) == header


def test_layout_never_changes():
    """Frozen bits of version 2, written out by hand: what the frames of a picture say alike, and a header's bytes."""
    alike = "2 0 01 deadbeef 000003 0001f2 01ab 0280 0021840 8000"
    expected = np.unpackbits(np.frombuffer(bytes.fromhex(alike.replace(" ", "") + "0"), np.uint8))[:DESCRIPTION_BITS]
    np.testing.assert_array_equal(HEADER.description(), expected)
    assert HEADER.to_bytes() == bytes.fromhex("01 0001f4" + alike.replace(" ", "") + "0")


@pytest.mark.parametrize(
    ("name", "value"),
    [("user", 256), ("frame", -1), ("frame", 2**24), ("part", 501), ("height", 0), ("width", 65536), ("kind", 16)]
    + [("codec_hash", 2**32), ("k", 0), ("k", 2**28)]
    + [("scale", value) for value in (0.0, -1.0, float("nan"), float("inf"), 1e300)],
)
def test_values_out_of_range_are_named(name, value):
    """Name and value are in the message."""
    with pytest.raises(ProtocolError, match=re.escape(f"header.{name} = {value}: ")):
        msgspec.structs.replace(HEADER, **{name: value})


def test_another_version_is_named():
    """Version 3 from a newer peer."""
    wire = HEADER.to_bytes()
    with pytest.raises(ProtocolError, match="version = 3"):
        Header.from_bytes(wire[:4] + bytes([3 << 4 | wire[4] & 15]) + wire[5:])


def test_every_frame_of_a_picture_says_the_same_of_it():
    """Only user, frame and part differ."""
    later = msgspec.structs.replace(HEADER, user=0, frame=507, part=9)
    np.testing.assert_array_equal(later.description(), HEADER.description())
    assert Header.of_frame(0, 507, HEADER.description()) == later
    with pytest.raises(ProtocolError, match="part"):
        Header.of_frame(0, HEADER.first - 1, HEADER.description())


@pytest.mark.parametrize("user", [0, 1])
def test_a_frame_carries_preamble_pilots_header_and_data_where_they_belong(user, rng):
    """Demodulated without a channel: everything comes back, to rounding."""
    header = msgspec.structs.replace(HEADER, user=user)
    data = random_data(rng)
    samples, clipped = frame.build_frame(header, data, OTA)
    assert samples.shape == (OTA.frame_samples,)
    assert samples.dtype == np.complex64
    assert clipped == 0
    samples = samples / np.float32(ofdm.tx_amplitude(OTA))
    np.testing.assert_allclose(samples[: OTA.preamble_samples], preamble(OTA), atol=1e-6)
    grid = ofdm.demodulate(samples, OTA, OTA.body_symbols, OTA.preamble_samples)
    np.testing.assert_allclose(frame.read_data(grid, OTA), data, atol=1e-5)
    assert read_alone(header_soft_bits(frame.read_header(grid, OTA), 0.01, OTA), user) == header
    mine, others = pilot_comb(OTA, user), pilot_comb(OTA, 1 - user)
    sent = grid[OTA.pilot_symbols]
    np.testing.assert_allclose(sent[:, mine], pilot_boost(OTA) * pilot_values(OTA)[:, mine], atol=1e-5)
    np.testing.assert_allclose(sent[:, others], 0, atol=1e-5)


def test_a_frame_is_at_its_level_and_every_symbol_has_its_share(rng):
    """-12 dBFS within 0.1 dB over the body; preamble and pilots within 0.1 dB of it."""
    data = random_data(rng)
    samples, _ = frame.build_frame(HEADER, data, OTA)
    power = np.abs(samples) ** 2
    body = power[OTA.preamble_samples :].reshape(OTA.body_symbols, -1)[:, OTA.cp_samples :]
    for part in (body, body[OTA.pilot_symbols], power[2 * OTA.cp_samples : OTA.preamble_samples]):
        assert 10 * np.log10(part.mean()) == pytest.approx(OTA.rms_dbfs, abs=0.1)


def test_what_exceeds_full_scale_is_limited_and_counted(rng):
    """At -3 dBFS the peaks of OFDM do."""
    loud = msgspec.structs.replace(OTA, rms_dbfs=-3.0)
    data = random_data(rng)
    samples, clipped = frame.build_frame(HEADER, data, loud)
    assert clipped > 100
    assert np.abs(samples).max() <= 1 + 1e-6


def test_too_few_data_are_refused():
    """A frame is always full; who has less pads with zeros."""
    with pytest.raises(ShapeError, match=str(OTA.data_elements)):
        frame.build_frame(HEADER, np.zeros(10, np.complex64), OTA)


def test_a_waveform_offers_what_a_header_takes():
    """Mark and code, 608 bits: five symbols of 72 carriers offer 720, four only 576."""
    assert Waveform(header_symbols=5).header_symbols == 5
    with pytest.raises(ScenarioError, match="a header takes 608"):
        Waveform(header_symbols=4)


@pytest.mark.parametrize(("symbols", "frames"), [(1, 1), (OTA.data_elements, 1), (OTA.data_elements + 1, 2)])
def test_frames_for_symbols(symbols, frames):
    """One symbol more than a frame's takes another."""
    assert OTA.frames_for(symbols) == frames
