"""The family of picture codecs: pictures of any size in, complex symbols out, pictures back."""

from __future__ import annotations

import numpy as np

from testbed.codec.card import Card, sizes_of
from testbed.codec.onnx import Port, execute, open_session, provider_of, require_ports, require_unit_power, some_lost
from testbed.errors import CodecError, ShapeError

LIMITS = {"stride": 1024, "complex_channels": 4096}  # of what a card may ask for
SIZES = ((32, 32), (16, 48), (45, 70))  # rows, columns tried: square, flat, and no multiples of a stride


class PictureCodec:
    """A convolutional joint source-channel codec: ``encoder.onnx``, ``decoder.onnx`` and their card.

    An edge that was sent a new encoder has no decoder (None); decoding is then a CodecError.

    Parameters
    ----------
    card : Card
        ``sizes``: ``stride``, to whose multiples a picture's sides are padded, and ``complex_channels``, the symbols of
        each stride x stride patch.
    encoder, decoder : bytes
    threads : int
    provider : str
        See `testbed.codec.onnx.open_session`.

    Raises
    ------
    CodecError
        If a size is missing or out of range, or a half has other ports or cannot be loaded.
    """

    kind = "picture"
    sides = range(16, 65_536)  # pixels; of the networks' strides, and of a frame header's fields

    def __init__(
        self, card: Card, encoder: bytes, decoder: bytes | None, threads: int = 1, provider: str = "cpu"
    ) -> None:
        self.card = card
        self.identity = card.identity
        self.stride, self.complex_channels = sizes_of(card, **LIMITS)
        channels = self.complex_channels
        picture, symbols = Port("picture", (None, 3, None, None)), Port("symbols", (None, 2 * channels, None, None))
        self._encoder = open_session(encoder, self.half("encoder"), threads, provider)
        require_ports(self._encoder, self.half("encoder"), [picture], [symbols])
        self._decoder = None
        if decoder is not None:
            self._decoder = open_session(decoder, self.half("decoder"), threads, provider)
            noise = Port("no_eff", (None, channels, None, None))
            require_ports(self._decoder, self.half("decoder"), [symbols, noise], [picture])

    @property
    def provider(self) -> str:
        """What executes it: one of `testbed.codec.onnx.PROVIDERS`."""
        return provider_of(self._encoder)

    @property
    def has_decoder(self) -> bool:
        """Whether it can decode, too."""
        return self._decoder is not None

    def half(self, which: str) -> str:
        """Codec and half, as messages name them."""
        return f"codec {self.identity.label}, {which}"

    def grid_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Shape of a picture's symbols; its sides are padded up to the stride.

        Parameters
        ----------
        height, width : int
            In pixels.

        Returns
        -------
        channels, rows, columns : int
            Complex channels; the symbols of each.
        """
        stride = self.stride
        return self.complex_channels, -(-height // stride), -(-width // stride)

    def symbol_count(self, height: int, width: int) -> int:
        """Complex channel uses of a picture of this size."""
        channels, rows, columns = self.grid_shape(height, width)
        return channels * rows * columns

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """A picture to its symbols.

        Sides that are no multiple of the stride are padded by repeating the border.

        Parameters
        ----------
        picture : [H, W, 3] uint8

        Returns
        -------
        [k] complex64
            Of unit mean power.

        Raises
        ------
        ShapeError
            If it is no such picture.
        CodecError
            If the encoder breaks a convention on it.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ShapeError(f"a picture is [H, W, 3] uint8, not {list(picture.shape)} {picture.dtype}")
        height, width = picture.shape[:2]
        stride = self.stride
        padded = np.pad(picture, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="edge")
        symbols = self.encode_batch(padded.transpose(2, 0, 1)[None])[0]
        require_unit_power(symbols, self.half("encoder"))
        return symbols

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        """Received symbols to a picture.

        Parameters
        ----------
        symbols : [k] complex64
        no_eff : [k] float32
            Error variance of each; infinite: lost.
        height, width : int
            Pixels.

        Returns
        -------
        [height, width, 3] uint8

        Raises
        ------
        ShapeError
            If the numbers of symbols and variances are not those of such a picture.
        CodecError
            If the decoder breaks a convention on them, or is not here.
        """
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
        reals = execute(self._encoder, self.half("encoder"), "symbols", {"picture": values})
        channels, rows, columns = self.grid_shape(*planes.shape[2:])
        wanted = (len(planes), 2 * channels, rows, columns)
        if reals.shape != wanted:
            raise CodecError(
                f"{self.half('encoder')}: gives symbols {list(reals.shape)} for pictures {list(planes.shape)}; its "
                f"card, with stride {self.stride} and {channels} complex channels, wants {list(wanted)}"
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
        values = execute(self._decoder, self.half("decoder"), "picture", {"symbols": reals, "no_eff": noise})
        stride = self.stride
        wanted = (len(grid), 3, stride * grid.shape[2], stride * grid.shape[3])
        if values.shape != wanted:
            raise CodecError(
                f"{self.half('decoder')}: gives a picture {list(values.shape)} for symbols {list(reals.shape)}; its "
                f"card, with stride {stride}, wants {list(wanted)}"
            )
        if not np.isfinite(values).all():
            raise CodecError(f"{self.half('decoder')}: gives a picture whose values are not finite")
        return np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)

    def try_out(self) -> None:
        """Encode, and decode where the decoder is there, fixed pictures of several sizes, one and two at once."""
        for height, width in SIZES:
            symbols = self.encode(fixed_picture(height, width))
            if self.has_decoder:
                self.decode(symbols, some_lost(len(symbols)), height, width)
        side = 2 * self.stride
        both = self.encode_batch(np.stack([fixed_picture(side, side).transpose(2, 0, 1)] * 2))
        for symbols in both:
            require_unit_power(symbols, self.half("encoder"))
        if self.has_decoder:
            grid = both.reshape(2, *self.grid_shape(side, side))
            self.decode_batch(grid, np.full(grid.shape, np.inf, np.float32))


def fixed_picture(height: int, width: int) -> np.ndarray:
    """A picture made of whole numbers alone, the same everywhere: a slope, a step and fine texture.

    Parameters
    ----------
    height, width : int
        In pixels.

    Returns
    -------
    [height, width, 3] uint8
    """
    rows, columns, colours = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    step = np.where(rows > columns, 90, 0)
    return ((3 * rows + 2 * columns + 40 * colours + step + rows * columns * 7 % 48) % 256).astype(np.uint8)
