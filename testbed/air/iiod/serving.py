"""Servers of several virtual Plutos together: all of them or none, and an end that gives clients time to leave."""

from __future__ import annotations

import time
from collections.abc import Sequence

from testbed.air.iiod.device import VirtualPluto
from testbed.air.iiod.opening import Passage
from testbed.air.iiod.server import IiodServer

LOOK_S = 0.05
LEAVE_S = 1.0  # of the 3 s within which a run ends


def serve(plutos: Sequence[VirtualPluto], ether: Passage) -> list[IiodServer]:
    """A server for each Pluto; none if one of them cannot be."""
    servers: list[IiodServer] = []
    try:
        for pluto in plutos:
            servers.append(IiodServer(pluto, ether))
    except BaseException:
        for server in servers:
            server.close()
        for pluto in plutos:
            ether.retire(pluto)
        raise
    return servers


def leave(servers: Sequence[IiodServer]) -> None:
    """Cut all clients off, once they had time to mute their transmitters and leave."""
    deadline = time.monotonic() + LEAVE_S
    while any(server.clients for server in servers) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    for server in servers:
        server.close()
