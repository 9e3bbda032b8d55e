"""Loopback addresses for virtual Plutos, each of one process of these tests alone."""

from __future__ import annotations

import itertools
import os
import socket

IIOD_PORT = 30431
COUNT = 1 << 23  # 127.128.0.0 to 127.255.255.255
HELD: list[socket.socket] = []
NUMBERS = itertools.count(os.getpid() * 64)  # where others are unlikely to look


def own_address() -> str:
    """One that nobody has; its UDP port, which virtual Plutos do not use, says so to others until this process ends."""
    for number in NUMBERS:
        place = number % COUNT
        address = f"127.{128 + (place >> 16)}.{place >> 8 & 255}.{place & 255}"
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((address, IIOD_PORT))
        except OSError:  # another's, or 127.255.255.255
            claim.close()
            continue
        HELD.append(claim)
        return address
    raise AssertionError
