"""The transmitter's LO leakage and I/Q imbalance, seen by a receiver whose own faults fall elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import Bench, Station
from calibration.plan import BLOCK, PERIOD, TonePlan
from calibration.record import Findings, Quantity
from calibration.spectrum import before_and_after
from calibration.tones import fit_tones, ratio
from testbed.errors import RadioError
from testbed.radio.base import Tuning

CAPTURE_SAMPLES = 500 * BLOCK
ROUNDS = 2  # the second measures what the first left, where an uneven channel has less of a say
DELAYS = 16 * PERIOD  # places at which the delay of the tones is looked for
SYSTEMATIC = 3e-4  # -70 dBc: what the receiver's filters make uneven about their centre
COHERENT = 0.97  # of the tones' rms amplitude, that one delay and one gain have to explain


@dataclass(frozen=True)
class TransmitFaults:
    """Image and leakage as complex factors of what is sent, with the roots of the mean of their squared errors."""

    image: complex
    image_error: float
    leakage: complex
    leakage_error: float


def estimate(y: np.ndarray, plan: TonePlan, lo_hz: float = 0.0, reference_ratio: float = 1.0) -> TransmitFaults:
    r"""Image and leakage of a transmitter, :math:`s = K_1 x + K_2 x^* + l`, through a flat channel of any delay.

    Tone k, sent as :math:`a_k`, is received as :math:`g a_k e^{-j2\pi k\tau/P}` with g = h K_1, its image as
    :math:`h K_2 a_k^* e^{+j2\pi k\tau/P}`, leakage as h l. The delay :math:`\tau`, modulo the period P of the tones, is
    the one under which the tones add up; then :math:`c = K_2/K_1` and :math:`l/K_1` follow as ratios to g, in each
    block, so that the phase between the two oscillators may move.

    Parameters
    ----------
    y : [n] complex64
    plan : TonePlan
    lo_hz, reference_ratio : float
        As `TonePlan.received` has it.

    Returns
    -------
    TransmitFaults

    Raises
    ------
    RadioError
        If no delay explains the tones: there is an echo, or something else is in the band.
    """
    lines = plan.received(lo_hz, reference_ratio)
    fit = fit_tones(y, lines.frequencies, BLOCK)
    bins, sent = np.array(plan.bins), plan.amplitudes()
    gains = fit.amplitudes[:, lines.tones] / sent  # [block, tone]
    delay = delay_of(ratios_to_first(gains), bins)
    turn = np.exp(2j * np.pi * bins * delay / PERIOD)
    common = np.mean(gains * turn, axis=1, keepdims=True)
    if np.mean(np.abs(common) ** 2) < COHERENT**2 * np.mean(np.abs(gains) ** 2):
        raise RadioError(
            "transmit-iq: the tones do not arrive as one delay would have them: is it a cable that connects the two, "
            "and nobody else in the band?"
        )
    images = fit.amplitudes[:, lines.transmit_images] / (sent.conj() * turn)
    image, image_error = ratio(images.ravel(), np.broadcast_to(common, images.shape).ravel())
    leakage, leakage_error = ratio(fit.amplitudes[:, lines.leakage], common[:, 0])
    return TransmitFaults(image, image_error, leakage, leakage_error)


def ratios_to_first(gains: np.ndarray) -> np.ndarray:
    """[tone] complex128: mean gains, turned so that the first is real; what turns all tones of a block falls out.

    Parameters
    ----------
    gains : [block, tone] complex

    Returns
    -------
    [tone] complex128
    """
    reference = gains[:, :1]
    return np.sum(gains * reference.conj(), axis=0) / np.sqrt(np.sum(np.abs(reference) ** 2))


def delay_of(gains: np.ndarray, bins: np.ndarray) -> float:
    r"""The :math:`\tau`, modulo the period, that maximises :math:`|\sum_k g_k e^{j2\pi k\tau/P}|`.

    Parameters
    ----------
    gains : [tone] complex
    bins : [tone] int

    Returns
    -------
    float
        In samples.
    """
    unit = gains / np.abs(gains)
    grid = np.arange(DELAYS) * PERIOD / DELAYS
    best = grid[np.argmax(np.abs(np.exp(2j * np.pi / PERIOD * np.outer(grid, bins)) @ unit))]
    for _ in range(3):  # a line through what is left of the phases
        turned = unit * np.exp(2j * np.pi * bins * best / PERIOD)
        left = np.angle(turned * np.conj(np.sum(turned)))
        around = bins - bins.mean()
        best -= float(around @ left / (around @ around)) * PERIOD / (2 * np.pi)
    return float(best % PERIOD)


def predistort(x: np.ndarray, image: complex, leakage: complex) -> np.ndarray:
    r"""What to send for :math:`(K_1 - K_2 c^*) x` to leave: :math:`u - c u^*` with :math:`u = x - m`.

    The m that cancels the leakage satisfies :math:`m' + c m'^* = l/K_1` for the :math:`m' = m - c m^*` that is sent,
    so :math:`m' = (\lambda - c \lambda^*) / (1 - |c|^2)` with :math:`\lambda = l/K_1`.

    Parameters
    ----------
    x : [...] complex64
    image : complex
        c = K_2 / K_1.
    leakage : complex
        l / K_1.

    Returns
    -------
    [...] complex64
    """
    offset = (leakage - image * np.conj(leakage)) / (1 - abs(image) ** 2)
    return (x - np.complex64(image) * np.conj(x) - np.complex64(offset)).astype(np.complex64)


def heard(bench: Bench, plan: TonePlan, image: complex, leakage: complex) -> np.ndarray:
    """[n] complex64: the plan's tones, predistorted.

    Parameters
    ----------
    bench : Bench
    plan : TonePlan
    image, leakage : complex

    Returns
    -------
    [n] complex64
    """
    sent = predistort(plan.waveform(), image, leakage)
    return bench.capture(
        sent, CAPTURE_SAMPLES, receive=Tuning(lo_hz=bench.lo_hz - plan.shift_hz), transmit=Tuning(lo_hz=bench.lo_hz)
    )[0]


def measure(station: Station) -> Findings:
    """What is there; then, predistorted, what is left of it, which is added."""
    with station.open() as bench:
        plan = TonePlan(bench.rate_hz)
        reference_ratio, _ = bench.reference_ratio()
        image, leakage, captures = 0j, 0j, []
        for _ in range(ROUNDS):
            captures.append(heard(bench, plan, image, leakage))
            found = estimate(captures[-1], plan, bench.lo_hz, reference_ratio)
            image, leakage = image + found.image, leakage + found.leakage
        captures.append(heard(bench, plan, image, leakage))
    errors = [math.hypot(error, SYSTEMATIC) for error in (found.image_error, found.leakage_error)]
    return Findings(
        quantities=[
            Quantity("transmit_image", image.real, errors[0], "of the signal's conjugate", image.imag, at=0.0),
            Quantity("transmit_leakage", leakage.real, errors[1], "full scale", leakage.imag, at=0.0),
        ],
        absolute=True,
        reference="the transmitted tones, and full scale",
        plots=[before_and_after(captures[0], captures[-1], bench.rate_hz)],
    )


PROCEDURE = Procedure(
    "transmit-iq",
    "LO leakage and I/Q imbalance of the transmitter",
    Validity(days=30, lo_hz=100e6, gain_db=6.0, gains=("tx",), temperature_c=20.0),
    measure,
    applies_to=frozenset({"tx"}),
)
