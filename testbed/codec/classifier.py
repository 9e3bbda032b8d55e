"""A task codec that ONNX Runtime executes: pictures to complex symbols, received symbols to class logits. No torch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from testbed.codec.card import digest_pair
from testbed.codec.onnx import open_session
from testbed.errors import CodecError
from testbed.files import write_aside

INSTALLED = "installed.json"


class Classifier:
    """Encoder and classifier that were trained together; ``digest`` is the SHA-256 over both.

    Parameters
    ----------
    encoder, decoder : bytes
        ONNX models: ``pictures`` [B, pixels] -> ``symbols`` [B, 2k], and ``symbols`` [B, 2k], ``no_eff`` [B, k] ->
        ``logits`` [B, classes], all float32; the first k of 2k values are real parts.

    Raises
    ------
    CodecError
        If ONNX Runtime cannot load them.
    """

    def __init__(self, encoder: bytes, decoder: bytes) -> None:
        self.encoder, self.decoder = encoder, decoder
        self.digest = digest_pair(encoder, decoder)
        self._encode = open_session(encoder, "encoder", threads=1)
        self._decode = open_session(decoder, "classifier", threads=1)

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """[B, pixels] float32 in 0..1 -> [B, k] complex64, each picture of unit mean power."""
        (reals,) = self._encode.run(["symbols"], {"pictures": aligned(pictures)})
        k = reals.shape[1] // 2
        return reals[:, :k] + np.complex64(1j) * reals[:, k:]

    def logits(self, symbols: np.ndarray, no_eff: np.ndarray) -> np.ndarray:
        """[B, k] complex64 and their error variances -> [B, classes] float32."""
        reals = np.concatenate([symbols.real, symbols.imag], axis=1).astype(np.float32)
        (values,) = self._decode.run(["logits"], {"symbols": reals, "no_eff": np.ascontiguousarray(no_eff, np.float32)})
        return values


def aligned(values: np.ndarray) -> np.ndarray:
    """A float32 copy at a multiple of 64 bytes: the runtime's sums differ in their last bit with the place in memory,
    and what one record gives must not depend on where those before it end."""
    room = np.empty(values.size + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    copy = room[start : start + values.size].reshape(values.shape)
    copy[...] = values
    return copy


class Installed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one file that says which pair a node uses. Replacing it changes both halves at once."""

    round: int
    sha256: str


def install(folder: Path, number: int, encoder: bytes, decoder: bytes, sha256: str) -> Classifier:
    """Check a pair against its hash, load it, then write it: half a pair is never found in the folder.

    Both files go into a folder named by their hash first; then ``installed.json`` is replaced in one step.

    Raises
    ------
    CodecError
        If the hash is another one or a model does not load; what was installed before stays then.
    """
    found = digest_pair(encoder, decoder)
    if found != sha256:
        raise CodecError(
            f"the encoder and decoder of round {number} have hash {found[:8]}, not {sha256[:8]} as announced: "
            "not installed"
        )
    try:
        pair = Classifier(encoder, decoder)
    except CodecError as error:  # the runtime's own words stay here: whoever sent the pair may read the answer
        raise CodecError(f"the pair of round {number} cannot be loaded here: not installed") from error
    write_aside(folder / sha256[:16] / "encoder.onnx", encoder)
    write_aside(folder / sha256[:16] / "decoder.onnx", decoder)
    write_aside(folder / INSTALLED, msgspec.json.encode(Installed(round=number, sha256=sha256)))
    return pair


def read_installed(folder: Path) -> tuple[Installed, Classifier]:
    """What is installed in a folder.

    Raises
    ------
    CodecError
        If nothing is, or the files do not have the hash that ``installed.json`` names.
    """
    try:
        installed = msgspec.json.decode((folder / INSTALLED).read_bytes(), type=Installed)
        halves = [(folder / installed.sha256[:16] / f"{half}.onnx").read_bytes() for half in ("encoder", "decoder")]
    except (OSError, msgspec.DecodeError) as error:
        raise CodecError(f"{folder}: no codec is installed there: {error}") from error
    pair = Classifier(*halves)
    if pair.digest != installed.sha256:
        raise CodecError(f"{folder}: the installed pair is not the one that {INSTALLED} names")
    return installed, pair
