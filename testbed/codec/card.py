"""Cards: what ships with a codec's ONNX files. Where it comes from, how good it is, and how to tell it from another."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path

import msgspec

from testbed.codec.base import CodecIdentity
from testbed.errors import CodecError
from testbed.text import without_mark


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How good it is against SNR on a named data set, in the conventions of the card; one list for each metric."""

    data: str
    command: str
    snr_db: list[float]
    psnr_of_mean_mse_db: list[float] = []
    mean_psnr_db: list[float] = []
    accuracy: list[float] = []  # 0..1


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A codec's card, stored as JSON beside its ONNX files."""

    name: str
    number: int  # 0..255, what a frame's header says
    kind: str  # of what it carries; names its family in `testbed.codec.registry`
    encoder: str  # file names, in the card's folder
    decoder: str
    sha256: str  # over the encoder's bytes, then the decoder's
    sizes: dict[str, int]  # whole numbers that its family asks for
    bandwidth_ratio: str  # k/n, complex channel uses over real source values
    data: str
    recipe: dict[str, object]
    trained_with: str
    conventions: dict[str, str]
    curves: list[Curve] = []

    @property
    def identity(self) -> CodecIdentity:
        """What frames carry."""
        return CodecIdentity(self.name, self.number, int(self.sha256[:8], 16))


def sizes_of(card: Card, **limits: int) -> tuple[int, ...]:
    """A card's sizes, in the order of ``limits``, each from 1 to its limit; a card may come from anybody.

    Raises
    ------
    CodecError
        If one is missing, not known to the family, or out of range.
    """
    if set(card.sizes) != set(limits):
        has = ", ".join(card.sizes) or "none"
        raise CodecError(f"codec {card.identity.label}: sizes = {has}; kind {card.kind} has {', '.join(limits)}")
    for key, limit in limits.items():
        if not 1 <= card.sizes[key] <= limit:
            raise CodecError(f"codec {card.identity.label}: sizes.{key} = {card.sizes[key]}: allowed: 1..{limit}")
    return tuple(card.sizes[key] for key in limits)


def digest_pair(encoder: bytes, decoder: bytes) -> str:
    """A hash over both files: neither half can be changed alone unnoticed.

    Parameters
    ----------
    encoder, decoder : bytes
        ONNX.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    return hashlib.sha256(encoder + decoder).hexdigest()


def zoo_folder() -> Path:
    """Where the codecs that ship with the package lie."""
    return Path(str(resources.files("testbed.codec"))) / "zoo"


def find_card(name_or_path: str) -> Path:
    """Path of a card: a file as it is, else a name in the zoo.

    Raises
    ------
    CodecError
        If there is none; the message lists what the zoo holds.
    """
    if name_or_path.endswith(".json"):
        path = Path(name_or_path)
        if path.is_file():
            return path
        raise CodecError(f"codec {name_or_path}: no such card")
    known = sorted(p.stem for p in zoo_folder().glob("*.json"))
    if re.fullmatch(r"[A-Za-z0-9_.-]+", name_or_path) and name_or_path in known:
        return zoo_folder() / f"{name_or_path}.json"
    raise CodecError(
        f"codec {name_or_path!r}: not in the zoo. Known: {', '.join(known) or 'none'}; a card's path (.json) works too"
    )


def read_card(path: Path) -> tuple[Card, bytes, bytes]:
    """A card and the bytes of its two ONNX files, checked against the card's hash.

    Raises
    ------
    CodecError
        If a file is missing, the card is not one, or the hash does not match.
    """
    try:
        card = parse_card(path.read_bytes(), str(path))
    except OSError as error:
        raise CodecError(f"{path}: not a codec's card: {error}") from error
    contents = []
    for name in (card.encoder, card.decoder):
        file = path.parent / Path(name).name
        if not file.is_file():
            raise CodecError(
                f"{file}: missing; its card {path.name} asks for it. Install the package again, or retrain"
            )
        contents.append(file.read_bytes())
    check_pair(card, contents[0], contents[1], path.name)
    return card, contents[0], contents[1]


def parse_card(data: bytes, where: str) -> Card:
    """A card from its JSON.

    Parameters
    ----------
    data : bytes
        JSON, with or without a byte-order mark.
    where : str
        For messages.

    Returns
    -------
    Card

    Raises
    ------
    CodecError
        If it is not one; names ``where``.
    """
    try:
        card = msgspec.json.decode(without_mark(data), type=Card)
    except msgspec.DecodeError as error:
        raise CodecError(f"{where}: not a codec's card: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{64}", card.sha256) or not 0 <= card.number <= 255:
        raise CodecError(f"{where}: not a codec's card: sha256 = {card.sha256[:16]}, number = {card.number}")
    return card


def check_pair(card: Card, encoder: bytes, decoder: bytes, where: str) -> None:
    """Refuse files that are not those that the card was written for.

    Parameters
    ----------
    card : Card
    encoder, decoder : bytes
        ONNX.
    where : str
        For messages.

    Raises
    ------
    CodecError
        If their hash is another one.
    """
    found = digest_pair(encoder, decoder)
    if found != card.sha256:
        raise CodecError(
            f"{where}: the ONNX files have hash {found[:8]}, the card says {card.sha256[:8]}: "
            "they do not belong together. Install the package again, or export the pair anew"
        )


def card_bytes(card: Card) -> bytes:
    """A card as readable JSON."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"
