"""Checkpoints: what is kept comes back, and what is damaged is one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.requirements import TRAINING

torch = pytest.importorskip("torch", reason=TRAINING)

from testbed.checkpoint import read_checkpoint, write_checkpoint  # noqa: E402
from testbed.errors import DataError  # noqa: E402


def parts(seed: int) -> dict:
    torch.manual_seed(seed)
    net = torch.nn.Linear(30, 40)
    return {"net": net, "optimizer": torch.optim.AdamW(net.parameters())}


def test_what_is_kept_comes_back(tmp_path: Path):
    """Weights and facts; without a file, the facts as given, and the weights as they are."""
    first, second = parts(1), parts(2)
    path = tmp_path / "a" / "b.pt"
    assert read_checkpoint(path, "recipe", second, epoch=0, norm=1.0) == {"epoch": 0, "norm": 1.0}
    assert not torch.equal(first["net"].weight, second["net"].weight)
    write_checkpoint(path, "recipe", first, epoch=7, norm=0.25)
    assert read_checkpoint(path, "recipe", second, epoch=0, norm=1.0) == {"epoch": 7, "norm": 0.25}
    assert torch.equal(first["net"].weight, second["net"].weight)


@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_named_with_what_to_do(left: float, tmp_path: Path):
    path = tmp_path / "b.pt"
    write_checkpoint(path, "recipe", parts(1), epoch=7)
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    with pytest.raises(DataError, match=r"b\.pt: not a whole checkpoint .*remove it to begin anew"):
        read_checkpoint(path, "recipe", parts(1), epoch=0)


@pytest.mark.parametrize("content", ["list", "no recipe", "no net", "other shapes", "text"])
def test_what_is_no_checkpoint_of_ours_is_named(content: str, tmp_path: Path):
    path = tmp_path / "b.pt"
    if content == "text":
        path.write_text("not torch's")
    else:
        other = torch.nn.Linear(3, 4).state_dict()
        states = {
            "list": [1, 2],
            "no recipe": {"epoch": 1},
            "no net": {"recipe": "recipe", "epoch": 1},
            "other shapes": {"recipe": "recipe", "epoch": 1, "net": other, "optimizer": {}},
        }
        torch.save(states[content], path)
    with pytest.raises(DataError, match="not a whole checkpoint"):
        read_checkpoint(path, "recipe", parts(1), epoch=0)


def test_the_command_says_it_in_one_line(tmp_path: Path):
    """As typed: `semtb train estimator` beside a checkpoint that was cut off; status 2, no traceback."""
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut off")
    words = [sys.executable, "-m", "testbed.cli.main", "train", "estimator", "--work", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=55)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert last.startswith("DataError: ") and "not a whole checkpoint" in last
    assert "Traceback" not in done.stderr
