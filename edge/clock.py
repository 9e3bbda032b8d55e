"""An edge's samples as the server's clock and carrier want them: corrected digitally, delayed by parts of one.

The edge makes its samples in the server's time. Its own converter and oscillator are faster by p, so that it needs
:math:`1 + p` times as many samples, turned back by :math:`f p`.
"""

from __future__ import annotations

import numpy as np

from testbed.phy import ofdm
from testbed.phy.resample import Resampler


class ClockCorrection:
    r"""Turns a stream in the server's time into the stream that this edge's converter needs.

    .. math:: y[n] = x\left(\frac{n}{1 + p}\right) e^{-j 2\pi (f p + f_t) n / (f_s (1 + p))}

    so that the antenna sends, of an oscillator that is faster by p, what the server's would have sent, moved by
    :math:`-f_t`. Position and phase go on when p changes.

    Parameters
    ----------
    sample_rate_hz : float
        :math:`f_s`, nominal.
    lo_hz : float
        :math:`f`, the nominal carrier that it sends at.

    Attributes
    ----------
    ppm : float
        By how much the edge's oscillator is faster than the server's.
    trim_hz : float
        :math:`f_t`, what the server has measured beyond.
    clipped_samples : int
        That interpolation lifted beyond full scale.
    """

    def __init__(self, sample_rate_hz: float, lo_hz: float) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.lo_hz = lo_hz
        self.ppm = 0.0
        self.trim_hz = 0.0
        self.clipped_samples = 0
        self._resampler = Resampler()

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take in samples of the server's time.

        Parameters
        ----------
        samples : [n] complex64

        Returns
        -------
        [m] complex64
            Those of the edge's clock that can be made of all that came so far, within full scale.
        """
        step = 1 / (1 + self.ppm * 1e-6)
        turn = -(self.lo_hz * self.ppm * 1e-6 + self.trim_hz) * step / self.sample_rate_hz
        corrected, clipped = ofdm.limit(self._resampler.push(samples, step, turn))
        self.clipped_samples += clipped
        return corrected

    def delay(self, fraction: float) -> None:
        """What comes next leaves later by a fraction of a sample, 0 to 1. In silence, or it would be torn."""
        self._resampler.delay(fraction)
