"""FIR filters of an AD936x: their design, their response, and the vendor's .ftr text that `filter_fir_config` takes.

``python -m testbed.firmware.fir`` writes the filters that ship anew, from the numbers in `filters.toml` beside them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from scipy import signal

from testbed.config.load import read_toml
from testbed.config.strict import Strict, check
from testbed.errors import DataError, ScenarioError
from testbed.files import write_aside
from testbed.firmware.data import data_folder

FILTERS = "pluto/fir/filters.toml"
MAX_TAPS, TAP_STEP = 128, 16  # ad9361.c, ad9361_parse_fir
TAP_SUM = 1 << 16  # of the filters of libad9361: with GAIN -6 and 0 the level is then the same as with theirs
RX_GAIN_DB, TX_GAIN_DB = -6, 0
MIN_ADC_HZ, MIN_PLL_HZ = 25_000_000, 715_000_000  # ad9361.h: MIN_ADC_CLK, MIN_BBPLL_FREQ
HALF_BANDS = 3  # each by 2: the chain that ad9361.c takes for these rates, too
POINTS = 4096  # of a response


class Filter(Strict, frozen=True):
    """One filter that ships: what it is for, and the response that it has."""

    name: str
    purpose: str
    rate_hz: int  # of the samples
    factor: int  # INT and DEC
    taps: int
    pass_hz: float
    stop_hz: float
    ripple_db: float  # largest deviation from the gain at DC, |f| <= pass_hz
    attenuation_db: float  # least, from stop_hz on
    bandwidth_hz: int  # of the analogue filters, loaded with it

    def __post_init__(self) -> None:
        here = f"filters.{self.name}"
        check(self.factor in (2, 4), f"{here}.factor", self.factor, "2 or 4")
        ok = 0 < self.taps <= MAX_TAPS and self.taps % TAP_STEP == 0
        check(ok, f"{here}.taps", self.taps, f"a multiple of {TAP_STEP}, at most {MAX_TAPS}")
        check(0 < self.pass_hz < self.stop_hz, f"{here}.pass_hz", self.pass_hz, f"above 0 and below {self.stop_hz:g}")
        half_hz = self.filter_rate_hz / 2
        check(self.stop_hz < half_hz, f"{here}.stop_hz", self.stop_hz, f"below {half_hz:g}")
        adc_hz = self.filter_rate_hz << HALF_BANDS
        check(adc_hz >= MIN_ADC_HZ, f"{here}.rate_hz", self.rate_hz, f"an ADC rate of {MIN_ADC_HZ} Hz or more")

    @property
    def filter_rate_hz(self) -> int:
        """At which the taps follow each other."""
        return self.rate_hz * self.factor

    @property
    def path_rates_hz(self) -> list[int]:
        """PLL, converter, three half bands by 2 each, samples: what RRX and RTX say."""
        stages = [self.filter_rate_hz << n for n in range(HALF_BANDS, -1, -1)]
        pll_hz = stages[0]
        while pll_hz < MIN_PLL_HZ:
            pll_hz *= 2
        return [pll_hz, *stages, self.rate_hz]

    @property
    def file(self) -> Path:
        """The .ftr file."""
        return data_folder() / FILTERS.replace("filters.toml", f"{self.name}.ftr")


class Filters(Strict, frozen=True):
    """All of them."""

    filters: list[Filter]


def shipped_filters() -> dict[str, Filter]:
    """By name, as `filters.toml` has them.

    Raises
    ------
    DataError
        If the file is missing or has what is not allowed.
    """
    path = data_folder() / FILTERS
    try:
        known = msgspec.convert(read_toml(path), Filters).filters
    except (OSError, ValueError, msgspec.ValidationError, ScenarioError) as error:
        raise DataError(f"{path}: {error}") from error
    return {one.name: one for one in known}


def design(wanted: Filter) -> np.ndarray:
    r"""Taps of an equiripple low pass, rounded to the 16 bits of the device.

    The weight of the stop band is that of the errors allowed, :math:`\delta_p / \delta_s` with
    :math:`\delta_p = 10^{r/20} - 1` and :math:`\delta_s = 10^{-a/20}`.

    Parameters
    ----------
    wanted : Filter

    Returns
    -------
    [taps] int32
        Symmetric; they sum to 2^16 but for rounding.

    References
    ----------
    T. W. Parks, J. H. McClellan, "Chebyshev approximation for nonrecursive digital filters with linear phase", 1972.
    """
    pass_error = 10 ** (wanted.ripple_db / 20) - 1
    weight = pass_error / 10 ** (-wanted.attenuation_db / 20)
    edges_hz = [0, wanted.pass_hz, wanted.stop_hz, wanted.filter_rate_hz / 2]
    taps = signal.remez(wanted.taps, edges_hz, [1, 0], weight=[1, weight], fs=wanted.filter_rate_hz)
    return np.rint(taps * (TAP_SUM / taps.sum())).astype(np.int32)


def response(taps: np.ndarray, wanted: Filter) -> tuple[float, float]:
    """What the taps do: ripple up to ``pass_hz`` and least attenuation from ``stop_hz`` on, both in dB against DC.

    Parameters
    ----------
    taps : [n] int32
    wanted : Filter

    Returns
    -------
    ripple_db, attenuation_db : float
    """

    def gain_db(low_hz: float, high_hz: float) -> np.ndarray:
        _, h = signal.freqz(taps, worN=np.linspace(low_hz, high_hz, POINTS), fs=wanted.filter_rate_hz)
        return 20 * np.log10(np.maximum(np.abs(h) / abs(taps.sum()), 1e-12))

    ripple_db = np.abs(gain_db(0, wanted.pass_hz)).max()
    attenuation_db = -gain_db(wanted.stop_hz, wanted.filter_rate_hz / 2).max()
    return float(ripple_db), float(attenuation_db)


def ftr_text(wanted: Filter, taps: np.ndarray) -> str:
    """The .ftr file: gains, factors, path rates, bandwidths, then ``tx,rx`` a line."""
    rates = " ".join(map(str, wanted.path_rates_hz))
    lines = [
        f"# {wanted.purpose}",
        f"# {wanted.taps} taps at {wanted.filter_rate_hz / 1e6:g} MHz: +-{wanted.ripple_db:g} dB up to "
        f"{wanted.pass_hz / 1e3:g} kHz, -{wanted.attenuation_db:g} dB from {wanted.stop_hz / 1e3:g} kHz on",
        "# python -m testbed.firmware.fir writes this file",
        f"RX 3 GAIN {RX_GAIN_DB} DEC {wanted.factor}",
        f"TX 3 GAIN {TX_GAIN_DB} INT {wanted.factor}",
        f"RRX {rates}",
        f"RTX {rates}",
        f"BWRX {wanted.bandwidth_hz}",
        f"BWTX {wanted.bandwidth_hz}",
        *(f"{tap},{tap}" for tap in taps),
    ]
    return "\n".join(lines) + "\n"


def read_taps(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The taps of a .ftr file, transmit and receive.

    Raises
    ------
    DataError
        If it has none.
    """
    try:
        rows = [line.split(",") for line in path.read_text(encoding="ascii").splitlines() if "," in line[1:]]
        table = np.array([[int(tap) for tap in row] for row in rows if not row[0].startswith("#")], dtype=np.int32)
        return table[:, 0], table[:, 1]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: no FIR filter of an AD936x: {error}") from error


if __name__ == "__main__":
    for each in shipped_filters().values():
        made = design(each)
        write_aside(each.file, ftr_text(each, made).encode())
        got = response(made, each)
        print(f"{each.file}: ripple {got[0]:.4f} dB, attenuation {got[1]:.1f} dB")
