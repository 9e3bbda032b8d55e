"""Names that are not UTF-8, and byte-order marks, wherever a person's file is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.codec.card import parse_card, zoo_folder
from testbed.config import Scenario, dump, load_node, load_scenario
from testbed.errors import SemtbError
from testbed.experiments.scenario_files import find_scenario, purpose
from testbed.record import provenance
from testbed.text import BYTE_ORDER_MARK, printable, without_mark

LATIN = os.fsdecode(b"/data/caf\xe9")


def test_every_message_can_be_written():
    """Bytes of a path that are no UTF-8 as \\xe9; letters that are stay as they are."""
    assert str(SemtbError(f"--images {LATIN}: Müller")) == r"--images /data/caf\xe9: Müller"
    assert printable("plain é") == "plain é"


def test_a_configuration_keeps_such_a_path(tmp_path: Path):
    """Written and read again: the very same bytes reach the file system."""
    scenario = load_scenario(find_scenario("two-users"), [f"edges.0.images={LATIN}"])
    (tmp_path / "scenario.toml").write_bytes(dump(scenario))
    again = load_scenario(tmp_path / "scenario.toml")
    assert os.fsencode(again.edges[0].images) == b"/data/caf\xe9"
    assert again == scenario


def test_a_byte_order_mark_is_passed_over(tmp_path: Path):
    """Scenario, node's file and card read alike with and without."""
    path = find_scenario("two-users")
    marked = tmp_path / "marked.toml"
    marked.write_bytes(BYTE_ORDER_MARK + path.read_bytes())
    assert load_scenario(marked) == load_scenario(path) == load_node(marked, Scenario)
    assert purpose(marked) == purpose(path) != ""
    card = (zoo_folder() / "deepjscc-cifar10.json").read_bytes()
    assert parse_card(BYTE_ORDER_MARK + card, "marked") == parse_card(card, "plain")
    assert without_mark(card) == card


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="$'...' is read by bash: apt-get install bash")
def test_the_command_in_a_result_can_be_typed_again(monkeypatch: pytest.MonkeyPatch):
    """Spaces, quotes, backslashes and a path in Latin-1: bash makes the same bytes of it."""
    words = ["run", "it's", r"a\b", f"{LATIN}'s \\x", "Müller"]
    monkeypatch.setattr(sys, "argv", ["semtb", *words])
    command = provenance.command()
    command.encode("utf-8")
    made = subprocess.run(["/bin/bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True).stdout
    assert made.split(b"\0")[:-1] == [b"semtb", *map(os.fsencode, words)]
