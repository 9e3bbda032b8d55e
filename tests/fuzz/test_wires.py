"""Whatever comes from outside is read or refused in our own words; `make fuzz` tries it far longer than `make test`."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.air.iiod.protocol import Refused, parse
from testbed.codec.card import parse_card
from testbed.config import Scenario, apply_setting, convert
from testbed.control.bus.wire import decode
from testbed.control.messages import Heartbeat, Ready, Start, Stop
from testbed.errors import CodecError, ProtocolError, ScenarioError
from testbed.phy.header import HEADER_BYTES, Header

LONG = settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
TRUE_MESSAGES = [
    msgspec.msgpack.encode(m)
    for m in (Ready(node="a"), Start(samples=1), Stop(reason="x"), Heartbeat(node="a", progress=3))
]
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def spoiled(data: bytes, place: int, value: int) -> bytes:
    """One byte of a true message changed."""
    changed = bytearray(data)
    changed[place % len(changed)] = value
    return bytes(changed)


@LONG
@given(
    st.binary(max_size=300)
    | ANY_VALUE
    | st.builds(spoiled, st.sampled_from(TRUE_MESSAGES), st.integers(0, 200), st.integers(0, 255))
)
def test_the_bus_reads_or_names_the_peer(data):
    """Bytes, any MessagePack value, and true messages with a byte changed."""
    if not isinstance(data, bytes):
        try:
            data = msgspec.msgpack.encode(data)
        except (OverflowError, msgspec.EncodeError):  # no wire can carry it
            return
    try:
        decode(data, "edge-7")
    except ProtocolError as error:
        assert "edge-7" in str(error)


@LONG
@given(st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES))
def test_a_header_is_read_or_refused(data):
    """Any bytes of the right length; what is read writes itself back."""
    try:
        header = Header.from_bytes(data)
    except ProtocolError:
        return
    assert Header.from_bytes(header.to_bytes()) == header


@LONG
@given(st.binary(max_size=300))
def test_a_line_of_iiod_is_read_or_refused(line):
    """Any bytes."""
    try:
        parse(line)
    except Refused as refused:
        assert refused.number > 0


@LONG
@given(st.binary(max_size=300))
def test_a_card_is_read_or_refused(data):
    """Any bytes."""
    with pytest.raises(CodecError, match="somewhere"):
        parse_card(data, "somewhere")


@LONG
@given(
    st.dictionaries(st.sampled_from(["name", "seed", "air", "edges", "waveform", "net", "odd"]), ANY_VALUE), st.text()
)
def test_a_scenario_is_read_or_refused(tree, setting):
    """Any tree with a scenario's own keys, and any --set."""
    try:
        apply_setting(tree, setting)
        convert(tree, Scenario)
    except ScenarioError:
        pass
