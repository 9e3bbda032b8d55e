"""What a calibration procedure is: an estimator of arrays, and a thin part that drives the radios for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calibration.bench import Station
from calibration.record import Findings


@dataclass(frozen=True)
class Validity:
    """How far from its conditions a record may be used; beyond half of it, with a warning. None: it does not matter.

    Attributes
    ----------
    days, lo_hz, gain_db, temperature_c : float, optional
        ``gain_db`` of the gains that ``gains`` names.
    gains : tuple of str
        Of "rx" and "tx", those on which it depends.
    same_rate : bool
        Whether it holds at its own sample rate alone.
    """

    days: float
    lo_hz: float | None = None
    gain_db: float | None = None
    gains: tuple[str, ...] = ()
    temperature_c: float | None = None
    same_rate: bool = False


@dataclass(frozen=True)
class Procedure:
    """One thing that can be known of a radio.

    Attributes
    ----------
    name : str
    summary : str
        One line of help.
    validity : Validity
    measure : callable
        Opens radios of a station, and says what it found.
    rx_channels : int
        That the radio must have.
    applies_to : frozenset of str
        Of "rx" and "tx": a radio that was opened for one of them needs to know of its records.
    needs_outside : callable
        Of a station: what another instrument must give, without which it cannot be done at all; empty: nothing.
    """

    name: str
    summary: str
    validity: Validity
    measure: Callable[[Station], Findings]
    rx_channels: int = 1
    applies_to: frozenset[str] = frozenset({"rx", "tx"})
    needs_outside: Callable[[Station], str] = lambda station: ""
