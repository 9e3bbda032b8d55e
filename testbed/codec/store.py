"""Codecs that came over the network: checked, opened, tried, then written aside and renamed, the card last.

A folder holds, for each codec, ``NAME-HASH.encoder.onnx``, at a server ``NAME-HASH.decoder.onnx``, and
``NAME-HASH.json``. Where the card is, the rest is whole, and it worked.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from testbed.codec.base import Codec
from testbed.codec.card import Card, card_bytes, check_pair, parse_card, sizes_of
from testbed.codec.pictures import LIMITS
from testbed.codec.plain import require_plain
from testbed.codec.registry import FAMILIES, open_pair
from testbed.errors import CodecError, DataError
from testbed.files import write_aside

SIDE = 256  # pixels of the picture for which size and work are bounded; both grow with its area


def sha256(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def install_encoder(folder: Path, card: bytes, encoder: bytes, encoder_sha256: str) -> Codec:
    """Check an encoder, open it, then keep it.

    Parameters
    ----------
    folder : Path
    card : bytes
        JSON.
    encoder : bytes
        ONNX.
    encoder_sha256 : str
        Hexadecimal, as it was announced.

    Returns
    -------
    Codec
        Without a decoder.

    Raises
    ------
    CodecError
        If the hash is not that of the bytes, the card is none, the encoder does not keep the conventions of a codec, or
        the folder cannot be written.
    """
    parsed = parse_card(card, "the new encoder's card")
    if sha256(encoder) != encoder_sha256:
        raise CodecError(
            f"{parsed.name}: the encoder that came has hash {sha256(encoder)[:8]}, announced was {encoder_sha256[:8]}"
        )
    require_plain_codec(parsed, encoder, None)
    codec = open_pair(parsed, encoder, None)
    keep(folder, parsed, encoder, None)
    return codec


def install_pair(folder: Path, card: bytes, encoder: bytes, decoder: bytes) -> Codec:
    """Check both halves, open them, then keep them.

    Parameters
    ----------
    folder : Path
    card : bytes
        JSON.
    encoder, decoder : bytes
        ONNX.

    Returns
    -------
    Codec

    Raises
    ------
    CodecError
        If the card is none, the halves are not those it was written for or do not keep the conventions of a codec, or
        the folder cannot be written.
    """
    parsed = parse_card(card, "the new codec's card")
    check_pair(parsed, encoder, decoder, parsed.name)
    require_plain_codec(parsed, encoder, decoder)
    codec = open_pair(parsed, encoder, decoder)
    keep(folder, parsed, encoder, decoder)
    return codec


def require_plain_codec(card: Card, encoder: bytes, decoder: bytes | None) -> None:
    """Check what came before it runs: plain models, of bounded size and work for the largest inputs that count.

    Parameters
    ----------
    card : Card
    encoder : bytes
        ONNX.
    decoder : bytes or None
        None where only the encoder came.

    Raises
    ------
    CodecError
        If a half is not plain (`testbed.codec.plain`), or the card's sizes are not those of its kind.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    if card.kind == "picture":
        stride, channels = sizes_of(card, **LIMITS)
        places = -(-SIDE // stride)
        shapes["picture"] = 1, 3, places * stride, places * stride
        shapes["symbols"], shapes["no_eff"] = (1, 2 * channels, places, places), (1, channels, places, places)
    elif card.kind not in FAMILIES:
        return  # refused when it is to be opened, by its kind
    require_plain(encoder, f"{card.name}: encoder", shapes)
    if decoder is not None:
        require_plain(decoder, f"{card.name}: decoder", shapes)


def keep(folder: Path, card: Card, encoder: bytes, decoder: bytes | None) -> Path:
    """Write a codec's files. Their names are ours, whatever the card calls them.

    Parameters
    ----------
    folder : Path
    card : Card
    encoder : bytes
        ONNX.
    decoder : bytes or None
        None: an encoder alone is kept.

    Returns
    -------
    Path
        Of the card.

    Raises
    ------
    CodecError
        If the card's name could not be a file's, or the files cannot be written.
    """
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
