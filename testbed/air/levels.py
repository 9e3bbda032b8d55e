"""How strong a transmitter sends, against what ``snr_db`` takes for granted. Numbers and words; no socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from testbed.phy.waveform import Waveform
from testbed.units import power_to_db

TOLERANCE_DB = 3.0  # limiter, pilots and what is sent move the testbed's own frames by a few tenths


class LevelMeter:
    r"""Rms of what is not silence: :math:`\sqrt{\sum |x|^2 / \#\{x \ne 0\}}` over all samples that it was shown."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._count = 0

    def add(self, samples: np.ndarray) -> None:
        """Take in some samples.

        Parameters
        ----------
        samples : [n] complex64
            Full scale 1.0; finite.
        """
        wide = np.asarray(samples, dtype=np.complex128)  # squares of float32 would overflow
        self._energy += float(np.vdot(wide, wide).real)
        self._count += int(np.count_nonzero(samples))

    @property
    def level_dbfs(self) -> float | None:
        """Rms in dB of full scale; None if nothing but silence came."""
        return float(power_to_db(self._energy / self._count)) if self._count else None


def level_warnings(
    levels_dbfs: Mapping[int, float | None], waveform: Waveform, snr_db: float, users: Sequence[int]
) -> list[str]:
    r"""Transmitters whose level makes ``snr_db`` mean something else.

    The noise is set so that a transmitter at ``waveform.rms_dbfs`` is received at ``snr_db``; one that sends
    :math:`\Delta` dB above it is received at ``snr_db`` :math:`+ \Delta`.

    Parameters
    ----------
    levels_dbfs : {user: float}
        What `LevelMeter` found.
    waveform : Waveform
    snr_db : float
        Of the air.
    users : sequence of int
        Those to speak of.

    Returns
    -------
    list of str
    """
    lines = []
    for user in users:
        level = levels_dbfs.get(user)
        if level is None or abs(level - waveform.rms_dbfs) <= TOLERANCE_DB:
            continue
        above = level - waveform.rms_dbfs
        lines.append(
            f"user {user} sends at {level:.1f} dBFS (rms {10 ** (level / 20):.3g}), the waveform is laid out for "
            f"{waveform.rms_dbfs:g}: its SNR is {snr_db + above:.1f} dB instead of air.snr_db = {snr_db:g}; "
            f"scale what it sends by {-above:+.1f} dB"
        )
    return lines
