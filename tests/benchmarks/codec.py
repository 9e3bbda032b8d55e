"""`encode-cifar`, `decode-cifar`: the shipped codec in ONNX Runtime, one thread, against the network in torch eager."""

from __future__ import annotations

import numpy as np
import torch

from testbed.codec.registry import open_codec
from testbed.codec.train.loop import Pair, Recipe
from tests.benchmarks.measure import medians

BATCH = 16


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
        encode = medians(lambda: codec.encode_batch(planes), lambda: pair.encoder(values))
        decode = medians(lambda: codec.decode_batch(symbols, no), lambda: pair.decoder(reals, torch.from_numpy(no)))
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
