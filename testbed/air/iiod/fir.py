"""The filter that a client loads into an AD936x, in the text form of the driver and of the vendor's .ftr files."""

from __future__ import annotations

import errno
import re

import msgspec

from testbed.air.iiod.protocol import Refused

MAX_TAPS = 128
MAX_TAPS_BY_1 = 64  # without interpolation
FACTORS = (1, 2, 4)
PATH_RATES = 6  # in RTX and RRX: the PLL, the converter, three half bands, the sample rate

HEAD = re.compile(r"(TX|RX) [0-3] GAIN ([+-]?\d{1,2}) (?:INT|DEC) (\d)")
PATH = re.compile(rf"R(TX|RX)((?: \d{{1,12}}){{{PATH_RATES}}})")
BANDWIDTH = re.compile(r"BW(TX|RX) (\d{1,10})")
TAPS = re.compile(r"(-?\d{1,6})(?:\s*,\s*(-?\d{1,6}))?")


class Fir(msgspec.Struct, frozen=True):
    """A loaded filter: taps, the factor by which it changes the rate, and what it was designed for.

    ``rate_hz`` and the bandwidths are 0 in a filter that does not name them; the driver takes them over only where both
    directions are described.
    """

    tx: tuple[int, ...] = ()  # coefficients; 2^15 is 1
    rx: tuple[int, ...] = ()
    tx_gain_db: int = 0
    rx_gain_db: int = 0
    interpolation: int = 1
    decimation: int = 1
    rate_hz: int = 0
    tx_bandwidth_hz: int = 0
    rx_bandwidth_hz: int = 0

    @property
    def tx_taps(self) -> int:
        """How many."""
        return len(self.tx)

    @property
    def rx_taps(self) -> int:
        """How many."""
        return len(self.rx)

    def __str__(self) -> str:
        return f"FIR Rx: {self.rx_taps},{self.decimation} Tx: {self.tx_taps},{self.interpolation}"


def parse_fir(text: str, before: Fir | None = None) -> Fir:
    """A ``filter_fir_config``.

    Lines ``TX n GAIN g INT i`` and ``RX n GAIN g DEC d``, either of which may be missing; then, if wanted, the path
    rates ``RTX`` and ``RRX`` and the bandwidths ``BWTX`` and ``BWRX`` that the filter is for; then a line for each tap,
    ``tx,rx`` or one number for both. ``#`` begins a comment.

    Parameters
    ----------
    text : str
    before : Fir, optional
        What is loaded: a file for one direction leaves the other as it is.

    Returns
    -------
    Fir

    Raises
    ------
    Refused
        EINVAL as the driver has it: rates of 1, 2 or 4; taps a multiple of 16, at most 128, and 64 with INT 1.

    References
    ----------
    Linux, drivers/iio/adc/ad9361.c: ad9361_parse_fir, ad9361_validate_enable_fir; the filters of iio-oscilloscope.
    """
    factors: dict[str, int] = {}
    gains_db: dict[str, int] = {}
    rates_hz: dict[str, int] = {}
    bandwidths_hz: dict[str, int] = {}
    taps: list[tuple[int, int]] = []
    for line in text.replace("\0", "").splitlines():
        words = " ".join(line.split())
        if not words or words.startswith("#"):
            continue
        if head := HEAD.fullmatch(words):
            factors[head[1]] = int(head[3])
            gains_db[head[1]] = int(head[2])
        elif path := PATH.fullmatch(words):
            rates_hz[path[1]] = int(path[2].split()[-1])
        elif bandwidth := BANDWIDTH.fullmatch(words):
            bandwidths_hz[bandwidth[1]] = int(bandwidth[2])
        elif (row := TAPS.fullmatch(words)) and all(-32768 <= int(tap) <= 32767 for tap in row.groups() if tap):
            taps.append((int(row[1]), int(row[2] or row[1])))
        else:
            raise Refused(errno.EINVAL)
    most = MAX_TAPS_BY_1 if factors.get("TX") == 1 else MAX_TAPS
    if not factors or not set(factors.values()) <= set(FACTORS) or not taps or len(taps) % 16 or len(taps) > most:
        raise Refused(errno.EINVAL)
    if len(rates_hz) == 2 and rates_hz["TX"] != rates_hz["RX"]:  # one clock for both
        raise Refused(errno.EINVAL)
    old = before or Fir()
    return Fir(
        tx=tuple(tap for tap, _ in taps) if "TX" in factors else old.tx,
        rx=tuple(tap for _, tap in taps) if "RX" in factors else old.rx,
        tx_gain_db=gains_db.get("TX", old.tx_gain_db),
        rx_gain_db=gains_db.get("RX", old.rx_gain_db),
        interpolation=factors.get("TX", old.interpolation),
        decimation=factors.get("RX", old.decimation),
        rate_hz=rates_hz["TX"] if len(rates_hz) == 2 else 0,
        tx_bandwidth_hz=bandwidths_hz.get("TX", 0),
        rx_bandwidth_hz=bandwidths_hz.get("RX", 0),
    )
