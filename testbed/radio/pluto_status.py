"""One bit of the FPGA's status register: samples were lost, or were not there in time; not how many, nor where."""

from __future__ import annotations

import logging
from typing import Any

REGISTER = 0x80000088
ADC_OVERFLOW, DAC_UNDERFLOW = 1 << 2, 1 << 0  # of the receiving and of the transmitting core

log = logging.getLogger(__name__)


class StatusBit:
    """A bit that is set by the device and cleared by whoever has read it.

    Parameters
    ----------
    device : iio.Device
        The core whose register it is.
    bit : int
    uri : str
        For the log.
    """

    def __init__(self, device: Any, bit: int, uri: str) -> None:
        self._device, self._bit, self._uri = device, bit, uri
        self.trusted = True  # False: it cannot be read, or it is always set

    def take(self) -> bool:
        """Whether it was set since the last call; it is cleared."""
        if not self.trusted:
            return False
        try:
            is_set = bool(self._device.reg_read(REGISTER) & self._bit)
            if is_set:
                self._device.reg_write(REGISTER, self._bit)
        except OSError as error:
            self._distrust(f"cannot be read ({error.strerror or error})")
            return False
        return is_set

    def examine(self) -> None:
        """Find out whether it can be cleared; call where nothing is being lost. Some firmware has a bit always set.

        References
        ----------
        analogdevicesinc/plutosdr-fw, issue 107.
        """
        self.take()
        if self.take() and self.take():
            self._distrust("is set whatever happens")

    def _distrust(self, why: str) -> None:
        self.trusted = False
        what = "overflow" if self._bit == ADC_OVERFLOW else "underflow"
        log.warning("%s: its status bit for an %s %s: found by count and clock alone", self._uri, what, why)
