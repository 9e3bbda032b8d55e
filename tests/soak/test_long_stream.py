"""Ten minutes on the air through medium and receiver: nothing drifts, nothing grows, no frame is missed."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from server.pipeline import Receiver
from testbed.air.medium import Medium
from testbed.config import Air
from testbed.phy.frame import build_frame
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform

AIR_S = 600
SETTLED = 0.1  # of the frames, after which memory must not grow
MAX_GROWTH_MIB = 32


@pytest.mark.timeout(3600)
def test_ten_minutes_of_frames(rng):
    """Two users at 20 dB, 25 kHz off: every header in order, the offset held to the end, memory flat."""
    waveform = Waveform()
    step = waveform.frame_samples + waveform.gap_samples
    count = int(AIR_S * waveform.sample_rate_hz) // step
    air = Air(snr_db=20.0, channel="AWGN", common_cfo_hz=24_900.0, user_cfo_hz=[-90.0, 90.0])
    medium = Medium(waveform, air, [0, 1], 2, seed=5)
    receiver = Receiver(waveform, 2)
    data = (rng.standard_normal((waveform.data_elements, 2)) @ [1, 1j] / np.sqrt(2)).astype(np.complex64)
    seen: list[list[int]] = [[], []]
    worst_hz, settled_mib = 0.0, 0.0
    for number in range(count):
        sent = {}
        for user in (0, 1):
            header = Header(
                user=user,
                frame=number,
                picture=number,
                part=0,
                codec=1,
                codec_hash=1,
                height=8,
                width=8,
                k=32,
                scale=1.0,
            )
            frame, _ = build_frame(header, data, waveform)
            sent[user] = np.concatenate([frame, np.zeros(waveform.gap_samples, np.complex64)])
        for received in receiver.push(medium.mix(sent, number * step)):
            worst_hz = max(worst_hz, abs(received.cfo_hz - 24_900.0))
            for part in received.users:
                if part.header is not None:
                    seen[part.user].append(part.header.frame)
        if number == int(SETTLED * count):
            settled_mib = memory_mib()
    for user in (0, 1):
        assert len(seen[user]) >= count - 1
        assert np.all(np.diff(np.array(seen[user], float)) == 1)
    assert worst_hz < 130.0  # the users lie 90 Hz on each side of the common offset
    assert memory_mib() - settled_mib < MAX_GROWTH_MIB


def memory_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
