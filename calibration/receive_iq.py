"""The receiver's DC offset and I/Q imbalance, from tones whose images fall where nothing else is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Station
from calibration.plan import BLOCK, TonePlan
from calibration.record import Findings, Quantity
from calibration.spectrum import before_and_after
from calibration.tones import fit_tones, ratio
from testbed.errors import RadioError

CAPTURE_SAMPLES = 500 * BLOCK  # half a second at 1.92 MS/s: images to -80 dBc at 20 dB of SNR
NOT_HEARD = "the tones that were sent are not heard: is the cable connected, and on the right antenna?"
SYSTEMATIC_IMAGE = 1e-4  # -80 dBc: the imbalance changes a little over the band
SYSTEMATIC_DC = 1e-4  # -80 dBFS: a fifth of a step of 12 bits


@dataclass(frozen=True)
class ReceiveFaults:
    """Image and DC as complex factors, with the roots of the mean of their squared errors."""

    image: complex
    image_error: float
    dc: complex
    dc_error: float


def estimate(y: np.ndarray, plan: TonePlan, lo_hz: float = 0.0, reference_ratio: float = 1.0) -> ReceiveFaults:
    r"""Image and DC of a receiver, :math:`y = K_1 x + K_2 x^* + d`, from tones.

    A tone of amplitude a at f is received as :math:`K_1 a` at f and :math:`K_2 a^*` at -f; what corrects it is
    :math:`c = K_2 / K_1^*`, the factor between the image and the conjugate of the tone, whatever a is and however its
    phase moves from block to block.

    Parameters
    ----------
    y : [n] complex64
    plan : TonePlan
    lo_hz, reference_ratio : float
        As `TonePlan.received` has it.

    Returns
    -------
    ReceiveFaults

    Raises
    ------
    RadioError
        If the tones are not there.

    References
    ----------
    M. Valkama, M. Renfors, V. Koivunen, "Advanced methods for I/Q imbalance compensation in communication receivers",
    IEEE Trans. Signal Process. 49, 2001.
    """
    lines = plan.received(lo_hz, reference_ratio)
    fit = fit_tones(y, lines.frequencies, BLOCK)
    if not fit.heard(lines.tones):
        raise RadioError(NOT_HEARD)
    tones, images = fit.amplitudes[:, lines.tones], fit.amplitudes[:, lines.receive_images]
    image, image_error = ratio(images.ravel(), tones.conj().ravel())
    return ReceiveFaults(image, image_error, complex(fit.mean[lines.dc]), float(fit.standard_errors[lines.dc]))


def correct(y: np.ndarray, image: complex, dc: complex) -> np.ndarray:
    r"""Remove DC and image: :math:`z = u - c u^*` with :math:`u = y - d`, which is :math:`(K_1 - c K_2^*) x`.

    Parameters
    ----------
    y : [...] complex64
    image, dc : complex

    Returns
    -------
    [...] complex64
    """
    u = y - np.complex64(dc)
    return u - np.complex64(image) * u.conj()


def measure(station: Station) -> Findings:
    """One capture of the plan's tones, at each antenna."""
    with station.open(rx_channels=station.antennas) as bench:
        plan = TonePlan(bench.rate_hz)
        reference_ratio, _ = bench.reference_ratio()
        captures = bench.tones(plan, CAPTURE_SAMPLES)
        lo_hz = bench.lo_hz
    quantities, plots = [], []
    for antenna, y in enumerate(captures):
        found = estimate(y, plan, lo_hz, reference_ratio)
        pair = [
            Quantity(name, value.real, math.hypot(error, unmodelled), unit, value.imag, at=float(antenna))
            for name, value, error, unmodelled, unit in (
                ("receive_image", found.image, found.image_error, SYSTEMATIC_IMAGE, "of the signal's conjugate"),
                ("receive_dc", found.dc, found.dc_error, SYSTEMATIC_DC, "full scale"),
            )
        ]
        quantities += pair
        image, dc = (q.complex if q.significant else 0j for q in pair)
        plots.append(before_and_after(y, correct(y, image, dc), station.rate_hz))
    return Findings(
        quantities=quantities,
        absolute=True,  # both are ratios to what is received itself, or to full scale
        reference="the received tones, and full scale",
        plots=plots,
    )


PROCEDURE = Procedure(
    "receive-iq",
    "DC offset and I/Q imbalance of the receiver",
    Validity(days=30, lo_hz=100e6, gain_db=6.0, gains=("rx",), temperature_c=20.0),
    measure,
    applies_to=frozenset({"rx"}),
)
