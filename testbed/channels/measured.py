"""Taps that somebody measured, read from a CSV file: a channel sounder's power delay profile or impulse response."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from testbed.channels.base import Place, TappedDelayLine
from testbed.errors import ScenarioError
from testbed.units import db_to_power

NEEDED = ("delay_s", "power_db")
KNOWN = (*NEEDED, "phase_deg", "doppler_hz", "antenna", "user")
MAX_TAPS = 4096
MAX_DELAY_S = 1e-4


@dataclass(frozen=True)
class Measured:
    r"""Static or steadily turning taps: :math:`g_l(t) = \sqrt{p_l} \, e^{j (2\pi f_l t + \varphi_l)}`.

    Powers are scaled to sum to 1; a link's ``gain_db`` or ``path_loss_db`` says how strong it is. The first delay
    counts as 0; what came before is ``user_delay_samples``. The measured delay spread holds, not the scenario's; a
    Doppler shift that is not measured is 0. Taps without a phase have one drawn for each antenna and user.

    Attributes
    ----------
    name : str
    rows : [taps, 6] tuple
        Delay in s, power in dB, phase in degrees or nan, Doppler in Hz, antenna and user or nan for all of them.
    measured_spread_s : float
    """

    name: str
    rows: tuple[tuple[float, ...], ...]
    measured_spread_s: float
    fades: bool = False

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        """See `testbed.channels.base.ChannelModel.profile`; of the first antenna and user."""
        return self._profile(self._taps(0, 0))

    def draw(self, delay_spread_s: float, doppler_hz: float, place: Place, rng: np.random.Generator) -> TappedDelayLine:
        """See `testbed.channels.base.ChannelModel.draw`; ``doppler_hz`` changes nothing."""
        taps = self._taps(place.antenna, place.user)
        delays, powers = self._profile(taps)
        drawn = rng.uniform(-np.pi, np.pi, len(taps))
        phases = np.where(np.isnan(taps[:, 2]), drawn, np.deg2rad(taps[:, 2]))[:, None]
        shifts_hz = taps[:, 3:4]
        fastest = float(np.abs(shifts_hz).max())
        return TappedDelayLine(delays * delay_spread_s, np.sqrt(powers), shifts_hz, phases, powers, fastest)

    def _taps(self, antenna: int, user: int) -> np.ndarray:
        """[taps, 6] of one link."""
        table = np.array(self.rows)
        mine = (np.isnan(table[:, 4]) | (table[:, 4] == antenna)) & (np.isnan(table[:, 5]) | (table[:, 5] == user))
        if not mine.any():
            raise ScenarioError(f"{self.name}: no tap for antenna {antenna} and user {user}")
        return table[mine]

    def _profile(self, taps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        powers = db_to_power(taps[:, 1])
        scale = self.measured_spread_s or 1.0
        return (taps[:, 0] - min(row[0] for row in self.rows)) / scale, powers / powers.sum()


def read(path: str, name: str, key: str) -> Measured:
    """``taps:FILE``: a CSV with a line of names, then one line a tap.

    Parameters
    ----------
    path : str
        ``delay_s`` and ``power_db`` are needed; ``phase_deg``, ``doppler_hz``, ``antenna`` and ``user`` may be there,
        and be empty.
    name : str
        As the scenario writes it.
    key : str
        Where it was written, for the message.

    Returns
    -------
    Measured

    Raises
    ------
    ScenarioError
        If there is no such file, or a line of it is no tap.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lines = [(reader.line_num, line) for line in reader]
            columns = [column.strip() for column in reader.fieldnames or []]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScenarioError(f"{key} = {name}: no CSV file of taps that can be read: {error}") from error
    unknown = [column for column in columns if column not in KNOWN]
    if unknown or not set(NEEDED) <= set(columns):
        known = f"needed: {', '.join(NEEDED)}; known: {', '.join(KNOWN)}"
        raise ScenarioError(f"{key} = {name}: columns {', '.join(columns) or 'none'}: {known}")
    if not 1 <= len(lines) <= MAX_TAPS:
        raise ScenarioError(f"{key} = {name}: {len(lines)} taps: allowed: 1..{MAX_TAPS}")
    rows = tuple(_row({str(k).strip(): v for k, v in line.items()}, f"{key} = {name}, line {n}") for n, line in lines)
    delays, powers = np.array([row[0] for row in rows]), db_to_power([row[1] for row in rows])
    mean = powers @ delays / powers.sum()
    spread_s = float(np.sqrt(powers @ (delays - mean) ** 2 / powers.sum()))
    return Measured(name, rows, spread_s if spread_s > 1e-15 else 0.0)


def _row(line: dict[str, str | None], where: str) -> tuple[float, ...]:
    """One tap's numbers; what is left out is nan, a Doppler shift 0."""

    def number(column: str, low: float, high: float, missing: float = math.nan) -> float:
        text = (line.get(column) or "").strip()
        if not text and column not in NEEDED:
            return missing
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ScenarioError(f"{where}: {column} = {text}: allowed: {low:g}..{high:g}")
        return value

    return (
        number("delay_s", 0.0, MAX_DELAY_S),
        number("power_db", -200.0, 100.0),
        number("phase_deg", -360.0, 360.0),
        number("doppler_hz", -2000.0, 2000.0, missing=0.0),
        number("antenna", 0, 15),
        number("user", 0, 15),
    )
