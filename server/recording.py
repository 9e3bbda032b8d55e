"""A received frame as plain arrays and back, so that what the server received outlives the server."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from server.pipeline import ReceivedFrame, UserFrame
from testbed.phy.header import Header


def frame_arrays(frame: ReceivedFrame) -> dict[str, np.ndarray]:
    """Everything of a frame but its timing of stages, by name; no object arrays."""
    arrays = {
        "first_sample": np.int64(frame.first_sample),
        "timing_samples": np.float64(frame.timing_samples),
        "cfo_hz": np.float64(frame.cfo_hz),
        "statistic": np.float64(frame.statistic),
        "no": np.float64(frame.no),
        "channel": frame.channel,
        "users": np.array([u.user for u in frame.users], np.int64),
    }
    for u in frame.users:
        header = u.header.to_bytes() if u.header is not None else b""
        arrays |= {
            f"header_{u.user}": np.frombuffer(header, np.uint8),
            f"symbols_{u.user}": u.symbols,
            f"no_eff_{u.user}": u.no_eff,
            f"cfo_hz_{u.user}": np.float64(u.cfo_hz),
            f"delay_samples_{u.user}": np.float64(u.delay_samples),
        }
    return {name: np.asarray(value) for name, value in arrays.items()}


def frame_from_arrays(arrays: Mapping[str, np.ndarray]) -> ReceivedFrame:
    """The frame that ``frame_arrays`` took apart."""
    users = []
    for user in arrays["users"].tolist():
        header = arrays[f"header_{user}"].tobytes()
        users.append(
            UserFrame(
                user=user,
                header=Header.from_bytes(header) if header else None,
                symbols=arrays[f"symbols_{user}"],
                no_eff=arrays[f"no_eff_{user}"],
                cfo_hz=float(arrays[f"cfo_hz_{user}"]),
                delay_samples=float(arrays[f"delay_samples_{user}"]),
            )
        )
    return ReceivedFrame(
        first_sample=int(arrays["first_sample"]),
        timing_samples=float(arrays["timing_samples"]),
        cfo_hz=float(arrays["cfo_hz"]),
        statistic=float(arrays["statistic"]),
        no=float(arrays["no"]),
        users=users,
        channel=arrays["channel"],
        stage_s={},
    )
