"""libiio's buffers of a Pluto: how large, how many, and opening them. No samples move here."""

from __future__ import annotations

import errno
import time
from typing import Any

import msgspec

from testbed.errors import RadioError

TX_DEVICE, RX_DEVICE = "cf-ad9361-dds-core-lpc", "cf-ad9361-lpc"
BLOCK_S = 5e-3  # of a buffer; far below the 2.5 s after which libiio's daemon gives a block up
QUEUED_S = 80e-3  # in the device: what a process may be late without losing a sample
ALIGNED = 32  # samples of which a block is a multiple; the DMA wants 8 bytes
WAITING_BLOCKS = 4  # libiio's own number, where time waits for clients and a longer queue is only delay
BUSY_TRIES_S = 2.0  # an OPEN may overtake the CLOSE before it: libiio, iiod/ops.c
BUSY_PAUSE_S = 0.02


class Layout(msgspec.Struct, frozen=True):
    """How buffers are laid out: a block in samples, and how many blocks wait in the device."""

    block_samples: int
    tx_blocks: int
    rx_blocks: int
    stale_blocks: int  # of a receive buffer that was just opened, which may have been taken before that

    @property
    def tx_samples(self) -> int:
        """That wait in the device when its queue is full."""
        return self.tx_blocks * self.block_samples


def layout(rate_hz: float, waits: bool) -> Layout:
    """What follows from the sample rate.

    Parameters
    ----------
    rate_hz : float
    waits : bool
        Whether time waits for clients, as a virtual Pluto's may: then no block is from before it was opened.
    """
    block = max(1, round(rate_hz * BLOCK_S / ALIGNED)) * ALIGNED
    blocks = max(WAITING_BLOCKS, round(rate_hz * QUEUED_S / block))
    # Who shares the device may have let every block fill, and one more was filling.
    return Layout(block, WAITING_BLOCKS if waits else blocks, blocks, 0 if waits else blocks + 1)


def open_buffer(iio: Any, context: Any, uri: str, name: str, channels: int, samples: int, blocks: int) -> Any:
    """A libiio buffer of the first ``channels`` complex channels.

    Parameters
    ----------
    iio : module
        libiio's binding.
    context : iio.Context
    uri : str
        For messages.
    name : str
        TX_DEVICE or RX_DEVICE.
    channels, samples, blocks : int
        Of the buffer: complex channels, samples in a block, blocks in the device.

    Raises
    ------
    RadioError
        If another program has it.
    """
    device = context.find_device(name)
    try:
        device.set_kernel_buffers_count(blocks)
        for channel in device.channels:
            if channel.scan_element:
                channel.enabled = int(channel.id.removeprefix("voltage")) < 2 * channels
        return _made(iio, device, samples)
    except OSError as error:
        raise RadioError(
            f"{uri}: its {'transmitter' if name == TX_DEVICE else 'receiver'} cannot be opened "
            f"({error.strerror or error}): does another program use it?"
        ) from None


def _made(iio: Any, device: Any, samples: int) -> Any:
    """A buffer, tried again for a while where the device is busy: its last client may have closed a moment ago."""
    end = time.monotonic() + BUSY_TRIES_S
    while True:
        try:
            return iio.Buffer(device, samples, False)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
        time.sleep(BUSY_PAUSE_S)
