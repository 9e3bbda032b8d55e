"""lab.toml: the bands and the power in which a lab may transmit. Without one, a radio of hardware only receives."""

from __future__ import annotations

import os
from pathlib import Path

from testbed.config.load import convert, read_toml, tomllib
from testbed.config.strict import Strict, check
from testbed.errors import RadioError, ScenarioError

FILE, VARIABLE = "lab.toml", "SEMTB_LAB"
LOWEST_HZ, HIGHEST_HZ = 46e6, 6.1e9  # what an AD936x can reach, and half its bandwidth
FULL_SCALE_DBM = 8.0  # AD9361 data sheet, table 1: at most, for a tone at 800 MHz; 7.5 at 2.4 GHz, 6.5 at 5.5 GHz
EXAMPLE = """\
# Where and how strongly this lab may transmit. What is not named here is refused.
# Write what your licence, or the general licence of your country, allows: these numbers are an example, no advice.
# Looked for in this order: the file that SEMTB_LAB names; lab.toml in the working directory; ~/.config/semtb/lab.toml.

full_scale_dbm = 8.0     # what a Pluto delivers with tx_gain_db = 0 at full scale; measure it, or leave this bound
antenna_gain_dbi = 2.0   # of the strongest antenna in use; negative for a cable with attenuators
virtual = false          # true: virtual Plutos are held to this file, too, as a rehearsal

[[bands]]                # a transmission, its centre plus and minus half the sample rate, lies within one band
name = "2.4 GHz"
low_hz = 2.400e9
high_hz = 2.4835e9
max_eirp_dbm = 10.0      # full_scale_dbm + tx_gain_db + antenna_gain_dbi is at most this

[[bands]]
name = "433 MHz"
low_hz = 433.05e6
high_hz = 434.79e6
max_eirp_dbm = 0.0
"""


class Band(Strict, frozen=True):
    """Frequencies that this lab may use, and the power radiated there."""

    low_hz: float
    high_hz: float
    max_eirp_dbm: float
    name: str = ""

    def __post_init__(self) -> None:
        span = f"{LOWEST_HZ:g}..{HIGHEST_HZ:g}"
        check(LOWEST_HZ <= self.low_hz <= HIGHEST_HZ, "low_hz", self.low_hz, span)
        check(self.low_hz < self.high_hz <= HIGHEST_HZ, "high_hz", self.high_hz, f"above low_hz, in {span}")
        check(-100 <= self.max_eirp_dbm <= 60, "max_eirp_dbm", self.max_eirp_dbm, "-100..60")

    @property
    def words(self) -> str:
        """For a message: ``2.4 GHz (2400..2483.5 MHz, at most 10 dBm EIRP)``."""
        span = f"{self.low_hz / 1e6:.10g}..{self.high_hz / 1e6:.10g} MHz, at most {self.max_eirp_dbm:g} dBm EIRP"
        return f"{self.name} ({span})" if self.name else span


class Lab(Strict, frozen=True):
    """All that a lab says of its transmissions."""

    bands: list[Band]
    full_scale_dbm: float = FULL_SCALE_DBM
    antenna_gain_dbi: float = 0.0
    virtual: bool = False

    def __post_init__(self) -> None:
        check(-50 <= self.full_scale_dbm <= 60, "full_scale_dbm", self.full_scale_dbm, "-50..60")
        check(-100 <= self.antenna_gain_dbi <= 60, "antenna_gain_dbi", self.antenna_gain_dbi, "-100..60")

    def most_gain_db(self, band: Band) -> float:
        """The strongest transmit gain in a band."""
        return min(0.0, band.max_eirp_dbm - self.full_scale_dbm - self.antenna_gain_dbi)

    def refusal(self, lo_hz: float, bandwidth_hz: float, tx_gain_db: float) -> str:
        """Why a transmission is not allowed here, and what is; empty if it is allowed.

        Parameters
        ----------
        lo_hz : float
            Its centre.
        bandwidth_hz : float
            All of it lies within half of this on either side.
        tx_gain_db : float
            Below the strongest output.
        """
        low_hz, high_hz = lo_hz - bandwidth_hz / 2, lo_hz + bandwidth_hz / 2
        eirp_dbm = self.full_scale_dbm + tx_gain_db + self.antenna_gain_dbi
        inside = [band for band in self.bands if band.low_hz <= low_hz and high_hz <= band.high_hz]
        if any(eirp_dbm <= band.max_eirp_dbm for band in inside):
            return ""
        if inside:
            most_db = max(self.most_gain_db(band) for band in inside)
            where = " or ".join(band.words for band in inside)
            return (
                f"tx_gain_db = {tx_gain_db:g} is {eirp_dbm:g} dBm EIRP: allowed: tx_gain_db <= {most_db:g} in {where}"
            )
        known = "; ".join(band.words for band in self.bands) or "nothing"
        return f"{low_hz / 1e6:.10g}..{high_hz / 1e6:.10g} MHz lies in none of its bands: allowed: {known}"


def lab_file() -> Path | None:
    """The file in force; None if there is none.

    Raises
    ------
    ScenarioError
        If SEMTB_LAB names a file that is not there.
    """
    named = os.environ.get(VARIABLE, "")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise ScenarioError(
                f"{VARIABLE} = {named}: no such file; `semtb radio lab --example` prints one to begin with"
            )
        return path
    home = os.environ.get("XDG_CONFIG_HOME", "") or os.path.expanduser("~/.config")
    return next((path for path in (Path(FILE), Path(home) / "semtb" / FILE) if path.is_file()), None)


def load_lab(path: Path) -> Lab:
    """Read a lab's file.

    Raises
    ------
    ScenarioError
        One line: file, key, value, what is allowed.
    """
    try:
        return convert(read_toml(path), Lab)
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, ScenarioError) as error:
        raise ScenarioError(f"{path}: {error}; `semtb radio lab --example` prints one to begin with") from error


def require_permission(uri: str, lo_hz: float, bandwidth_hz: float, tx_gain_db: float, virtual: bool) -> None:
    """Refuse a transmission that this machine's lab does not allow.

    Parameters
    ----------
    uri : str
        Of the radio, for the message.
    lo_hz, bandwidth_hz, tx_gain_db : float
        As `Lab.refusal` has it.
    virtual : bool
        Whether nothing is radiated: then only a lab that says so is asked.

    Raises
    ------
    RadioError
        If there is no lab.toml, or it does not allow this.
    ScenarioError
        If it is wrong.
    """
    path = lab_file()
    if path is None:
        if virtual:
            return
        raise RadioError(
            f"{uri}: it may only receive: no {FILE} says where this lab may transmit. `semtb radio lab --example > "
            f"{FILE}`, and write into it the bands and power of your licence; it is looked for here, in "
            f"~/.config/semtb and at ${VARIABLE}"
        )
    lab = load_lab(path)
    if virtual and not lab.virtual:
        return
    why = lab.refusal(lo_hz, bandwidth_hz, tx_gain_db)
    if why:
        raise RadioError(f"{uri}: not transmitting: {path}: {why}")
