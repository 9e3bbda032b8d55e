"""Headers on the wire and on the grid, and where everything lies in a frame."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from testbed.errors import ProtocolError, ShapeError
from testbed.phy import frame, ofdm
from testbed.phy.coding import code_bits, encode
from testbed.phy.header import (
    HEADER_BYTES,
    MAX_VALUES,
    SCRAMBLER_BASE,
    VERSION,
    Header,
    header_from_symbols,
    header_to_symbols,
)
from testbed.phy.modulation import qpsk
from testbed.phy.pilots import pilot_boost, pilot_comb, pilot_values
from testbed.phy.preamble import preamble
from testbed.phy.sequences import gold_bits
from testbed.phy.waveform import HEADER_CODE_BITS, Waveform

OTA = Waveform()
WIDE = Waveform(profile="wide")
VALUES = {"user": 1, "frame": 500, "picture": 3, "part": 2, "parts": 9, "codec": 1, "codec_hash": 0xDEADBEEF}
HEADER = Header(**VALUES, height=427, width=640, scale=1.25)


def noisy(x, snr_db, rng):
    deviation = np.sqrt(0.5 / 10 ** (snr_db / 10))
    return x + deviation * (rng.standard_normal(x.shape) + 1j * rng.standard_normal(x.shape))


def random_data(rng):
    return (rng.standard_normal((OTA.data_elements, 2)) @ [1, 1j] / np.sqrt(2)).astype(np.complex64)


@given(st.binary(max_size=2 * HEADER_BYTES) | st.binary(min_size=HEADER_BYTES - 1, max_size=HEADER_BYTES - 1))
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_a_header_or_a_protocol_error(data):
    """Of any length, and of the right length and version; what is read writes the same bytes again."""
    for wire in (data, bytes([VERSION]) + data):
        try:
            header = Header.from_bytes(wire)
        except ProtocolError:
            continue
        assert header.to_bytes() == wire


@given(
    st.fixed_dictionaries({k: st.integers(1, v) for k, v in MAX_VALUES.items() if k not in ("part", "parts")}),
    st.integers(1, 65535).flatmap(lambda parts: st.tuples(st.integers(0, parts - 1), st.just(parts))),
    st.floats(2.0**-100, 2.0**100, width=32),
)
@settings(max_examples=200, deadline=None)
def test_bytes_carry_every_field(fields, place, scale):
    """Over the whole range of each."""
    header = Header(**fields, part=place[0], parts=place[1], scale=scale)
    assert Header.from_bytes(header.to_bytes()) == header


def test_layout_never_changes():
    """Frozen bytes of version 1, written out by hand."""
    expected = "01 01 01f4 0003 0002 0009 01 deadbeef 01ab 0280 3fa00000"
    assert HEADER.to_bytes() == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("user", 256), ("frame", -1), ("parts", 0), ("part", 9), ("height", 0), ("width", 65536), ("codec_hash", 2**32)]
    + [("scale", value) for value in (0.0, -1.0, float("nan"), float("inf"), 1e300)],
)
def test_values_out_of_range_are_named(name, value):
    """Name and value are in the message."""
    with pytest.raises(ProtocolError, match=re.escape(f"header.{name} = {value}: ")):
        msgspec.structs.replace(HEADER, **{name: value})


def test_another_version_is_named():
    """Version 2 from a newer peer."""
    with pytest.raises(ProtocolError, match="version = 2"):
        Header.from_bytes(b"\x02" + HEADER.to_bytes()[1:])


@pytest.mark.parametrize(("waveform", "snr_db"), [(OTA, 2.0), (WIDE, -1.0)], ids=["ota", "wide"])
def test_header_arrives_where_bits_alone_would_not(waveform, snr_db, rng):
    """Eb/N0 4.9 dB, union bound 2e-4 a header: 200 all read; uncoded, with Q(sqrt(Es/N0)) a bit, none would be."""
    x = header_to_symbols(HEADER, waveform)
    assert x.shape == (waveform.header_symbols, waveform.occupied_subcarriers)
    read = [header_from_symbols(noisy(x, snr_db, rng), 10 ** (-snr_db / 10), waveform, HEADER.user) for _ in range(200)]
    assert read == [HEADER] * 200
    uncoded = (1 - norm.sf(10 ** (snr_db / 20))) ** (8 * HEADER_BYTES)
    assert uncoded < 1e-4


def test_lost_elements_are_survived_when_they_are_known(rng):
    """Half the band lost: garbage with infinite noise at 10 dB is read, the same without being told is not."""
    x = noisy(header_to_symbols(HEADER, OTA), 10, rng).astype(np.complex64)
    x[:, ::2] = 30 * (rng.standard_normal((6, 36)) + 1j * rng.standard_normal((6, 36)))
    no = np.full(x.shape, 0.1, np.float32)
    assert header_from_symbols(x, no, OTA, 1) is None
    no[:, ::2] = np.inf
    assert header_from_symbols(x, no, OTA, 1) == HEADER


def test_a_header_is_read_for_its_own_user_only(rng):
    """Another user's scrambler makes it noise; noise is no header; nor is what is not finite."""
    x = header_to_symbols(HEADER, OTA)
    assert header_from_symbols(x, 0.1, OTA, 1) == HEADER
    assert header_from_symbols(x, 0.1, OTA, 0) is None
    assert header_from_symbols(noisy(0 * x, 0, rng), 1.0, OTA, 1) is None
    assert header_from_symbols(np.full_like(x, np.nan), np.nan, OTA, 1) is None
    with pytest.raises(ShapeError):
        header_from_symbols(x[:-1], 0.1, OTA, 1)


def test_headers_of_two_users_look_unlike():
    """All else alike, their 432 symbols correlate by less than 4 standard deviations of random ones."""
    a, b = (header_to_symbols(msgspec.structs.replace(HEADER, user=user), OTA) for user in (0, 1))
    assert abs(np.vdot(a, b)) / a.size < 4 / np.sqrt(a.size)


def test_a_header_that_names_another_user_is_refused():
    """Scrambled as user 1, yet it says 0: a valid codeword, and still none of user 1's."""
    bits = encode(msgspec.structs.replace(HEADER, user=0).to_bytes(), 864)
    symbols = qpsk(bits ^ gold_bits(SCRAMBLER_BASE + 1, 864)).reshape(6, 72)
    assert header_from_symbols(symbols, 0.1, OTA, 1) is None


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
    assert header_from_symbols(frame.read_header(grid, OTA), 0.01, OTA, user) == header
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


def test_a_waveform_offers_what_the_headers_code_takes():
    """The number stands in the waveform, which knows no header: it is that of the code."""
    assert code_bits(HEADER_BYTES) == HEADER_CODE_BITS
