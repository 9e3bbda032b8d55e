"""When each user of a frame arrives, from its channel. No synchronisation of the frame itself here."""

from __future__ import annotations

import numpy as np

from testbed.phy.waveform import Waveform


def mean_delays(channel: np.ndarray, waveform: Waveform) -> np.ndarray:
    r"""Mean delay of each user's paths, weighted by their power: the slope of the phase over frequency.

    .. math:: \hat\tau_u = -\frac{N}{2\pi} \arg \sum_{s,a,k} h_{s,k+1,a,u}\, h^*_{s,k,a,u}

    over neighbouring subcarriers; unambiguous within half a symbol either way.

    Parameters
    ----------
    channel : [S, F, A, U] complex64
        F = the occupied subcarriers.
    waveform : Waveform

    Returns
    -------
    [U] float64
        In samples behind the start of the FFT window.
    """
    half = waveform.occupied_subcarriers // 2
    turn = np.zeros(channel.shape[-1], np.complex128)
    for band in (channel[:, :half], channel[:, half:]):  # across DC the distance is two subcarriers
        turn += np.einsum("sfau,sfau->u", band[:, 1:], band[:, :-1].conj())
    return -np.angle(turn) * waveform.fft_size / (2 * np.pi)
