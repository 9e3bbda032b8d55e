"""Sample rates of an AD936x and its FIR: which are allowed together, and what the path rates read. No samples here."""

from __future__ import annotations

import errno

from testbed.air.iiod.fir import Fir, parse_fir
from testbed.air.iiod.protocol import Refused

MIN_ADC_HZ = 25_000_000  # ad9361.h: MIN_ADC_CLK
MAX_ADC_HZ = 640_000_000  # ad9361.h: MAX_ADC_CLK
MAX_DAC_HZ = 320_000_000  # ad9361.h: MAX_DAC_CLK = MAX_ADC_CLK / 2
MIN_PLL_HZ = 715_000_000  # ad9361.h: MIN_BBPLL_FREQ
MAX_RATE_HZ = 61_440_000
MAX_RATE_2R2T_HZ = 30_720_000
DIVIDERS = (12, 8, 6, 4, 3, 2, 1)  # of the half-band stages together, ad9361.c: clk_dividers
HALF_BANDS = {12: (3, 2, 2), 8: (2, 2, 2), 6: (3, 1, 2), 4: (2, 2, 1), 3: (3, 1, 1), 2: (2, 1, 1), 1: (1, 1, 1)}
GOVERNORS = ("nominal", "highest_osr")  # nominal passes over the divider of 12 where 8 gives the ADC its least rate
TAPS_PER_CLOCK = 16


class Clock:
    """One sample rate for both directions, as AD936x drivers have it, and the filter that low rates need."""

    def __init__(self, channels: int) -> None:
        self.max_rate_hz = MAX_RATE_HZ if channels == 1 else MAX_RATE_2R2T_HZ
        self.rate_hz = min(30_720_000, self.max_rate_hz)
        self.fir: Fir | None = None
        self.tx_enabled = self.rx_enabled = False
        self.governor = GOVERNORS[0]

    @property
    def enabled(self) -> bool:
        """Whether the filter is in force in both directions."""
        return self.tx_enabled and self.rx_enabled

    @property
    def min_rate_hz(self) -> int:
        """Lowest rate with the filter as it is: 2.083333 MS/s without, a quarter with INT and DEC of 4."""
        return MIN_ADC_HZ // (12 * min(self._factors(self.tx_enabled, self.rx_enabled)))

    def set_rate(self, rate_hz: int) -> None:
        """EINVAL outside of the range, never clamped."""
        if not self.min_rate_hz <= rate_hz <= self.max_rate_hz:
            raise Refused(errno.EINVAL)
        if not self._fits(self.tx_enabled, self.rx_enabled, rate_hz):
            raise Refused(errno.EINVAL)
        self.rate_hz = rate_hz

    def load(self, text: str) -> None:
        """Another filter. While one is enabled the new one has to go with the rate, or the old one stays: EINVAL."""
        before, self.fir = self.fir, parse_fir(text, self.fir)
        enabled = self.tx_enabled or self.rx_enabled
        if enabled and not (self._fits(self.tx_enabled, self.rx_enabled, self.rate_hz) and self._in_range()):
            self.fir = before
            raise Refused(errno.EINVAL)

    def enable(self, tx: bool | None = None, rx: bool | None = None) -> Fir | None:
        """The filter of either direction on or off; EINVAL where the rate does not go with it.

        Returns
        -------
        Fir or None
            The filter, if it was designed for a rate and bandwidths: that rate is in force now, the caller sees to
            the bandwidths (ad9361.c, ad9361_validate_enable_fir).
        """
        tx = self.tx_enabled if tx is None else tx
        rx = self.rx_enabled if rx is None else rx
        if (tx, rx) == (self.tx_enabled, self.rx_enabled):
            return None
        designed = self.fir if tx and rx and self.fir is not None and self.fir.rate_hz else None
        rate_hz = designed.rate_hz if designed else self.rate_hz
        lowest = MIN_ADC_HZ // (12 * min(self._factors(tx, rx)))
        if ((tx or rx) and self.fir is None) or not lowest <= rate_hz <= self.max_rate_hz:
            raise Refused(errno.EINVAL)
        if not self._fits(tx, rx, rate_hz):
            raise Refused(errno.EINVAL)
        self.tx_enabled, self.rx_enabled, self.rate_hz = tx, rx, rate_hz
        return designed

    def govern(self, text: str) -> None:
        """``trx_rate_governor``."""
        if text not in GOVERNORS:
            raise Refused(errno.EINVAL)
        self.governor = text

    def _in_range(self) -> bool:
        return self.min_rate_hz <= self.rate_hz <= self.max_rate_hz

    def _factors(self, tx: bool, rx: bool) -> tuple[int, int]:
        """Interpolation and decimation of the filter where it is enabled."""
        fir = self.fir or Fir()
        return fir.interpolation if tx else 1, fir.decimation if rx else 1

    def _fits(self, tx: bool, rx: bool, rate_hz: int) -> bool:
        """Whether an enabled filter has clock cycles enough for its taps: those of the DAC, half of the ADC's."""
        fir = self.fir or Fir()
        dac, adc = self._converters(tx, rx, rate_hz)
        halved = adc if adc == rate_hz * self._factors(tx, rx)[1] else adc // 2
        tx_fits = not tx or fir.tx_taps <= TAPS_PER_CLOCK * (dac // rate_hz)
        return tx_fits and (not rx or fir.rx_taps <= TAPS_PER_CLOCK * (halved // rate_hz))

    def _converters(self, tx: bool, rx: bool, rate_hz: int) -> tuple[int, int]:
        """DAC and ADC rates: the first that the dividers give, from where the governor begins."""
        by_tx, by_rx = self._factors(tx, rx)
        begin = int(self.governor == GOVERNORS[0] and rate_hz * by_rx * DIVIDERS[1] >= MIN_ADC_HZ)

        def first(rate: int, most: int) -> int:
            return next((rate * d for d in DIVIDERS[begin:] if rate * d <= most), rate)

        return first(rate_hz * by_tx, MAX_DAC_HZ), first(rate_hz * by_rx, MAX_ADC_HZ)

    def path_rates(self, transmit: bool) -> str:
        """The text of ``tx_path_rates`` or ``rx_path_rates``."""
        dac, adc = self._converters(self.tx_enabled, self.rx_enabled, self.rate_hz)
        converter = dac if transmit else adc
        by = self._factors(self.tx_enabled, self.rx_enabled)[0 if transmit else 1]
        first, second, third = HALF_BANDS[converter // (self.rate_hz * by)]
        stages = [converter, converter // first, converter // (first * second), converter // (first * second * third)]
        pll = adc
        while pll < MIN_PLL_HZ:
            pll *= 2
        names = ("DAC", "T2", "T1", "TF", "TXSAMP") if transmit else ("ADC", "R2", "R1", "RF", "RXSAMP")
        values = [*stages, self.rate_hz]
        return " ".join([f"BBPLL:{pll}", *(f"{n}:{v}" for n, v in zip(names, values, strict=True))])
