"""What a Pluto's URI may say, found out without any Pluto."""

from __future__ import annotations

import re

import pytest

from testbed.errors import RadioError, RadioNotFound
from testbed.radio.base import RadioSettings
from testbed.radio.pluto_uri import Choice, parse
from testbed.radio.registry import check_uri

SETTINGS = RadioSettings(1.92e6, tx_channels=1)


def test_a_uri_says_what_the_settings_leave_open():
    uri = "pluto:ip:192.168.2.1,lo_hz=868.3e6,tx_gain_db=-20.25,lead_s=0.5"
    assert parse(uri, SETTINGS) == Choice("ip:192.168.2.1", 868.3e6, -20.25, 30.0, 0.5, 0.0)
    assert parse("pluto:usb:1.4.5", SETTINGS) == Choice("usb:1.4.5", 2.4e9, -10.0, 30.0)


@pytest.mark.parametrize(
    ("option", "low", "high"),
    [
        ("lo_hz", 70e6, 6e9),  # of an AD9364; ad9361.c
        ("tx_gain_db", -89.75, 0),
        ("rx_gain_db", -10, 73),  # over all bands; ad9361.c
        ("lead_s", 0, 10),
        ("wait_s", 0, 60),
    ],
)
def test_numbers_that_no_pluto_takes_are_refused(option: str, low: float, high: float):
    """Both ends are allowed, what lies just beyond is not, nor what is no number at all."""
    for value in (low, high):
        assert getattr(parse(f"pluto:ip:192.168.2.1,{option}={value!r}", SETTINGS), option) == value
    step = max(abs(low), abs(high)) * 1e-3
    for wrong in (repr(low - step), repr(high + step), "nan", "inf", "-inf"):
        with pytest.raises(RadioError, match=rf"{option} = .*: allowed: {re.escape(f'{low:g}..{high:g}')}$"):
            check_uri(f"pluto:ip:192.168.2.1,{option}={wrong}", SETTINGS)
    for wrong in ("loud", ""):
        with pytest.raises(RadioError, match=rf"{option} = '{wrong}': a number is allowed"):
            check_uri(f"pluto:ip:192.168.2.1,{option}={wrong}", SETTINGS)


def test_settings_are_held_to_the_same_ranges():
    with pytest.raises(RadioError, match=r"tx_gain_db = 3: allowed: -89\.75\.\.0"):
        parse("pluto:ip:192.168.2.1", RadioSettings(1.92e6, tx_channels=1, tx_gain_db=3.0))


@pytest.mark.parametrize(
    ("uri", "error", "says"),
    [
        ("plutto:ip:192.168.2.1", RadioNotFound, "Known here: memory, pluto, sigmf, zmq"),
        ("pluto:192.168.2.1", RadioError, "write pluto:ip:ADDRESS"),
        ("pluto:ip:192.168.2.1,gain=3", RadioError, "gain: unknown; known: lo_hz"),
        ("zmq:rx_port=tcp://127.0.0.1:4000", RadioError, "tx_port missing"),
        ("zmq:tx_port=tcp://127.0.0.1:4000,colour=red", RadioError, "colour: unknown"),
    ],
)
def test_a_uri_is_checked_without_touching_a_radio(uri: str, error: type[RadioError], says: str):
    with pytest.raises(error, match=says):
        check_uri(uri, SETTINGS)


def test_what_is_right_passes():
    for uri in ("pluto:ip:192.168.2.1", "zmq:tx_port=tcp://127.0.0.1:4000", "memory:cable"):
        check_uri(uri, SETTINGS)
