"""modem-2x2: the receiver from samples to symbols with effective noise, in multiples of real time on one core."""

from __future__ import annotations

from typing import Any

import numpy as np

from server.pipeline import ReceivedFrame, Receiver
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.phy.ofdm import tx_amplitude
from testbed.phy.waveform import Waveform
from tests.benchmarks.measure import medians

FRAMES = 20
BLOCK = 14_400  # samples pushed at once, as the air serves them
CFO_HZ = 12_345.0
SNR_DB = 20.0
PICTURE: dict[str, Any] = {"picture": 0, "codec": 1, "codec_hash": 1, "height": 32, "width": 32, "scale": 1.0}


def stream(waveform: Waveform) -> np.ndarray:
    """[2, n]: frames of two users, each over two Rayleigh paths to two antennas, with a carrier offset and noise."""
    rng = np.random.default_rng(1)
    step = waveform.frame_samples + waveform.gap_samples
    received = np.zeros((2, FRAMES * step + 3000), dtype=np.complex128)
    for user, delay in enumerate((0, 7)):
        sent = np.zeros(received.shape[1], dtype=np.complex128)
        for f in range(FRAMES):
            header = Header(user=user, frame=f, part=f, k=FRAMES * waveform.data_elements, **PICTURE)
            data = rng.standard_normal((waveform.data_elements, 2)) @ np.array([1, 1j]) / np.sqrt(2)
            begin = 500 + f * step
            sent[begin : begin + waveform.frame_samples], _ = build_frame(header, data.astype(np.complex64), waveform)
        for path in range(2):
            gains = rng.standard_normal((2, 2)) @ np.array([1, 1j]) / 2
            received += gains[:, None] * np.roll(sent, delay + path)
    received *= np.exp(2j * np.pi * CFO_HZ / waveform.sample_rate_hz * np.arange(received.shape[1]))
    amplitude = tx_amplitude(waveform) * 10 ** (-SNR_DB / 20) / np.sqrt(2)
    received += amplitude * (rng.standard_normal((*received.shape, 2)) @ np.array([1, 1j]))
    return received.astype(np.complex64)


def rows() -> list[dict[str, object]]:
    waveform = Waveform()
    samples = stream(waveform)

    def ours() -> list[ReceivedFrame]:
        receiver = Receiver(waveform, 2)
        frames = []
        for first in range(0, samples.shape[1], BLOCK):
            frames += receiver.push(samples[:, first : first + BLOCK])
        return frames + receiver.flush()

    headers = [user.header for frame in ours() for user in frame.users]
    if len(headers) != 2 * FRAMES or None in headers:
        raise RuntimeError(f"the receiver found {len(headers)} headers of {2 * FRAMES}: its speed means nothing")
    (spent,) = medians(ours)
    value = samples.shape[1] / waveform.sample_rate_hz / spent
    return [
        {
            "name": "modem-2x2",
            "value": value,
            "unit": "x real time at 1.92 MS/s, 1 core",
            "peer": "real time",
            "peer_value": 1.0,
            "ratio": value,
        }
    ]
