"""Conventions that a codec must keep: each way to break one is a CodecError that names codec and half."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from testbed.codec.card import read_card
from testbed.codec.pictures import fixed_picture
from testbed.codec.registry import open_codec
from testbed.codec.store import install_encoder, install_pair, sha256
from testbed.errors import CodecError
from testbed.experiments.resolve import require_usable
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from tests.unit.codec.changed_codecs import CHANGES, CODEC, changed

WORDS = rf"^codec {CODEC} [0-9a-f]{{8}}, "


@pytest.mark.parametrize("what", CHANGES)
def test_a_codec_that_breaks_a_convention_is_refused_at_every_door(what: str, tmp_path: Path):
    """From a path, before a run starts, in a simulation: the same words. Over the bus, where the operators and sizes of
    a model are examined before it runs, codec and half are named by whichever finds it first, and nothing is kept."""
    path = changed(what, tmp_path)
    parts = path.read_bytes(), *read_card(path)[1:]
    scenario = open_scenario("two-users", [f"codec.name={path}"], None, None)
    doors = {
        "path": lambda: open_codec(str(path)),
        "run": lambda: require_usable(scenario),
        "sweep": lambda: simulate(scenario),
        "bus, server": lambda: install_pair(tmp_path / "kept", *parts),
    }
    if "encoder" in CHANGES[what]:
        doors["bus, edge"] = lambda: install_encoder(tmp_path / "kept", *parts[:2], sha256(parts[1]))
    half = "encoder" if "encoder" in CHANGES[what] else "decoder"
    for name, door in doors.items():
        examined = rf"|^{CODEC}: {half}: " if name.startswith("bus") else ""
        with pytest.raises(CodecError, match=WORDS + CHANGES[what] + examined):
            door()
    assert not (tmp_path / "kept").exists()


def test_a_codec_of_nine_channels_that_is_right_goes_through(tmp_path: Path):
    """Its ninth channel repeats the first: a ninth more symbols of unit power, and the picture of eight to 1 of 255."""
    codec, plain = open_codec(str(changed("nine channels", tmp_path))), open_codec(CODEC)
    picture = fixed_picture(45, 70)
    symbols = codec.encode(picture)
    assert len(symbols) == 9 * 12 * 18
    got = codec.decode(symbols, np.full(len(symbols), 1e-3, np.float32), 45, 70)
    eight = plain.encode(picture)
    wanted = plain.decode(eight, np.full(len(eight), 1e-3, np.float32), 45, 70)
    assert np.mean(np.abs(got.astype(int) - wanted)) < 3


@pytest.mark.parametrize("name", ["deepjscc-cifar10", CODEC])
def test_what_ships_keeps_every_convention(name: str):
    open_codec(name)


def test_a_photograph_on_which_an_encoder_breaks_a_convention_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    """What the fixed pictures do not show is seen on the picture itself."""
    codec = open_codec(CODEC)
    whole = codec.encode_batch
    for factor, says in ((2.0, "mean power 4"), (np.nan, "not finite")):
        monkeypatch.setattr(codec, "encode_batch", lambda planes, f=factor: whole(planes) * np.complex64(f))
        with pytest.raises(CodecError, match=WORDS + "encoder: .*" + says):
            codec.encode(fixed_picture(32, 32))


@pytest.mark.needs("data")
@pytest.mark.parametrize("command", ["run two-users --set codec.name={}", "eval deepjscc --codec {}"])
def test_a_command_refuses_in_one_line_before_it_begins(command: str, tmp_path: Path):
    """Status 2, and no run folder."""
    path, begun = changed("power 4", tmp_path), tmp_path / "begun"
    begun.mkdir()
    words = [sys.executable, "-m", "testbed.cli.main", *command.format(path).split()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50, cwd=begun)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert re.match("CodecError: " + WORDS[1:] + "encoder: gives symbols of mean power 4; wanted: 1", done.stderr)
    assert list(begun.iterdir()) == []
