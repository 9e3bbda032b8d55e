"""How every codec is opened, from the zoo, a path or the bus: each is tried before anybody relies on it.

The conventions, whatever the kind: ports by name, type and axes; finite values; for each sample unit mean power,
since SNR, bound and transmit level are stated for it; a decoder that takes lost symbols (infinite error variance).
A family is one file with a class as `testbed.codec.base.Family` says, and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.codec.base import Family
from testbed.codec.card import Card, find_card, read_card
from testbed.codec.classifier import LabelCodec
from testbed.codec.pictures import PictureCodec
from testbed.errors import CodecError

FAMILIES: dict[str, Callable[[Card, bytes, bytes | None, int, str], Family]] = {  # by the kind on the card
    "label": LabelCodec,
    "picture": PictureCodec,
}


def open_codec(name_or_path: str, threads: int = 1, provider: str = "cpu") -> Family:
    """Open a codec by its name in the zoo or the path of its card.

    Parameters
    ----------
    name_or_path : str
    threads : int
        Of ONNX Runtime; one gives the same bits whatever else the machine does.
    provider : str
        See `testbed.codec.onnx.open_session`.

    Returns
    -------
    Family

    Raises
    ------
    CodecError
        If it is unknown, incomplete or damaged, or does not keep the conventions of a codec.
    """
    return open_pair(*read_card(find_card(name_or_path)), threads, provider)


def open_pair(card: Card, encoder: bytes, decoder: bytes | None, threads: int = 1, provider: str = "cpu") -> Family:
    """Open a codec from its card and the bytes of its halves.

    Parameters
    ----------
    card : Card
    encoder, decoder : bytes
        ONNX; an edge that was sent a new encoder has no decoder (None).
    threads : int
    provider : str

    Returns
    -------
    Family

    Raises
    ------
    CodecError
        If its kind is not known, ONNX Runtime cannot load a half, or it does not keep the conventions of a codec.
    """
    if card.kind not in FAMILIES:
        raise CodecError(f"codec {card.identity.label}: kind = {card.kind}: known: {', '.join(FAMILIES)}")
    codec = FAMILIES[card.kind](card, encoder, decoder, threads, provider)
    codec.try_out()
    return codec
