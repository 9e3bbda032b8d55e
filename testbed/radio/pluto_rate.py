"""The sample rate of a Pluto and the FIR that low rates need, through pyadi-iio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from testbed.errors import RadioError
from testbed.firmware.fir import shipped_filters

RATE_TOLERANCE = 1e-6  # the device rounds to what its dividers give


def set_rate(sdr: Any, uri: str, rate_hz: int, fir: str = "") -> None:
    """Bring both directions to a rate, with a filter.

    Below 2.083 MS/s the converters are too fast for the half-band stages, and a FIR that decimates has to be in force.
    At the rates of the profiles it is the one of `firmware_configs/`, at others the one that pyadi-iio brings along. A
    device that has the rate is left alone, unless ``fir`` is given: another process may receive or send with it.

    Parameters
    ----------
    sdr : adi.ad9364 or adi.ad9361
    uri : str
        For messages.
    rate_hz : int
    fir : str
        Name of a filter that ships, or path of a file as the device's ``filter_fir_config`` takes it.

    Raises
    ------
    RadioError
        If there is no such file.
    OSError, ValueError
        If the device does not take the rate or the filter.
    """
    shipped = shipped_filters()
    file: Path | None = None
    if fir:
        file = shipped[fir].file if fir in shipped else Path(fir)
        if not file.is_file():
            raise RadioError(f"{uri}: fir = {fir}: no such file; those that ship: {', '.join(shipped)}")
    elif abs(sdr.sample_rate - rate_hz) <= rate_hz * RATE_TOLERANCE:
        return
    else:
        file = next((one.file for one in shipped.values() if one.rate_hz == rate_hz), None)
    if file is None:
        sdr.sample_rate = rate_hz
        return
    sdr.filter = str(file)  # at 3 MS/s, where every filter is allowed
    sdr._set_iio_attr("voltage0", "sampling_frequency", False, rate_hz)  # `sample_rate` would load pyadi-iio's own
