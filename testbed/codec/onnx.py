"""Codecs that ONNX Runtime executes: pictures of any size in, complex symbols out, and back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import onnxruntime

from testbed.codec.card import Card
from testbed.errors import CodecError, ShapeError

POWER_TOLERANCE = 0.02  # 0.09 dB; room for encoders that compute in half precision

# A model may come from outside: what runs is the ONNX that was checked, and no file of this machine is part of it.
ONLY_THESE_BYTES = {
    "session.load_model_format": "ONNX",  # else a file that is also of ONNX Runtime's own format is taken for that
    "session.model_external_initializers_file_folder_path": "/dev/null/none",
}


class Port(msgspec.Struct, frozen=True):
    """An input or output of a model, float32. ``axes`` holds the length of each axis, None where any is wanted."""

    name: str
    axes: tuple[int | None, ...]

    def describe(self) -> str:
        """As it stands in a message."""
        return f"{self.name} float [{', '.join('any' if a is None else str(a) for a in self.axes)}]"


def open_session(model: bytes, name: str, threads: int) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime on the CPU.

    Parameters
    ----------
    model : bytes
        ONNX.
    name : str
        For messages.
    threads : int
        One gives the same bits whatever else the machine does.

    Raises
    ------
    CodecError
        If ONNX Runtime cannot load it.
    """
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


def require_ports(
    session: onnxruntime.InferenceSession, name: str, takes: Sequence[Port], gives: Sequence[Port]
) -> None:
    """Check a model's inputs and outputs by name, type, number of axes and length of those that are fixed.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    name : str
        Codec and half, for messages.
    takes, gives : sequence of Port
        More outputs than these may be there, more inputs not.

    Raises
    ------
    CodecError
        Naming what is there and what is wanted.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    for verb, found, wanted in (("takes", inputs, takes), ("gives", outputs, gives)):
        by_name = {port.name: port for port in found}
        fits = all(port.name in by_name and fitting(by_name[port.name], port) for port in wanted)
        if not fits or (verb == "takes" and len(found) != len(wanted)):
            there = ", ".join(f"{p.name} {p.type[7:-1]} {p.shape}" for p in found)
            raise CodecError(f"{name}: {verb} {there}; wanted: {', '.join(p.describe() for p in wanted)}")


def fitting(found: onnxruntime.NodeArg, wanted: Port) -> bool:
    """Whether a port is float32 and no axis of it is fixed to another length than the wanted one."""
    if found.type != "tensor(float)" or (found.shape and len(found.shape) != len(wanted.axes)):
        return False
    return all(not isinstance(has, int) or has == want for has, want in zip(found.shape, wanted.axes, strict=False))


def require_unit_power(symbols: np.ndarray, name: str) -> None:
    """Check the symbols of one picture.

    Parameters
    ----------
    symbols : [k] complex64
    name : str
        Codec and half, for messages.

    Raises
    ------
    CodecError
        If one is not finite, or their mean power is not 1 within ``POWER_TOLERANCE``.
    """
    power = float(np.mean(symbols.real.astype(np.float64) ** 2 + symbols.imag.astype(np.float64) ** 2))
    if not np.isfinite(power):
        raise CodecError(f"{name}: gives symbols that are not finite")
    if abs(power - 1.0) > POWER_TOLERANCE:
        raise CodecError(
            f"{name}: gives symbols of mean power {power:.4g}; wanted: 1 for each picture, within "
            f"{POWER_TOLERANCE:.0%}, since SNR is stated for it. Scale them in the encoder, and undo nothing elsewhere"
        )


class OnnxCodec:
    """A convolutional joint source-channel codec: ``encoder.onnx``, ``decoder.onnx`` and their card.

    An edge that was sent a new encoder has no decoder (None); decoding is then a CodecError.
    """

    def __init__(self, card: Card, encoder: bytes, decoder: bytes | None, threads: int = 1) -> None:
        self.card = card
        self.identity = card.identity
        channels = card.complex_channels
        picture, symbols = Port("picture", (None, 3, None, None)), Port("symbols", (None, 2 * channels, None, None))
        self._encoder = open_session(encoder, self.half("encoder"), threads)
        require_ports(self._encoder, self.half("encoder"), [picture], [symbols])
        self._decoder = None
        if decoder is not None:
            self._decoder = open_session(decoder, self.half("decoder"), threads)
            noise = Port("no_eff", (None, channels, None, None))
            require_ports(self._decoder, self.half("decoder"), [symbols, noise], [picture])

    @property
    def has_decoder(self) -> bool:
        """Whether it can decode, too."""
        return self._decoder is not None

    def half(self, which: str) -> str:
        """Codec and half, as messages name them."""
        return f"codec {self.identity.label}, {which}"

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
        symbols = self.encode_batch(padded.transpose(2, 0, 1)[None])[0]
        require_unit_power(symbols, self.half("encoder"))
        return symbols

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
        """Many pictures of one size to their symbols, which are not checked.

        Parameters
        ----------
        planes : [B, 3, H, W] uint8
            Sides multiples of the stride.

        Returns
        -------
        [B, k] complex64

        Raises
        ------
        CodecError
            If the encoder gives another shape than its card says.
        """
        values = np.ascontiguousarray(planes, dtype=np.float32) / np.float32(255.0)
        (reals,) = self._encoder.run(["symbols"], {"picture": values})
        channels, rows, columns = self.grid_shape(*planes.shape[2:])
        wanted = (len(planes), 2 * channels, rows, columns)
        if reals.shape != wanted:
            raise CodecError(
                f"{self.half('encoder')}: gives symbols {list(reals.shape)} for pictures {list(planes.shape)}; its "
                f"card, with stride {self.card.stride} and {channels} complex channels, wants {list(wanted)}"
            )
        symbols = reals[:, :channels] + np.complex64(1j) * reals[:, channels:]
        return symbols.reshape(len(planes), -1)

    def decode_batch(self, grid: np.ndarray, no_eff: np.ndarray) -> np.ndarray:
        """Many grids of symbols to pictures.

        Parameters
        ----------
        grid : [B, C, h, w] complex64
        no_eff : [B, C, h, w] float32
            Error variance of each symbol; infinite: lost, its value does not matter.

        Returns
        -------
        [B, 3, H, W] uint8

        Raises
        ------
        CodecError
            If there is no decoder here, or it gives another shape than its card says, or values that are not finite.
        """
        reals = np.concatenate([grid.real, grid.imag], axis=1).astype(np.float32)
        if self._decoder is None:
            raise CodecError(f"{self.identity.label}: only its encoder is here")
        noise = np.ascontiguousarray(no_eff, dtype=np.float32)
        # An erasure's value must not matter: infinity times zero is not a number.
        reals[np.isinf(np.concatenate([noise, noise], axis=1))] = 0.0
        (values,) = self._decoder.run(["picture"], {"symbols": reals, "no_eff": noise})
        stride = self.card.stride
        wanted = (len(grid), 3, stride * grid.shape[2], stride * grid.shape[3])
        if values.shape != wanted:
            raise CodecError(
                f"{self.half('decoder')}: gives a picture {list(values.shape)} for symbols {list(reals.shape)}; its "
                f"card, with stride {stride}, wants {list(wanted)}"
            )
        if not np.isfinite(values).all():
            raise CodecError(f"{self.half('decoder')}: gives a picture whose values are not finite")
        return np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)
