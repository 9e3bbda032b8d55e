"""Which channel lies between a user and an antenna: what a scenario says of all links, and of some."""

from __future__ import annotations

import msgspec

from testbed.air.power import gain_of_loss
from testbed.channels.registry import find_channel
from testbed.config import Air, Change


class Link(msgspec.Struct, frozen=True):
    """One link as it is: nothing left out."""

    channel: str
    delay_spread_s: float
    doppler_hz: float
    gain_db: float


def link_of(air: Air, user: int, antenna: int) -> Link:
    """The link from ``user`` to ``antenna``.

    Parameters
    ----------
    air : Air
        Its own values hold where ``air.links`` says nothing; an entry that names the antenna goes before one that
        names the user alone.
    user : int
        User number.
    antenna : int

    Returns
    -------
    Link
    """
    entries = [entry for entry in air.links if entry.user == user and entry.antenna in (None, antenna)]
    found = Link(air.channel, air.delay_spread_s, air.doppler_hz, 0.0)
    for entry in sorted(entries, key=lambda entry: entry.antenna is not None):
        given = {key: value for key in Link.__struct_fields__ if (value := getattr(entry, key)) is not None}
        if entry.path_loss_db is not None:
            given["gain_db"] = gain_of_loss(entry.path_loss_db)
        found = msgspec.structs.replace(found, **given)
    spread_s = getattr(find_channel(found.channel), "measured_spread_s", None)  # of measured taps: as it was measured
    return found if spread_s is None else msgspec.structs.replace(found, delay_spread_s=spread_s)


def gain_of(change: Change) -> float:
    """The gain that a change of the schedule sets.

    Parameters
    ----------
    change : Change

    Returns
    -------
    float
        In dB, as a link's ``gain_db``.
    """
    return gain_of_loss(change.path_loss_db) if change.path_loss_db is not None else float(change.gain_db or 0.0)


def in_words(air: Air) -> list[str]:
    """What lies on all links, then what differs on which: ``TDL-A fading, 5 Hz Doppler``.

    Parameters
    ----------
    air : Air

    Returns
    -------
    list of str
        One entry for the air, and one for each of its ``links``.
    """
    found = [_words(Link(air.channel, air.delay_spread_s, air.doppler_hz, 0.0))]
    for entry in air.links:
        where = f"user {entry.user}" + ("" if entry.antenna is None else f" at antenna {entry.antenna}")
        link = link_of(air, entry.user, -1 if entry.antenna is None else entry.antenna)
        found.append(f"{where}: {_words(link)}")
    return found


def _words(link: Link) -> str:
    fading = f" fading, {link.doppler_hz:g} Hz Doppler" if find_channel(link.channel).fades else ""
    return link.channel + fading + (f", {link.gain_db:+g} dB" if link.gain_db else "")
