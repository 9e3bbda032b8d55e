r"""What a codec promises, tried on a few fixed pictures before anybody relies on it.

The conventions: ports by name, type and axes; any size and any number of pictures; finite values; for each picture
unit mean power, :math:`\frac1k\sum_i|x_i|^2 = 1`, since SNR, bound and transmit level are stated for it; and a decoder
that takes lost symbols (infinite error variance).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from testbed.codec.onnx import OnnxCodec, require_unit_power
from testbed.errors import CodecError, SemtbError

SIZES = ((32, 32), (16, 48), (45, 70))  # rows, columns: square, flat, and no multiples of a stride
ERROR_VARIANCE = 0.01  # 20 dB


def probe_picture(height: int, width: int) -> np.ndarray:
    """[height, width, 3] uint8: a slope, a step and fine texture, from whole numbers alone."""
    rows, columns, colours = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    step = np.where(rows > columns, 90, 0)
    return ((3 * rows + 2 * columns + 40 * colours + step + rows * columns * 7 % 48) % 256).astype(np.uint8)


def probe(codec: OnnxCodec) -> None:
    """Encode, and decode where the decoder is there, and see that each half does what its card says.

    Parameters
    ----------
    codec : OnnxCodec

    Raises
    ------
    CodecError
        Naming codec and half.
    """
    for height, width in SIZES:
        picture = probe_picture(height, width)
        symbols = tried(codec.half("encoder"), codec.encode, picture)
        if codec.has_decoder:
            noise = np.full(len(symbols), ERROR_VARIANCE, np.float32)
            noise[::3] = np.inf
            tried(codec.half("decoder"), codec.decode, symbols, noise, height, width)
    side = 2 * codec.card.stride
    pair = np.stack([probe_picture(side, side).transpose(2, 0, 1)] * 2)
    both = tried(codec.half("encoder"), codec.encode_batch, pair)
    for symbols in both:
        require_unit_power(symbols, codec.half("encoder"))
    if codec.has_decoder:
        grid = both.reshape(2, *codec.grid_shape(side, side))
        tried(codec.half("decoder"), codec.decode_batch, grid, np.full(grid.shape, np.inf, np.float32))


def tried(half: str, work: Callable[..., np.ndarray], *arguments: object) -> np.ndarray:
    """What ``work`` gives; what ONNX Runtime has against it as a CodecError."""
    try:
        return work(*arguments)
    except SemtbError:
        raise
    except Exception as error:  # ONNX Runtime's own exceptions share no base
        raise CodecError(f"{half}: does not do what its card says: {error}") from error
