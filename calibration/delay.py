"""The delay from a radio's transmit stream to its receive stream, sample 0 to sample 0."""

from __future__ import annotations

import math

import numpy as np

from calibration.base import Procedure, Validity
from calibration.bench import SamplesLost, Station
from calibration.record import Findings, Line, Plot, Quantity
from testbed.errors import RadioError

PERIOD = 9_600  # samples: delays are told apart up to 5 ms at 1.92 MS/s
PERIODS = 12  # of a capture, of which the first two are not used: the stream begins in them
OCCUPIED = 0.6  # of the band
LEVEL = 0.2  # rms: 14 dB below full scale, for its crest
OPENINGS = 3  # of the device, each with a stream of its own
REPEATS = 0.5  # samples: with more than that between openings, the delay is not the radio's but the opening's
SYSTEMATIC = 0.01  # samples: filters delay unevenly over the band
UNLIKE = 8.0  # peak of the correlation over its rms: twice what noise reaches in 9600 places


def probe(seed: int = 5) -> np.ndarray:
    """[PERIOD] complex64: one period of a signal of flat spectrum within `OCCUPIED` of the band, random phases.

    Parameters
    ----------
    seed : int

    Returns
    -------
    [PERIOD] complex64
    """
    rng = np.random.default_rng(seed)
    spectrum = np.zeros(PERIOD, dtype=np.complex128)
    used = occupied()
    spectrum[used] = np.exp(2j * np.pi * rng.uniform(size=len(used)))
    x = np.fft.ifft(spectrum)
    x *= LEVEL / np.sqrt(np.mean(np.abs(x) ** 2))
    peak = max(np.max(np.abs(x.real)), np.max(np.abs(x.imag)))
    return (x * min(1.0, 0.95 / peak)).astype(np.complex64)


def occupied() -> np.ndarray:
    """Bins of the probe's spectrum, the LO left out."""
    half = int(OCCUPIED * PERIOD / 2)
    return np.concatenate([np.arange(1, half), np.arange(PERIOD - half, PERIOD)])


def estimate(y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    r"""By how many samples a periodic signal is late, modulo its period.

    The peak of the circular correlation gives it to a sample; then a line through the phases of
    :math:`Y_k X_k^*`, each weighted by :math:`|X_k|^2`, to a fraction. With that weighting the variance is the
    Cramér-Rao bound :math:`\sigma_\tau^2 = \frac{1}{2 \sum_k \mathrm{SNR}_k (\omega_k - \bar\omega)^2}`.

    Parameters
    ----------
    y : [m, n] complex64
        m periods, as received.
    x : [n] complex64
        One period, as sent.

    Returns
    -------
    delay_samples : float
        0 up to n.
    standard_error : float
        From the scatter of the periods.

    Raises
    ------
    RadioError
        If the signal is not there.

    References
    ----------
    S. M. Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory*, example 3.13 (range).
    """
    period = x.shape[-1]
    crossed = np.fft.fft(y, axis=1) * np.fft.fft(x).conj()
    shape = np.abs(np.fft.ifft(crossed.mean(axis=0)))
    whole = int(np.argmax(shape))
    if shape[whole] < UNLIKE * np.sqrt(np.mean(shape**2)):
        raise RadioError("delay: the signal that was sent is not among what is received: is the cable connected?")
    spectrum = np.abs(np.fft.fft(x))
    used = np.flatnonzero(spectrum > 0.01 * np.max(spectrum))
    omega = 2 * np.pi * np.fft.fftfreq(period)[used]
    aligned = crossed[:, used] * np.exp(1j * omega * whole)

    def rest(sums: np.ndarray) -> float:
        late = 0.0
        for _ in range(3):
            turned = sums * np.exp(1j * omega * late)
            weights = np.abs(turned)
            phases = np.angle(turned * np.conj(np.sum(turned)))
            around = omega - np.average(omega, weights=weights)
            late -= float(np.sum(weights * around * phases) / np.sum(weights * around**2))
        return late

    each = np.array([rest(one) for one in aligned])
    error = float(np.std(each, ddof=1)) / math.sqrt(len(each))
    return (whole + rest(aligned.mean(axis=0))) % period, error


def measure(station: Station) -> Findings:
    """Opened several times: what differs between them is not the radio's, except for its part of a sample.

    A device without time stamps begins both streams when it is told to: whole samples then differ from opening to
    opening, and only the fraction, which its one clock keeps, is known.

    Raises
    ------
    RadioError
        If the transmitter is another radio, whose clock is not this one's, or as the radios say.
    """
    x = probe()
    delays: list[float] = []
    errors: list[float] = []
    for attempt in range(2 * OPENINGS):
        with station.open() as bench:
            if not bench.alone:
                raise RadioError("delay: of one radio that hears itself over a cable: leave --transmitter out")
            try:
                y = bench.from_start(x, PERIODS * PERIOD)[0]
            except SamplesLost:
                if attempt - len(delays) == OPENINGS:
                    raise
                continue
        late, error = estimate(y.reshape(PERIODS, PERIOD)[2:], x)
        delays.append(late)
        errors.append(error)
        if len(delays) == OPENINGS:
            break
    fractions = np.exp(2j * np.pi * np.array(delays))
    fraction = float(np.angle(np.mean(fractions)) / (2 * np.pi)) % 1
    around = (np.array(delays) - delays[0] + PERIOD / 2) % PERIOD - PERIOD / 2 + delays[0]
    spread = float(np.ptp(around))
    between = float(np.std(around, ddof=1)) / math.sqrt(OPENINGS)
    mean = float(np.mean(around))
    own = math.hypot(math.hypot(*errors) / OPENINGS, SYSTEMATIC)
    error = math.hypot(own, between)
    steady = spread < REPEATS
    notes = [] if steady else [f"the delay differs by up to {spread:.0f} samples from opening to opening: not applied"]
    return Findings(
        quantities=[
            Quantity("delay_samples", mean, error, "samples", correction=steady),
            Quantity("delay_spread_samples", spread, error, "samples", correction=False),
            Quantity("delay_fraction_samples", fraction, own, "samples", correction=False),
        ],
        absolute=True,
        reference="the radio's own sample clock",
        notes=notes,
        plots=[
            Plot(
                "delay from transmit to receive",
                "opening",
                "delay (samples)",
                [Line("measured", [float(i + 1) for i in range(OPENINGS)], around.tolist(), points=True)],
            )
        ],
    )


PROCEDURE = Procedure(
    "delay",
    "delay from the transmit stream to the receive stream",
    Validity(days=180, same_rate=True),
    measure,
)
