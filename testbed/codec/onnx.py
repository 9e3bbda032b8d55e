"""Codecs that ONNX Runtime executes: pictures of any size in, complex symbols out, and back."""

from __future__ import annotations

import numpy as np
import onnxruntime

from testbed.codec.card import Card, find_card, read_card
from testbed.errors import CodecError, ShapeError

# A model may come from outside: what runs is the ONNX that was checked, and no file of this machine is part of it.
ONLY_THESE_BYTES = {
    "session.load_model_format": "ONNX",  # else a file that is also of ONNX Runtime's own format is taken for that
    "session.model_external_initializers_file_folder_path": "/dev/null/none",
}


def open_session(model: bytes, name: str, threads: int) -> onnxruntime.InferenceSession:
    """A session on the CPU. One thread gives the same bits whatever else the machine does."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in ONLY_THESE_BYTES.items():
        options.add_session_config_entry(key, value)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base
        raise CodecError(f"{name}: ONNX Runtime {onnxruntime.__version__} cannot load it: {error}") from error


class OnnxCodec:
    """A convolutional joint source-channel codec: ``encoder.onnx``, ``decoder.onnx`` and their card.

    An edge that was sent a new encoder has no decoder (None); decoding is then a CodecError.
    """

    def __init__(self, card: Card, encoder: bytes, decoder: bytes | None, threads: int = 1) -> None:
        self.card = card
        self.identity = card.identity
        self._encoder = open_session(encoder, card.encoder, threads)
        self._decoder = open_session(decoder, card.decoder, threads) if decoder is not None else None

    def grid_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(complex channels, rows, columns) of a picture's symbols; sides are padded up to the stride."""
        stride = self.card.stride
        return self.card.complex_channels, -(-height // stride), -(-width // stride)

    def symbol_count(self, height: int, width: int) -> int:
        """Complex channel uses of a picture of this size."""
        channels, rows, columns = self.grid_shape(height, width)
        return channels * rows * columns

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 -> [k] complex64 of unit mean power.

        Sides that are no multiple of the stride are padded by repeating the border.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ShapeError(f"a picture is [H, W, 3] uint8, not {list(picture.shape)} {picture.dtype}")
        height, width = picture.shape[:2]
        stride = self.card.stride
        padded = np.pad(picture, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")
        return self.encode_batch(padded.transpose(2, 0, 1)[None])[0]

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        """[k] complex64 and [k] float32 error variances (infinite = lost) -> [H, W, 3] uint8."""
        shape = self.grid_shape(height, width)
        count = shape[0] * shape[1] * shape[2]
        if symbols.shape != (count,) or no_eff.shape != (count,):
            raise ShapeError(
                f"a {width} x {height} picture has {count} symbols, "
                f"not {list(symbols.shape)} with noise {list(no_eff.shape)}"
            )
        planes = self.decode_batch(symbols.reshape(1, *shape), no_eff.reshape(1, *shape))[0]
        return np.ascontiguousarray(planes.transpose(1, 2, 0)[:height, :width])

    def encode_batch(self, planes: np.ndarray) -> np.ndarray:
        """[B, 3, H, W] uint8, sides multiples of the stride -> [B, k] complex64."""
        values = np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255.0)
        (reals,) = self._encoder.run(["symbols"], {"picture": values})
        channels = self.card.complex_channels
        symbols = reals[:, :channels] + np.complex64(1j) * reals[:, channels:]
        return symbols.reshape(len(planes), -1)

    def decode_batch(self, grid: np.ndarray, no_eff: np.ndarray) -> np.ndarray:
        """[B, C, h, w] complex64 and float32 error variances -> [B, 3, H, W] uint8."""
        reals = np.concatenate([grid.real, grid.imag], axis=1).astype(np.float32)
        if self._decoder is None:
            raise CodecError(f"{self.identity.label}: only its encoder is here")
        noise = np.ascontiguousarray(no_eff, dtype=np.float32)
        # An erasure's value must not matter: infinity times zero is not a number.
        reals[np.isinf(np.concatenate([noise, noise], axis=1))] = 0.0
        (values,) = self._decoder.run(["picture"], {"symbols": reals, "no_eff": noise})
        return np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)


def open_codec(name_or_path: str, threads: int = 1) -> OnnxCodec:
    """Open a codec by its name in the zoo or the path of its card.

    Raises
    ------
    CodecError
        If it is unknown, incomplete or damaged.
    """
    card, encoder, decoder = read_card(find_card(name_or_path))
    return OnnxCodec(card, encoder, decoder, threads)
