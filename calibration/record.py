"""What a procedure found out about one radio: quantities with standard errors, and under which conditions."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import msgspec

from testbed.config.strict import Strict

FORMAT = 1  # raised when a field changes its meaning
SIGNIFICANT = 3.0  # standard errors from nothing, under which no correction is applied


class Quantity(Strict, frozen=True):
    """One figure, with what it is known to.

    Attributes
    ----------
    value, imag : float
        ``imag`` only of complex figures.
    standard_error : float
        Of a complex figure, the root of the mean of :math:`|error|^2`. It holds what is not modelled, too.
    unit : str
    at : float, optional
        Of a table: the setting at which it holds.
    correction : bool
        Whether it says how far something is from what it should be, which can be corrected; else it is knowledge.
    """

    name: str
    value: float
    standard_error: float
    unit: str
    imag: float = 0.0
    at: float | None = None
    correction: bool = True

    @property
    def complex(self) -> complex:
        """Both parts."""
        return complex(self.value, self.imag)

    @property
    def significant(self) -> bool:
        """Whether it is further than three standard errors from nothing."""
        return math.hypot(self.value, self.imag) > SIGNIFICANT * self.standard_error


class Line(Strict, frozen=True):
    """A line of a plot, or its points where ``points`` is true."""

    name: str
    x: list[float]
    y: list[float]
    points: bool = False


class Plot(Strict, frozen=True):
    """What a procedure's page draws: it needs nothing but the record."""

    title: str
    x_label: str
    y_label: str
    lines: list[Line]


class Conditions(Strict, frozen=True):
    """What a radio's faults depend on; None where it has no such thing, or does not say."""

    sample_rate_hz: float
    lo_hz: float | None = None
    tx_gain_db: float | None = None
    rx_gain_db: float | None = None
    temperature_c: float | None = None


class Record(Strict, frozen=True):
    """One run of one procedure on one radio.

    Attributes
    ----------
    date : str
        UTC, as ISO 8601 has it, to the second.
    absolute : bool
        Whether the figures that need a reference from outside had one.
    reference : str
        What they rest on.
    """

    procedure: str
    serial: str
    date: str
    conditions: Conditions
    quantities: list[Quantity]
    absolute: bool
    reference: str
    model: str = ""
    notes: list[str] = msgspec.field(default_factory=list)
    plots: list[Plot] = msgspec.field(default_factory=list)
    format: int = FORMAT

    def __post_init__(self) -> None:
        datetime.strptime(self.date, "%Y-%m-%dT%H:%M:%SZ")
        if self.format != FORMAT:
            raise ValueError(f"format {self.format}: known here: {FORMAT}")

    @property
    def name(self) -> str:
        """By which it is called, and found among those of its serial number."""
        return f"{self.procedure}-{self.date.replace('-', '').replace(':', '')}"

    @property
    def taken(self) -> datetime:
        """When."""
        return datetime.strptime(self.date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)

    def age(self, now: datetime) -> timedelta:
        """How long ago."""
        return now - self.taken

    def corrections(self, name: str) -> list[Quantity]:
        """The figures of that name that are to be corrected: those that are significant."""
        return [q for q in self.quantities if q.name == name and q.correction and q.significant]


def utc(moment: datetime) -> str:
    """As `Record.date` has it."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Findings(msgspec.Struct, frozen=True):
    """What a procedure hands back; serial number, date and conditions are added to make it a record."""

    quantities: list[Quantity]
    absolute: bool
    reference: str
    notes: list[str] = []
    plots: list[Plot] = []
