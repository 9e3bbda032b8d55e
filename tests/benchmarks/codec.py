"""`encode-cifar`, `decode-cifar`: the shipped codec in ONNX Runtime, one thread, against the network in torch eager."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from testbed.codec.onnx import open_codec
from testbed.codec.train.loop import Pair, Recipe

BATCH = 16
ROUNDS = 15


def median_s(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of both, measured in turn so that a busy machine slows both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for measured in range(-2, ROUNDS):  # two rounds to warm up
        for run, kept in zip((ours, peer), times, strict=True):
            begin = time.perf_counter()
            run()
            if measured >= 0:
                kept.append(time.perf_counter() - begin)
    return statistics.median(times[0]), statistics.median(times[1])


def rows() -> list[dict[str, object]]:
    """Pictures of 32 x 32 a second, one thread."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    codec = open_codec("deepjscc-cifar10", threads=1)
    pair = Pair(Recipe()).eval()  # the speed does not depend on the weights
    planes = rng.integers(0, 256, (BATCH, 3, 32, 32), dtype=np.uint8)
    values = torch.from_numpy(planes.astype(np.float32) / 255)
    symbols = codec.encode_batch(planes).reshape(BATCH, *codec.grid_shape(32, 32))
    no = np.full(symbols.shape, 0.1, np.float32)
    reals = torch.from_numpy(np.concatenate([symbols.real, symbols.imag], axis=1))
    with torch.inference_mode():
        encode = median_s(lambda: codec.encode_batch(planes), lambda: pair.encoder(values))
        decode = median_s(lambda: codec.decode_batch(symbols, no), lambda: pair.decoder(reals, torch.from_numpy(no)))
    return [
        {
            "name": name,
            "value": BATCH / ours,
            "unit": "pictures/s",
            "peer": f"torch {torch.__version__} eager, one thread, batch {BATCH}",
            "peer_value": BATCH / peer,
            "ratio": peer / ours,
        }
        for name, (ours, peer) in (("encode-cifar", encode), ("decode-cifar", decode))
    ]
