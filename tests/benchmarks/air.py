"""`air-siso`, `air-tdl`: samples a second through the medium, noise that never repeats among it, against GNU Radio.

`air-siso` is one tap, a carrier offset and noise against `channel_model`, whose noise is a pool that it goes through
again and again. `air-tdl` is eight fading taps of eight sinusoids and noise against `selective_fading_model`, which
adds none. Both in CPU seconds of all their threads, in turn.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from testbed.air.medium import Medium
from testbed.channels.base import Place, TappedDelayLine
from testbed.channels.registry import MODELS
from testbed.config import Air
from testbed.phy.waveform import Waveform
from tests.requirements import gnuradio_python

BLOCK = 65_536
BLOCKS = 64
PEER_SAMPLES = {"air-siso": 4_000_000, "air-tdl": 400_000}
ROUNDS = 9
PEER = Path(__file__).parent / "peers" / "gnuradio_channels.py"
TAPS, SINUSOIDS = 8, 8


@dataclass(frozen=True)
class EightTaps:
    """As GNU Radio's model has them: at 0 to 7 samples, of equal power, eight sinusoids each."""

    name: str = "eight-taps"
    fades: bool = True

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(TAPS) / np.std(np.arange(TAPS)), np.full(TAPS, 1 / TAPS)

    def draw(self, delay_spread_s: float, doppler_hz: float, place: Place, rng: np.random.Generator) -> TappedDelayLine:
        delays, powers = self.profile()
        shifts_hz = doppler_hz * np.cos(rng.uniform(-np.pi, np.pi, (TAPS, SINUSOIDS)))
        phases = rng.uniform(-np.pi, np.pi, (TAPS, SINUSOIDS))
        return TappedDelayLine(
            delays * delay_spread_s, np.sqrt(powers / SINUSOIDS), shifts_hz, phases, powers, doppler_hz
        )


def medium(name: str) -> Medium:
    waveform = Waveform()
    given = {"common_cfo_hz": 19_200.0, "user_cfo_hz": [0.0], "user_delay_samples": [0.0]}
    if name == "air-siso":
        return Medium(waveform, Air(channel="AWGN", **given), [0], 1, 1)
    MODELS.setdefault("eight-taps", EightTaps())
    spread_s = float(np.std(np.arange(TAPS))) / waveform.sample_rate_hz
    return Medium(waveform, Air(channel="eight-taps", delay_spread_s=spread_s, **given), [0], 1, 1)


def rows() -> list[dict[str, object]]:
    with subprocess.Popen(
        [gnuradio_python(), str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        try:
            return [row(name, peer) for name in PEER_SAMPLES]
        finally:
            peer.kill()


def row(name: str, peer: subprocess.Popen[str]) -> dict[str, object]:
    """Ours and the peer in turn, medians of what each round gives."""
    air, block = medium(name), np.full((1, BLOCK), 0.1 + 0.2j, np.complex64)
    ours, theirs, position = [], [], 0
    for _ in range(ROUNDS + 1):
        begun = time.process_time()
        for _ in range(BLOCKS):
            air.mix(block, position)
            position += BLOCK
        ours.append((time.process_time() - begun) / (BLOCK * BLOCKS))
        assert peer.stdin is not None
        assert peer.stdout is not None
        print(name, PEER_SAMPLES[name], file=peer.stdin, flush=True)
        theirs.append(float(peer.stdout.readline()) / PEER_SAMPLES[name])
    spent, peer_spent = (float(np.median(each[1:])) for each in (ours, theirs))  # the first compiles and allocates
    model = "channel_model" if name == "air-siso" else "selective_fading_model"
    return {
        "name": name,
        "value": 1e-6 / spent,
        "unit": "MS/s, CPU time of all threads",
        "peer": f"GNU Radio {model}",
        "peer_value": 1e-6 / peer_spent,
        "ratio": peer_spent / spent,
    }
