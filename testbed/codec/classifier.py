"""A task codec that ONNX Runtime executes: pictures to complex symbols, received symbols to class logits. No torch."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from testbed.codec.card import Card, digest_pair, sizes_of
from testbed.codec.onnx import Port, execute, open_session, provider_of, require_ports, require_unit_power, some_lost
from testbed.errors import CodecError, ShapeError
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

    def try_out(self) -> None:
        """Encode and decode a few fixed pictures; CodecError, naming the half, if a convention is broken on them."""
        pixels, symbols, classes = self._sizes()
        fixed = np.outer([1, 7, 31], np.arange(pixels)) % 256
        pictures = (fixed / 255.0).astype(np.float32)
        reals = execute(self._encode, "encoder", "symbols", {"pictures": aligned(pictures)})
        if reals.shape != (len(pictures), 2 * symbols):
            raise CodecError(f"encoder: gives symbols {list(reals.shape)}; wanted: [{len(pictures)}, {2 * symbols}]")
        sent = reals[:, :symbols] + np.complex64(1j) * reals[:, symbols:]
        for one in sent:
            require_unit_power(one, "encoder")
        no_eff = np.tile(some_lost(symbols), (len(sent), 1))
        arrived = np.where(np.isinf(no_eff), np.complex64(0), sent)
        values = np.concatenate([arrived.real, arrived.imag], axis=1).astype(np.float32)
        logits = execute(self._decode, "classifier", "logits", {"symbols": values, "no_eff": no_eff})
        if logits.shape != (len(sent), classes) or not np.isfinite(logits).all():
            raise CodecError(f"classifier: gives logits {list(logits.shape)}; wanted: [{len(sent)}, {classes}], finite")

    def _sizes(self) -> tuple[int, int, int]:
        """Pixels, symbols and classes, as the models state them; CodecError if their ports do not fit each other."""
        ends = self._encode.get_inputs(), self._decode.get_inputs()[1:], self._decode.get_outputs()
        found = [ports[0].shape[1] if ports and len(ports[0].shape) == 2 else None for ports in ends]
        lengths = [length for length in found if isinstance(length, int) and length > 0]
        if len(lengths) != len(found):
            raise CodecError(f"pixels, symbols and classes are {found}; wanted: three lengths that the models fix")
        pixels, symbols, classes = lengths
        values = Port("symbols", (None, 2 * symbols))
        require_ports(self._encode, "encoder", [Port("pictures", (None, pixels))], [values])
        noise, logits = Port("no_eff", (None, symbols)), Port("logits", (None, classes))
        require_ports(self._decode, "classifier", [values, noise], [logits])
        return pixels, symbols, classes

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """[B, pixels] float32 in 0..1 -> [B, k] complex64, each picture of unit mean power."""
        (reals,) = self._encode.run(["symbols"], {"pictures": aligned(pictures)})
        k = reals.shape[1] // 2
        return reals[:, :k] + np.complex64(1j) * reals[:, k:]

    def logits(self, symbols: np.ndarray, no_eff: np.ndarray) -> np.ndarray:
        """Logits of pictures from their symbols as received.

        Parameters
        ----------
        symbols : [B, k] complex64
            Unbiased estimates.
        no_eff : [B, k] float32
            Variance of their errors; infinite where lost.

        Returns
        -------
        [B, classes] float32
        """
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


class LabelCodec:
    """The family of task codecs: a small square picture in, complex symbols out, logits of its classes back.

    Parameters
    ----------
    card : Card
        ``sizes``: ``side`` in pixels, ``symbols`` for each picture, ``classes``.
    encoder, decoder : bytes
        As of `Classifier`; without a decoder (None), an edge's.
    threads : int
    provider : str
        See `testbed.codec.onnx.open_session`.

    Raises
    ------
    CodecError
        If a size is missing or out of range, or a half has other ports or cannot be loaded.
    """

    kind = "label"

    def __init__(
        self, card: Card, encoder: bytes, decoder: bytes | None, threads: int = 1, provider: str = "cpu"
    ) -> None:
        self.card, self.identity = card, card.identity
        self.side, self.symbols, self.classes = sizes_of(card, side=256, symbols=65_536, classes=65_536)
        self.sides = range(self.side, self.side + 1)
        values = Port("symbols", (None, 2 * self.symbols))
        self._encoder = open_session(encoder, self.half("encoder"), threads, provider)
        require_ports(self._encoder, self.half("encoder"), [Port("pictures", (None, self.side**2))], [values])
        self._decoder = None
        if decoder is not None:
            self._decoder = open_session(decoder, self.half("decoder"), threads, provider)
            noise, logits = Port("no_eff", (None, self.symbols)), Port("logits", (None, self.classes))
            require_ports(self._decoder, self.half("decoder"), [values, noise], [logits])

    @property
    def provider(self) -> str:
        """What executes it: one of `testbed.codec.onnx.PROVIDERS`."""
        return provider_of(self._encoder)

    def half(self, which: str) -> str:
        """Codec and half, as messages name them."""
        return f"codec {self.identity.label}, {which}"

    def symbol_count(self, height: int, width: int) -> int:
        """Complex channel uses of a picture."""
        return self.symbols

    def encode(self, picture: np.ndarray) -> np.ndarray:
        """A picture, of which the mean over colours counts, to its symbols.

        Parameters
        ----------
        picture : [side, side, 3] uint8

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
        if picture.shape != (self.side, self.side, 3) or picture.dtype != np.uint8:
            wanted = f"[{self.side}, {self.side}, 3] uint8"
            raise ShapeError(f"a picture is {wanted}, not {list(picture.shape)} {picture.dtype}")
        grey = picture.astype(np.float32).mean(axis=2).reshape(1, -1) / np.float32(255.0)
        reals = execute(self._encoder, self.half("encoder"), "symbols", {"pictures": aligned(grey)})
        if reals.shape != (1, 2 * self.symbols):
            raise CodecError(
                f"{self.half('encoder')}: gives symbols {list(reals.shape)}; its card wants [1, {2 * self.symbols}]"
            )
        symbols = (reals[:, : self.symbols] + np.complex64(1j) * reals[:, self.symbols :])[0]
        require_unit_power(symbols, self.half("encoder"))
        return symbols

    def decode(self, symbols: np.ndarray, no_eff: np.ndarray, height: int, width: int) -> np.ndarray:
        """Received symbols to logits.

        Parameters
        ----------
        symbols : [k] complex64
        no_eff : [k] float32
            Error variance of each; infinite: lost.
        height, width : int
            Of the picture, which say nothing here.

        Returns
        -------
        [classes] float32

        Raises
        ------
        ShapeError
            If there are not k symbols and k variances.
        CodecError
            If the decoder breaks a convention on them, or is not here.
        """
        if symbols.shape != (self.symbols,) or no_eff.shape != (self.symbols,):
            raise ShapeError(
                f"a picture has {self.symbols} symbols, not {list(symbols.shape)} with noise {list(no_eff.shape)}"
            )
        if self._decoder is None:
            raise CodecError(f"{self.identity.label}: only its encoder is here")
        arrived = np.where(np.isinf(no_eff), np.complex64(0), symbols)  # the value of what is lost does not matter
        reals = np.concatenate([arrived.real, arrived.imag]).astype(np.float32)[None]
        inputs = {"symbols": aligned(reals), "no_eff": aligned(np.asarray(no_eff, np.float32)[None])}
        logits = execute(self._decoder, self.half("decoder"), "logits", inputs)
        if logits.shape != (1, self.classes):
            raise CodecError(
                f"{self.half('decoder')}: gives logits {list(logits.shape)}; its card wants [1, {self.classes}]"
            )
        if not np.isfinite(logits).all():
            raise CodecError(f"{self.half('decoder')}: gives logits that are not finite")
        return logits[0]

    def try_out(self) -> None:
        """Encode, and decode where the decoder is there, a few fixed pictures."""
        ramp = np.arange(self.side**2 * 3, dtype=np.int64).reshape(self.side, self.side, 3)
        for factor in (1, 7, 31):
            picture = (ramp * factor % 256).astype(np.uint8)
            symbols = self.encode(picture)
            if self._decoder is not None:
                self.decode(symbols, some_lost(len(symbols)), self.side, self.side)


class Installed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one file that says which pair a node uses. Replacing it changes both halves at once."""

    round: int
    sha256: str


def install(folder: Path, number: int, encoder: bytes, decoder: bytes, sha256: str) -> Classifier:
    """Check a pair against its hash, load it, then write it: half a pair is never found in the folder.

    Both files go into a folder named by their hash first; then ``installed.json`` is replaced in one step.

    Parameters
    ----------
    folder : Path
    number : int
        Of the round, for messages.
    encoder, decoder : bytes
        ONNX.
    sha256 : str
        As announced, see `testbed.codec.card.digest_pair`.

    Returns
    -------
    Classifier

    Raises
    ------
    CodecError
        If the hash is another one, a model does not load or breaks a convention; what was installed before stays then.
    """
    found = digest_pair(encoder, decoder)
    if found != sha256:
        raise CodecError(
            f"the encoder and decoder of round {number} have hash {found[:8]}, not {sha256[:8]} as announced: "
            "not installed"
        )
    try:
        pair = Classifier(encoder, decoder)
        pair.try_out()
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
