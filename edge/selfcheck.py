"""What an edge's installation makes of a fixed picture, for who installed it to compare. Sends and decides nothing."""

from __future__ import annotations

import base64
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from testbed.codec.registry import open_codec
from testbed.config import EdgeConfig, load_node
from testbed.data.pictures import load_pictures
from testbed.errors import SemtbError

HEIGHT, WIDTH = 45, 70  # no multiples of a stride, so that padding is compared, too


def fixed_picture() -> np.ndarray:
    """[45, 70, 3] uint8: slopes, an edge and fine texture, from integers alone, so alike on every machine."""
    rows, columns, colours = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(3), indexing="ij")
    slope = 3 * rows + 2 * columns + 40 * colours
    texture = (rows * columns * 7 + colours * 31) % 48
    step = np.where(rows + columns > WIDTH, 90, 0)
    return ((slope + texture + step) % 256).astype(np.uint8)


def fixed_symbols(codec: str) -> np.ndarray:
    """[k] complex64: the encoder's output for the fixed picture."""
    return np.ascontiguousarray(open_codec(codec, threads=1).encode(fixed_picture()), dtype="<c8")


def main(config: str, tell: Callable[[str], object] = print) -> int:
    """Open all that this edge's file names and tell, as JSON, what came out; 2 with one line if something is wrong."""
    try:
        edge = load_node(Path(config), EdgeConfig)
        symbols = fixed_symbols(edge.codec)
        pictures = load_pictures(edge.edge.images, edge.share, edge.max_pixels)
    except SemtbError as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    answer = {
        "symbols": base64.b64encode(symbols.tobytes()).decode(),
        "pictures": len(pictures),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
    tell(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
