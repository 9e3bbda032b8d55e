"""Cables between virtual Plutos: which transmit port is wired to which receive port, and with how much loss."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from testbed.errors import ScenarioError

PORT = re.compile(r"(.+)\.(tx|rx)([12])")
MAX_LOSS_DB = 200.0


class Cable(msgspec.Struct, frozen=True):
    """From a transmit port to a receive port. Plutos and channels count from 0."""

    transmitter: int
    tx_channel: int
    receiver: int
    rx_channel: int
    loss_db: float


def parse_cable(text: str, addresses: Sequence[str], channels: int) -> Cable:
    """``A.tx1=B.rx1,40``: from the first port to the second, 40 dB of loss.

    Parameters
    ----------
    text : str
        A and B are addresses, or places in the list: ``127.0.0.2.tx1=127.0.0.3.rx1,40``, ``1.tx1=2.rx1,40`` and
        ``A.tx1=B.rx1,40`` mean the same where these are the first and second.
    addresses : sequence of str
        Of the Plutos.
    channels : int
        That each has.

    Returns
    -------
    Cable

    Raises
    ------
    ScenarioError
        If it is written otherwise, or names what is not there.
    """
    names = {address: i for i, address in enumerate(addresses)}
    for i in range(len(addresses)):
        names |= {str(i + 1): i, chr(ord("A") + i): i}

    def port(word: str, side: str) -> tuple[int, int]:
        found = PORT.fullmatch(word.strip())
        if not found or found[2] != side or found[1] not in names or int(found[3]) > channels:
            ports = ", ".join(f"{side}{c + 1}" for c in range(channels))
            raise ScenarioError(
                f"--cable {text}: {word.strip() or 'nothing'}: allowed: PLUTO.PORT with PLUTO one of "
                f"{', '.join(addresses)} (or its place: 1, 2, ... or A, B, ...) and PORT one of {ports}"
            )
        return names[found[1]], int(found[3]) - 1

    ends, comma, loss = text.rpartition(",")
    begin, equals, end = ends.partition("=")
    if not comma or not equals:
        raise ScenarioError(f"--cable {text}: write FROM=TO,LOSS, for example A.tx1=B.rx1,40 for 40 dB")
    try:
        loss_db = float(loss)
    except ValueError:
        loss_db = -1.0
    if not 0 <= loss_db <= MAX_LOSS_DB:
        raise ScenarioError(f"--cable {text}: a loss of {loss.strip()!r} dB: allowed: 0..{MAX_LOSS_DB:g}")
    return Cable(*port(begin, "tx"), *port(end, "rx"), loss_db)


def parse_cables(texts: Sequence[str], addresses: Sequence[str], channels: int) -> list[Cable]:
    """All of them, each pair of ports once.

    Parameters
    ----------
    texts, addresses, channels
        As in `parse_cable`.

    Returns
    -------
    list of Cable

    Raises
    ------
    ScenarioError
        As `parse_cable` has it, and for a pair that is named twice.
    """
    cables = [parse_cable(text, addresses, channels) for text in texts]
    pairs = [(c.transmitter, c.tx_channel, c.receiver, c.rx_channel) for c in cables]
    for text, pair in zip(texts, pairs, strict=True):
        if pairs.count(pair) > 1:
            raise ScenarioError(f"--cable {text}: these two ports are named twice: allowed: each pair once")
    return cables


def straight_cables(count: int, channels: int, loss_db: float) -> list[Cable]:
    """A cable for each channel from each Pluto to all others, or to itself if there is but one.

    Parameters
    ----------
    count, channels : int
    loss_db : float

    Returns
    -------
    list of Cable
    """
    return [
        Cable(transmitter, channel, receiver, channel, loss_db)
        for receiver in range(count)
        for transmitter in range(count)
        if transmitter != receiver or count == 1
        for channel in range(channels)
    ]
