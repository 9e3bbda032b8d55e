"""Sample rates of an AD936x and its FIR: which are allowed together, and what the path rates read. No samples here."""

from __future__ import annotations

import errno
import re

import msgspec

from testbed.air.iiod.protocol import Refused

MIN_ADC_HZ = 25_000_000  # ad9361.h: MIN_ADC_CLK
MAX_DAC_HZ = 320_000_000  # ad9361.h: MAX_DAC_CLK = MAX_ADC_CLK / 2
MAX_RATE_HZ = 61_440_000
MAX_RATE_2R2T_HZ = 30_720_000
DIVIDERS = (12, 8, 6, 4, 3, 2, 1)  # of the half-band stages together, ad9361.c: clk_dividers
HALF_BANDS = {12: (3, 2, 2), 8: (2, 2, 2), 6: (3, 1, 2), 4: (2, 2, 1), 3: (3, 1, 1), 2: (2, 1, 1), 1: (1, 1, 1)}
MAX_TAPS = 128
MAX_TAPS_BY_1 = 64  # without interpolation
TAPS_PER_CLOCK = 16


class Fir(msgspec.Struct, frozen=True):
    """A loaded filter: taps and the factor by which it changes the rate."""

    tx_taps: int = 0
    rx_taps: int = 0
    interpolation: int = 1
    decimation: int = 1

    def __str__(self) -> str:
        return f"FIR Rx: {self.rx_taps},{self.decimation} Tx: {self.tx_taps},{self.interpolation}"


def parse_fir(text: str) -> Fir:
    """A ``filter_fir_config``: lines ``TX n GAIN g INT i`` and ``RX n GAIN g DEC d``, then a pair of taps a line.

    Raises
    ------
    Refused
        EINVAL as the driver has it: rates of 1, 2 or 4; taps a multiple of 16, at most 128, and 64 with INT 1.
    """
    factors: dict[str, int] = {}
    taps = 0
    for line in text.replace("\0", "").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        head = re.fullmatch(r"(TX|RX) [0-3] GAIN -?\d{1,2} (?:INT|DEC) (\d)", " ".join(words))
        if head:
            factors[head[1]] = int(head[2])
        elif words[0] in ("RTX", "RRX", "BWTX", "BWRX"):
            continue
        elif re.fullmatch(r"-?\d{1,6}\s*,\s*-?\d{1,6}", line.strip()):
            if not all(-32768 <= int(tap) <= 32767 for tap in line.split(",")):
                raise Refused(errno.EINVAL)
            taps += 1
        else:
            raise Refused(errno.EINVAL)
    rates_fit = set(factors) == {"TX", "RX"} and set(factors.values()) <= {1, 2, 4}
    if not rates_fit or not taps or taps % 16 or taps > (MAX_TAPS_BY_1 if factors["TX"] == 1 else MAX_TAPS):
        raise Refused(errno.EINVAL)
    return Fir(taps, taps, factors["TX"], factors["RX"])


class Clock:
    """One sample rate for both directions, as AD936x drivers have it, and the filter that low rates need."""

    def __init__(self, channels: int) -> None:
        self.max_rate_hz = MAX_RATE_HZ if channels == 1 else MAX_RATE_2R2T_HZ
        self.rate_hz = min(30_720_000, self.max_rate_hz)
        self.fir: Fir | None = None
        self.enabled = False

    @property
    def min_rate_hz(self) -> int:
        """Lowest rate with the filter as it is: 2.083333 MS/s without, a quarter with INT and DEC of 4."""
        by = min(self.fir.interpolation, self.fir.decimation) if self.fir and self.enabled else 1
        return MIN_ADC_HZ // (12 * by)

    def set_rate(self, rate_hz: int) -> None:
        """EINVAL outside of the range, never clamped."""
        if not self.min_rate_hz <= rate_hz <= self.max_rate_hz or not self._fits(self.enabled, rate_hz):
            raise Refused(errno.EINVAL)
        self.rate_hz = rate_hz

    def load(self, text: str) -> None:
        """Another filter. While one is enabled the new one has to go with the rate, or the old one stays: EINVAL."""
        before, self.fir = self.fir, parse_fir(text)
        if self.enabled and not (self._fits(True, self.rate_hz) and self.rate_hz >= self.min_rate_hz):
            self.fir = before
            raise Refused(errno.EINVAL)

    def enable(self, on: bool) -> None:
        """The filter on or off; EINVAL where the rate does not go with it."""
        if on and (self.fir is None or not self._fits(True, self.rate_hz)):
            raise Refused(errno.EINVAL)
        if not on and self.rate_hz < MIN_ADC_HZ // 12:
            raise Refused(errno.EINVAL)
        self.enabled = on

    def _fits(self, enabled: bool, rate_hz: int) -> bool:
        """Whether each filter has clock cycles enough for its taps."""
        if not enabled or self.fir is None:
            return True
        dac, adc = self._converter(True, rate_hz)
        return self.fir.tx_taps <= TAPS_PER_CLOCK * (dac // rate_hz) and self.fir.rx_taps <= TAPS_PER_CLOCK * (
            adc // rate_hz
        )

    def _converter(self, enabled: bool, rate_hz: int) -> tuple[int, int]:
        """DAC and ADC rates: the highest that the dividers give."""
        by_tx, by_rx = (self.fir.interpolation, self.fir.decimation) if enabled and self.fir else (1, 1)

        def highest(rate: int) -> int:
            return next((rate * d for d in DIVIDERS if rate * d <= MAX_DAC_HZ), rate)

        return highest(rate_hz * by_tx), highest(rate_hz * by_rx)

    def path_rates(self, transmit: bool) -> str:
        """The text of ``tx_path_rates`` or ``rx_path_rates``."""
        converter = self._converter(self.enabled, self.rate_hz)[0 if transmit else 1]
        by = (self.fir.interpolation if transmit else self.fir.decimation) if self.enabled and self.fir else 1
        first, second, third = HALF_BANDS[converter // (self.rate_hz * by)]
        stages = [converter, converter // first, converter // (first * second), converter // (first * second * third)]
        pll = converter * (4 if converter <= MAX_DAC_HZ // 2 else 2)
        names = ("DAC", "T2", "T1", "TF", "TXSAMP") if transmit else ("ADC", "R2", "R1", "RF", "RXSAMP")
        values = [*stages, self.rate_hz]
        return " ".join([f"BBPLL:{pll}", *(f"{n}:{v}" for n, v in zip(names, values, strict=True))])
