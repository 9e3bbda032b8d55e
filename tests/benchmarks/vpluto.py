"""vpluto-rx, vpluto-duplex: what unmodified pyadi-iio gets through a virtual Pluto that another process serves.

Both are of the wall clock, since two processes work together: on a machine that does something else too they say less.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np

from tests.addresses import own_address

SERVER = "import sys; from testbed.experiments.plutos import present_until; " + (
    "present_until([sys.argv[1]], 1, None, [], None, lambda: False, lambda line: print(line, flush=True), sys.argv[2])"
)
BLOCK = 1 << 18
ROUNDS = 8  # of vpluto-rx
ROUND_S = 1.0
RATES_HZ = (16_000_000, 12_000_000, 10_000_000, 8_000_000, 6_000_000, 4_000_000)  # highest first
LOSSLESS_S = 60.0
STATUS, UNDERFLOW = 0x80000088, 1
WANTED_RX, WANTED_DUPLEX = 15e6, 8e6  # samples a second


def served(pace: str) -> tuple[subprocess.Popen[str], Any]:
    """The server's process, and pyadi-iio's Pluto."""
    import adi

    address = own_address()
    process = subprocess.Popen([sys.executable, "-c", SERVER, address, pace], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while f"ip:{address}" not in process.stdout.readline():
        if process.poll() is not None:
            raise RuntimeError("the virtual Pluto did not start")
    sdr = adi.Pluto(uri=f"ip:{address}")
    sdr.rx_buffer_size = BLOCK
    return process, sdr


def free_receive() -> float:
    """Samples a second of `rx()` where time waits for the client: the median of some rounds."""
    process, sdr = served("lockstep")
    try:
        sdr.sample_rate = 4_000_000
        sdr.rx()
        rates = []
        for _ in range(ROUNDS):
            begun, count = time.monotonic(), 0
            while time.monotonic() - begun < ROUND_S:
                count += len(sdr.rx())
            rates.append(count / (time.monotonic() - begun))
        return float(np.median(rates))
    finally:
        sdr.rx_destroy_buffer()
        process.kill()
        process.wait()


def lossless(rate_hz: int, seconds: float) -> bool:
    """Whether so long nothing is lost in either direction, in real pace."""
    process, sdr = served("realtime")
    try:
        sdr.sample_rate = rate_hz
        sdr.tx_lo = sdr.rx_lo = 2_400_000_000
        sdr.tx_cyclic_buffer = False
        wave = (2**13 * np.exp(2j * np.pi / 64 * np.arange(BLOCK))).astype(np.complex64)
        for _ in range(3):
            sdr.tx(wave)
        sdr.rx()
        gaps = sdr._rxadc.debug_attrs["semtb,gaps"]
        sdr._txdac.reg_write(STATUS, UNDERFLOW)
        blocks = int(seconds * rate_hz / BLOCK)
        for _ in range(blocks):
            sdr.tx(wave)
            sdr.rx()
            if len(gaps.value.split()) > 1 or sdr._txdac.reg_read(STATUS) & UNDERFLOW:
                return False
        return True
    finally:
        sdr.tx_destroy_buffer()
        sdr.rx_destroy_buffer()
        process.kill()
        process.wait()


def rows() -> list[dict[str, object]]:
    received = free_receive()
    both_ways = next((rate for rate in RATES_HZ if lossless(rate, LOSSLESS_S)), 0)
    unit = "samples a second"
    return [
        {"name": name, "value": value, "unit": unit, "peer": "wanted", "peer_value": wanted, "ratio": value / wanted}
        for name, value, wanted in (
            ("vpluto-rx", received, WANTED_RX),
            ("vpluto-duplex", float(both_ways), WANTED_DUPLEX),
        )
    ]
