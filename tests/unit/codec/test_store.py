"""Codecs that came over the network: what is checked, what is written, and that nothing is by halves."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from testbed.codec.card import Card, card_bytes, find_card, read_card
from testbed.codec.registry import open_codec
from testbed.codec.store import install_encoder, install_pair, sha256
from testbed.errors import CodecError


@pytest.fixture
def parts(other_codec: Path) -> tuple[Card, bytes, bytes]:
    return read_card(other_codec)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_an_installed_encoder_encodes_as_the_pair_does(parts, other_codec: Path, tmp_path: Path, rng):
    """Bit for bit; it says so when asked to decode; its card and encoder are kept, no decoder."""
    card, encoder, _ = parts
    codec = install_encoder(tmp_path, card_bytes(card), encoder, sha256(encoder))
    picture = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert codec.identity == card.identity
    assert np.array_equal(codec.encode(picture), open_codec(str(other_codec)).encode(picture))
    with pytest.raises(CodecError, match="only its encoder"):
        codec.decode(np.zeros(8 * 40, np.complex64), np.ones(8 * 40, np.float32), 20, 30)
    stem = f"{card.name}-{card.sha256[:8]}"
    assert names(tmp_path) == [f"{stem}.encoder.onnx", f"{stem}.json"]


def test_an_installed_pair_opens_again_from_its_folder(parts, tmp_path: Path):
    """The card that is kept names the files that are kept, whatever names it came with."""
    card, encoder, decoder = parts
    strange = msgspec.structs.replace(card, encoder="../../encoder.onnx", decoder="/etc/decoder.onnx")
    codec = install_pair(tmp_path / "codecs", card_bytes(strange), encoder, decoder)
    (path,) = (tmp_path / "codecs").glob("*.json")
    assert open_codec(str(path)).identity == codec.identity
    assert len(names(tmp_path / "codecs")) == 3
    assert names(tmp_path) == ["codecs"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoder_sha256": "0" * 64}, "announced was 00000000"),
        ({"card": b"{}"}, "not a codec's card"),
        ({"card": b"\xff"}, "not a codec's card"),
        ({"name": "../escaped"}, "allowed: up to 64"),
        (
            {"sizes": {"stride": 4, "complex_channels": 3}},
            "encoder: gives .*any, 6,",
        ),
        ({"sizes": {"stride": 0, "complex_channels": 8}}, "sizes.stride = 0: allowed: 1..1024"),
        ({"sizes": {"stride": 4}}, "sizes = stride; kind picture has stride, complex_channels"),
        ({"kind": "smell"}, "kind = smell: known: label, picture"),
        ({"encoder": b"no model"}, "not an ONNX model"),
    ],
    ids=["hash", "card", "bytes", "name", "channels", "stride", "size", "kind", "model"],
)
def test_what_is_wrong_with_an_encoder_is_said(parts, tmp_path: Path, change: dict, says: str):
    """Each kind of damage is a CodecError, and nothing is written."""
    card, encoder, _ = parts
    fields = {k: v for k, v in change.items() if k not in ("card", "encoder", "encoder_sha256")}
    data = change.get("card", card_bytes(msgspec.structs.replace(card, **fields)))
    encoder = change.get("encoder", encoder)
    with pytest.raises(CodecError, match=says):
        install_encoder(tmp_path / "codecs", data, encoder, change.get("encoder_sha256", sha256(encoder)))
    assert names(tmp_path) == []


def test_halves_that_do_not_belong_together_are_not_kept(parts, tmp_path: Path):
    """The encoder of one codec, the decoder of another, each whole: the card's hash is over both."""
    card, encoder, _ = parts
    decoder = read_card(find_card("deepjscc-cifar10"))[2]
    with pytest.raises(CodecError, match="do not belong together"):
        install_pair(tmp_path / "codecs", card_bytes(card), encoder, decoder)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_a_reason(parts, tmp_path: Path):
    card, encoder, _ = parts
    (tmp_path / "file").write_text("")
    with pytest.raises(CodecError, match="cannot be kept"):
        install_encoder(tmp_path / "file", card_bytes(card), encoder, sha256(encoder))
