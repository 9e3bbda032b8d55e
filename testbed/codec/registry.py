"""The one door for codecs: from the zoo, a path or the bus, each is checked before anything is done with it."""

from __future__ import annotations

from testbed.codec.card import Card, find_card, read_card
from testbed.codec.onnx import OnnxCodec
from testbed.codec.probe import probe


def open_codec(name_or_path: str, threads: int = 1) -> OnnxCodec:
    """Open a codec by its name in the zoo or the path of its card.

    Parameters
    ----------
    name_or_path : str
    threads : int
        Of ONNX Runtime; one gives the same bits whatever else the machine does.

    Returns
    -------
    OnnxCodec

    Raises
    ------
    CodecError
        If it is unknown, incomplete or damaged, or does not keep the conventions of a codec.
    """
    return open_pair(*read_card(find_card(name_or_path)), threads=threads)


def open_pair(card: Card, encoder: bytes, decoder: bytes | None, threads: int = 1) -> OnnxCodec:
    """Open a codec from its card and the bytes of its halves.

    Parameters
    ----------
    card : Card
    encoder, decoder : bytes
        ONNX; an edge that was sent a new encoder has no decoder (None).
    threads : int

    Returns
    -------
    OnnxCodec

    Raises
    ------
    CodecError
        If ONNX Runtime cannot load a half, or it does not keep the conventions of a codec.
    """
    codec = OnnxCodec(card, encoder, decoder, threads)
    probe(codec)
    return codec
