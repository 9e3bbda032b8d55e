"""Codecs that came over the network: checked, opened, tried, then written aside and renamed, the card last.

A folder holds, for each codec, ``NAME-HASH.encoder.onnx``, at a server ``NAME-HASH.decoder.onnx``, and
``NAME-HASH.json``. Where the card is, the rest is whole, and it worked.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
import numpy as np

from testbed.codec.card import Card, card_bytes, check_pair, parse_card
from testbed.codec.onnx import OnnxCodec
from testbed.errors import CodecError, DataError, SemtbError
from testbed.files import write_aside

WARM_UP_SIDE = 32  # pixels of the picture that loads a codec's kernels before anybody waits for them


def sha256(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def install_encoder(folder: Path, card: bytes, encoder: bytes, encoder_sha256: str) -> OnnxCodec:
    """Check an encoder, open it, encode one small picture, then keep it.

    Raises
    ------
    CodecError
        If the hash is not that of the bytes, the card is none, or the encoder does not do what its card says.
    """
    parsed = parse_card(card, "the new encoder's card")
    if sha256(encoder) != encoder_sha256:
        raise CodecError(
            f"{parsed.name}: the encoder that came has hash {sha256(encoder)[:8]}, announced was {encoder_sha256[:8]}"
        )
    codec = OnnxCodec(parsed, encoder, None)
    warm(codec)
    keep(folder, parsed, encoder, None)
    return codec


def install_pair(folder: Path, card: bytes, encoder: bytes, decoder: bytes) -> OnnxCodec:
    """Check both halves, open them, encode and decode one small picture, then keep them.

    Raises
    ------
    CodecError
        If the card is none, the halves are not those it was written for, or they do not do what it says.
    """
    parsed = parse_card(card, "the new codec's card")
    check_pair(parsed, encoder, decoder, parsed.name)
    codec = OnnxCodec(parsed, encoder, decoder)
    warm(codec, decode=True)
    keep(folder, parsed, encoder, decoder)
    return codec


def keep(folder: Path, card: Card, encoder: bytes, decoder: bytes | None) -> Path:
    """Write a codec's files; returns the card's path. The files' names are ours, whatever the card calls them."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", card.name):
        raise CodecError(f"name = {card.name!r}: allowed: up to 64 letters, digits, '_', '.', '-'")
    stem = f"{card.name}-{card.sha256[:8]}"
    names = f"{stem}.encoder.onnx", f"{stem}.decoder.onnx"
    try:
        for name, data in zip(names, (encoder, decoder), strict=True):
            if data is not None:
                write_aside(folder / name, data)
        ours = msgspec.structs.replace(card, encoder=names[0], decoder=names[1])
        return write_aside(folder / f"{stem}.json", card_bytes(ours))
    except DataError as error:
        raise CodecError(f"{card.name}: cannot be kept: {error}") from error


def warm(codec: OnnxCodec, decode: bool = False) -> None:
    """Run each half once, and see that it gives what the card says."""
    side = WARM_UP_SIDE
    try:
        count = codec.symbol_count(side, side)
        symbols = codec.encode(np.full((side, side, 3), 128, np.uint8))
        if symbols.shape != (count,) or not np.isfinite(symbols).all():
            raise CodecError(f"{codec.identity.label}: {side} x {side} pixels become {symbols.shape}, not ({count},)")
        if decode:
            codec.decode(symbols, np.full(count, 0.01, np.float32), side, side)
    except SemtbError:
        raise
    except Exception as error:  # ONNX Runtime's own exceptions share no base
        raise CodecError(f"{codec.identity.label}: does not do what its card says: {error}") from error
