"""Pilots: what is sent where, so that the users' channels can be told apart. No estimation here."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from testbed.errors import ShapeError
from testbed.phy.modulation import qpsk
from testbed.phy.sequences import gold_bits
from testbed.phy.waveform import Waveform

PILOT_SEQUENCE = 0x5E3C0  # c_init of the Gold sequence; any number but the preamble's


@lru_cache(maxsize=8)
def pilot_values(waveform: Waveform) -> np.ndarray:
    """[P, occupied] complex64, read-only, of unit modulus: known QPSK for all subcarriers of all pilot symbols.

    User u sends ``pilot_boost(waveform)`` times its own comb of them and zero on the other combs.
    """
    shape = (len(waveform.pilot_symbols), waveform.occupied_subcarriers)
    values = qpsk(gold_bits(PILOT_SEQUENCE, 2 * shape[0] * shape[1])).reshape(shape)
    values.flags.writeable = False
    return values


def pilot_comb(waveform: Waveform, user: int) -> np.ndarray:
    """Indices into the occupied subcarriers that carry this user's pilots: user, user + slots, user + 2 slots, ...

    Parameters
    ----------
    waveform : Waveform
    user : int

    Returns
    -------
    [occupied / pilot_slots] int64

    Raises
    ------
    ShapeError
        If there is no such user.
    """
    if not 0 <= user < waveform.pilot_slots:
        raise ShapeError(f"user = {user}: allowed: 0..{waveform.pilot_slots - 1} (waveform.pilot_slots)")
    return np.arange(user, waveform.occupied_subcarriers, waveform.pilot_slots)


def pilot_boost(waveform: Waveform) -> float:
    """Amplitude of a pilot: a comb of 1 / pilot_slots of the elements carries the power of a full symbol."""
    return math.sqrt(waveform.pilot_slots)
