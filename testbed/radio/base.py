"""The Radio protocol: what everything above a radio may ask of it, whether it is a socket or a Pluto."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec
import numpy as np

from testbed.errors import RadioError


class RadioSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node asks of its radio when it opens it."""

    sample_rate_hz: float
    tx_channels: int = 0
    rx_channels: int = 0
    lo_hz: float = 2.4e9
    tx_gain_db: float = -10.0  # of a radio that has gains: below its strongest output
    rx_gain_db: float = 30.0
    tx_lo_offset_hz: float = 0.0  # of the transmitter's oscillator over lo_hz: frequency-division duplex
    rx_lo_offset_hz: float = 0.0
    timeout_s: float = 4.0  # after which an absent peer is named: within 5 s, with what it takes to start and to probe


class RadioIdentity(msgspec.Struct, frozen=True):
    """Who answers behind a URI; what a radio does not know of itself is empty."""

    scheme: str
    address: str
    model: str = ""
    serial: str = ""
    firmware: str = ""


class Tuning(msgspec.Struct, frozen=True):
    """Frequency and gains. In an order, None leaves one as it is; in an answer, it says that there is none."""

    lo_hz: float | None = None
    tx_gain_db: float | None = None
    rx_gain_db: float | None = None


class RadioEvent(msgspec.Struct, frozen=True):
    """Something that happened to the samples: overflow, underflow, late, lost, retuned or malformed.

    ``sample`` is the first that it befell, ``count`` how many: those of an overflow are there, as zeros; those of an
    underflow were silence on the air, before the sample that came late.
    """

    kind: str
    sample: int
    count: int
    detail: str = ""


class RxBlock(msgspec.Struct, frozen=True):
    """Samples as they came: [antenna, sample] complex64, the index of the first, and the events that ride with them.

    What a radio knows it lost is filled with zeros, so that indices stay those of the air.
    """

    samples: np.ndarray
    first_sample: int
    events: tuple[RadioEvent, ...] = ()


@runtime_checkable
class Radio(Protocol):
    """A radio with ``tx_channels`` and ``rx_channels``. Full scale is 1.0; sample counts start at 0 when it opens.

    A driver refuses what would wrap or clip: ``send`` raises RadioError if any |re| or |im| exceeds 1. What
    ``receive`` returns may exceed it, because a foreign peer may send anything. Every wait for a peer that is not there
    is bounded by ``settings.timeout_s`` and ends in PeerUnreachable or PeerLost, which name the peer and its address; a
    driver may wait longer, and says how long, for one that is connected and slow.
    """

    uri: str
    settings: RadioSettings

    @property
    def paced(self) -> bool:
        """Whether its peer waits for this node, so that nothing is lost however slow the node is."""
        ...

    @property
    def identity(self) -> RadioIdentity:
        """Who it is."""
        ...

    @property
    def adjusted(self) -> tuple[str, ...]:
        """What it has otherwise than it was asked for, in words: rounded or clamped, and read back."""
        ...

    @property
    def tuning(self) -> Tuning | None:
        """Frequency and gains in force; None if there is nothing to tune."""
        ...

    def retune(self, tuning: Tuning) -> Tuning:
        """Change frequency or gains; what is in force then. Not while another thread is in `receive`.

        What is received next was taken at the new setting; an event `retuned` says where.

        Raises
        ------
        RadioError
            If there is nothing to tune, or the radio does not take a value; nothing has changed then.
        """
        ...

    def send(self, samples: np.ndarray) -> None:
        """Queue samples for transmission, gapless after what was sent before; blocks when full.

        Parameters
        ----------
        samples : [antenna, n] complex64
            |re| and |im| at most 1.0, full scale.

        Raises
        ------
        RadioError, PeerUnreachable, PeerLost
        ShapeError
            If there are not ``settings.tx_channels`` rows.
        """
        ...

    def finish(self) -> None:
        """Wait until everything queued has left; what follows on the air is silence."""
        ...

    def sent_events(self) -> tuple[RadioEvent, ...]:
        """What befell the samples that were sent, since it was asked last: underflows, by the index in what was sent.

        Nothing where the receiver waits for the sender.
        """
        ...

    def receive(self, count: int) -> RxBlock:
        """Exactly ``count`` samples, gapless unless an event says otherwise.

        Parameters
        ----------
        count : int
            Of each antenna.

        Returns
        -------
        RxBlock

        Raises
        ------
        RadioError, PeerUnreachable, PeerLost
        """
        ...

    def close(self) -> None:
        """Free sockets and threads at once; idempotent, never blocks for long."""
        ...

    def __enter__(self) -> Radio: ...

    def __exit__(self, *exc: object) -> None: ...


def nothing_to_tune(uri: str) -> RadioError:
    """The refusal of a radio without oscillator and gains."""
    return RadioError(f"{uri}: it has no frequency and no gains to set: only a radio of hardware has (pluto:…)")
