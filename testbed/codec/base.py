"""The Codec protocol: samples to complex channel symbols and back. No waveform, no channel, no file format."""

from __future__ import annotations

from typing import Protocol

import msgspec
import numpy as np


class CodecIdentity(msgspec.Struct, frozen=True):
    """What a frame's header says of the codec that made it."""

    name: str
    number: int  # place in the wire's table of codecs, 0..255
    digest: int  # first 32 bits of SHA-256 over encoder and decoder

    @property
    def label(self) -> str:
        """Name and digest: two trainings of one name are two codecs."""
        return f"{self.name} {self.digest:08x}"


class Codec(Protocol):
    """Encoder and decoder that belong together. What is sent is a picture; what is decoded depends on the kind."""

    identity: CodecIdentity
    kind: str  # "picture": decodes to [H, W, 3] uint8; "label": to [classes] float32 logits
    sides: range  # pixels of a side that it takes

    @property
    def provider(self) -> str:
        """What executes it: cpu, cuda or tensorrt."""
        ...

    def symbol_count(self, height: int, width: int) -> int:
        """Complex channel uses of a picture of this size.

        Parameters
        ----------
        height, width : int
            In pixels.

        Returns
        -------
        int
        """
        ...

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 -> [k] complex64 of unit mean power."""
        ...

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        """What the kind says, from symbols as they were detected.

        Parameters
        ----------
        symbols : [k] complex64
            Unbiased estimates of what was sent.
        no_eff : [k] float32
            Variance of their errors; infinite where lost.
        height, width : int
            Of the picture that was sent, in pixels.

        Returns
        -------
        [height, width, 3] uint8 or [classes] float32
        """
        ...


class Family(Codec, Protocol):
    """Codecs of one kind, opened from a card and the bytes of two ONNX models."""

    def try_out(self) -> None:
        """Use each half on a few fixed samples; CodecError, naming codec and half, if it breaks a convention."""
        ...
