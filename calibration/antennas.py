"""Phase and gain of a receiver's antennas against its first, from one signal that a splitter gives to all."""

from __future__ import annotations

import cmath
import math

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Station
from calibration.plan import BLOCK, TonePlan
from calibration.receive_iq import NOT_HEARD
from calibration.record import Findings, Line, Plot, Quantity
from calibration.tones import fit_tones, ratio
from testbed.errors import RadioError

CAPTURE_SAMPLES = 250 * BLOCK
SYSTEMATIC = 3e-3  # 0.03 dB and 0.2 degrees: what the arms of a good splitter differ by


def estimate(
    y: np.ndarray, plan: TonePlan, lo_hz: float = 0.0, reference_ratio: float = 1.0
) -> list[tuple[complex, float]]:
    r"""The factor of each further antenna against the first, :math:`y_a = g_a y_0`.

    Parameters
    ----------
    y : [antenna, n] complex64
    plan : TonePlan
    lo_hz, reference_ratio : float
        As `TonePlan.received` has it.

    Returns
    -------
    list of (complex, float)
        For antennas 1, 2, …: the factor, and the root of the mean of its squared error.

    Raises
    ------
    RadioError
        If one of them does not hear the tones.
    """
    lines = plan.received(lo_hz, reference_ratio)
    fits = [fit_tones(one, lines.frequencies, BLOCK) for one in y]
    if not all(fit.heard(lines.tones) for fit in fits):
        raise RadioError(NOT_HEARD)
    first, *others = (fit.amplitudes[:, lines.tones].ravel() for fit in fits)
    return [ratio(other, first) for other in others]


def measure(station: Station) -> Findings:
    """One capture of the plan's tones on all antennas."""
    with station.open(rx_channels=2) as bench:
        plan = TonePlan(bench.rate_hz)
        reference_ratio, _ = bench.reference_ratio()
        found = estimate(bench.tones(plan, CAPTURE_SAMPLES), plan, bench.lo_hz, reference_ratio)
    quantities = [
        Quantity("antenna", (g - 1).real, math.hypot(e, SYSTEMATIC), "of antenna 0, less 1", (g - 1).imag, at=a + 1.0)
        for a, (g, e) in enumerate(found)
    ]
    antennas = [float(a + 1) for a in range(len(found))]
    return Findings(
        quantities=quantities,
        absolute=True,
        reference="antenna 0, by a splitter whose arms are alike",
        plots=[
            Plot(
                "antennas",
                "antenna",
                "phase against antenna 0 (°)",
                [Line("measured", antennas, [math.degrees(cmath.phase(g)) for g, _ in found], points=True)],
            ),
            Plot(
                "antennas",
                "antenna",
                "gain against antenna 0 (dB)",
                [Line("measured", antennas, [20 * math.log10(abs(g)) for g, _ in found], points=True)],
            ),
        ],
    )


PROCEDURE = Procedure(
    "antennas",
    "phase and gain of the second antenna against the first (2R2T, a splitter)",
    Validity(days=30, lo_hz=20e6, gain_db=3.0, gains=("rx",), temperature_c=20.0),
    measure,
    applies_to=frozenset({"rx"}),
    rx_channels=2,
)
