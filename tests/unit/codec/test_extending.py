"""The example of docs/extending.md on codec families, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from testbed.codec.card import Card, digest_pair
from testbed.codec.registry import FAMILIES, open_pair
from testbed.errors import CodecError

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"


def card(stride: int) -> Card:
    return Card(
        name="phases",
        number=200,
        kind="phase",
        encoder="none",
        decoder="none",
        sha256=digest_pair(b"", b""),
        sizes={"stride": stride},
        bandwidth_ratio=f"1/{stride**2}",
        data="none",
        recipe={},
        trained_with="nothing",
        conventions={},
    )


def test_the_family_of_the_page_is_opened_by_its_kind_and_carries_pictures(rng, monkeypatch):
    """Patches of one colour come back to one step; at an error variance of 0.01 a phase is off by sqrt(0.005) radians,
    5.7 steps, in the rms to 5 %; a lost symbol is mid-grey; a size out of range is refused."""
    (code,) = re.findall(r"```python codec\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, f"{PAGE.name}, codec", "exec"), names)
    monkeypatch.setitem(FAMILIES, "phase", names["PhaseCodec"])
    codec = open_pair(card(4), b"", None)
    picture = rng.integers(30, 226, (16, 25, 3)).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)[:62, :99]
    symbols = codec.encode(picture)
    assert symbols.shape == (codec.symbol_count(62, 99),) == (16 * 25 * 3,)
    clean = codec.decode(symbols, np.zeros(len(symbols), np.float32), 62, 99)
    assert np.abs(clean[:60, :96].astype(int) - picture[:60, :96]).max() <= 1
    no_eff = np.full(len(symbols), 0.01, np.float32)
    received = symbols + np.sqrt(0.005) * (rng.standard_normal((len(symbols), 2)) @ [1, 1j])
    error = codec.decode(received, no_eff, 62, 99).astype(float) - picture
    assert np.sqrt(np.mean(error**2)) == pytest.approx(255 / np.pi * np.sqrt(0.005), rel=0.05)
    lost = codec.decode(received, np.full(len(symbols), np.inf, np.float32), 62, 99)
    assert np.abs(lost.astype(int) - 127.5).max() <= 0.5
    with pytest.raises(CodecError, match=r"sizes\.stride = 65: allowed: 1\.\.64"):
        open_pair(card(65), b"", None)
