"""A counter through a Pluto's digital loopback: every sample says which it is, so that none can be lost unseen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from testbed.radio.pluto_buffers import RX_DEVICE, TX_DEVICE
from testbed.radio.pluto_mute import PHY, mute

PERIOD = 1 << 16  # samples after which the counter begins anew
DIGIT = 256  # I counts to it, Q counts those; both lie within the 12 bits of a converter
UNUSED_BITS = 4  # of the DAC's 16; the ADC's 12 come at the bottom of 16
ADC_FULL_SCALE = 1 << 11


def counter_codes(channels: int) -> np.ndarray:
    """[PERIOD, 2 channels] int16 of the DAC, I and Q of each channel; no sample is zero."""
    number = np.arange(1, PERIOD + 1)
    pair = np.stack([number % DIGIT, number // DIGIT], axis=1) << UNUSED_BITS
    return np.tile(pair, channels).astype("<i2")


def breaks(samples: np.ndarray) -> int:
    """How often a sample is not the next after the one before it.

    Parameters
    ----------
    samples : [channel, n] complex64
        As a Pluto's receiver gives them, full scale 1.0.

    Returns
    -------
    int
        In whichever channel has most.
    """
    x = samples * np.float32(ADC_FULL_SCALE)
    number = np.rint(x.real).astype(np.int64) + DIGIT * np.rint(x.imag).astype(np.int64)
    return int(np.count_nonzero((np.diff(number, axis=1) - 1) % PERIOD, axis=1).max(initial=0))


@contextmanager
def counting(iio: Any, context: Any) -> Iterator[None]:
    """Within, the receiver gets the counter in place of what the antenna hears. Nothing is radiated.

    Parameters
    ----------
    iio : module
        libiio's binding.
    context : iio.Context

    Raises
    ------
    OSError
        If the device has no digital loopback, or another program transmits.
    """
    mute(context)
    control, core = context.find_device(PHY), context.find_device(TX_DEVICE)
    for channel in core.channels:
        if channel.scan_element:
            channel.enabled = True
    before = control.debug_attrs["loopback"].value
    channels = sum(channel.scan_element for channel in context.find_device(RX_DEVICE).channels) // 2
    control.debug_attrs["loopback"].value = "1"
    buffer = None
    try:
        buffer = iio.Buffer(core, PERIOD, True)
        buffer.write(bytearray(counter_codes(channels).tobytes()))
        buffer.push()
        yield
    finally:
        buffer = None  # destroys it
        control.debug_attrs["loopback"].value = before
