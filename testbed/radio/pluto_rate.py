"""The sample rate of a Pluto and the FIR that low rates need, through pyadi-iio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from testbed.errors import RadioError

RATE_TOLERANCE = 1e-6  # the device rounds to what its dividers give


def set_rate(sdr: Any, uri: str, rate_hz: int, fir: str = "") -> None:
    """Bring both directions to a rate, with a filter.

    Below 2.083 MS/s the converters are too fast for the half-band stages, and a FIR that decimates by 4 has to be in
    force; pyadi-iio brings one along for every rate. A device that has the rate is left alone: another process may
    receive or send with it.

    Parameters
    ----------
    sdr : adi.ad9364 or adi.ad9361
    uri : str
        For messages.
    rate_hz : int
    fir : str
        Path of a filter file as the device's ``filter_fir_config`` takes it; empty: pyadi-iio's own.

    Raises
    ------
    RadioError
        If there is no such file.
    OSError, ValueError
        If the device does not take the rate or the filter.
    """
    if fir:
        if not Path(fir).is_file():
            raise RadioError(f"{uri}: fir = {fir}: no such file; write the path of one that filter_fir_config takes")
        sdr.filter = fir  # at 3 MS/s, where every filter is allowed
        sdr._set_iio_attr("voltage0", "sampling_frequency", False, rate_hz)  # `sample_rate` would load pyadi-iio's own
    elif abs(sdr.sample_rate - rate_hz) > rate_hz * RATE_TOLERANCE:
        sdr.sample_rate = rate_hz
