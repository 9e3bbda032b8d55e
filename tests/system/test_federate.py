"""`semtb federate`, whole: a server and its edges as processes, with and without privacy."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.requirements import TRAINING

pytest.importorskip("torch", reason=TRAINING)
pytest.importorskip("dp_accounting", reason=TRAINING)

from testbed.codec.classifier import read_installed
from testbed.data.digits import split
from testbed.files import ASIDE
from testbed.privacy.accounting import epsilon_spent
from testbed.privacy.budget import noise_multiplier
from testbed.privacy.ledger import Budget, Ledger, read_entries

pytestmark = pytest.mark.timeout(240)
LIMIT_S = 220.0  # only ends a broken test
END_S = 3.0  # the limit for a run in which a process died
MARGIN_S = 3.0  # for a machine that does much else meanwhile


def start(folder: Path, *arguments: str, task: str = "digits") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "testbed.cli.main", "federate", task, "--out", str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(process: subprocess.Popen[str], count: int, path: Path | None = None) -> list[psutil.Process]:
    """So many nodes as processes, and a file that one of them writes."""
    end = time.monotonic() + LIMIT_S
    children: list[psutil.Process] = []
    while len(children) < count or (path is not None and not path.exists()):
        assert process.poll() is None and time.monotonic() < end, "it did not come so far"
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    return children


def edge_of(children: list[psutil.Process], name: str) -> psutil.Process:
    return next(c for c in children if any(part.endswith(f"{name}.toml") for part in c.cmdline()))


def end_all(process: subprocess.Popen[str], children: list[psutil.Process]) -> None:
    process.kill()
    for left in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()


def run(folder: Path, *arguments: str, task: str = "digits") -> dict:
    process = start(folder, *arguments, task=task)
    try:
        _, errors = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads((folder / "result.json").read_text())


def beaten(result: dict) -> dict[str, float]:
    return {name: result["comparisons"][name]["accuracy"] for name in ("fedavg", "best_client", "mean_logits")}


@pytest.fixture(scope="module")
def without_noise(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A run without noise, and what it is compared with on the same split and links, which no noise changes."""
    folder = tmp_path_factory.mktemp("without-noise") / "run"
    return folder, run(folder, "--epsilon", "inf", "--rounds", "2")


def test_without_noise_nine_of_ten_digits_are_right(without_noise: tuple[Path, dict]):
    """Every edge sees two labels or three; FedAvg, the best edge alone and the mean of logits stay behind."""
    folder, result = without_noise
    assert result["accuracy"] >= 0.90
    assert result["accuracy"] > max(beaten(result).values())
    assert result["epsilon"] is None
    assert result["rounds"][0]["accuracy"] < 0.25, "before any edge was asked nothing can be known"
    wanted = (folder / "rounds" / "02" / "encoder.onnx").read_bytes()
    for number in range(1, 11):
        installed, pair = read_installed(folder / "edges" / f"edge-{number}")
        assert (installed.round, pair.encoder) == (2, wanted)


def test_with_epsilon_4_composed_85_percent_are_right_and_more_is_refused(tmp_path: Path, without_noise):
    """The server asks a third time; every edge refuses by its own ledger, and what was released is used again.

    Epsilon in the result is what the accountant says of the ledgers. No file of a node holds the public labels.
    """
    folder = tmp_path / "run"
    result = run(folder, "--epsilon", "4", "--rounds", "3", "--releases", "2", "--noise-seed", "1", "--no-compare")
    assert result["accuracy"] >= 0.85
    assert result["accuracy"] > max(beaten(without_noise[1]).values())
    assert (result["delta"], result["neighbouring"]) == (1e-5, "add or remove one record of one client")
    assert "no privacy against whoever knows the seed" in result["noise"]
    spent = []
    for number in range(1, 11):
        entries = read_entries(folder / "edges" / f"edge-{number}" / "ledger.jsonl")
        assert len(entries) == 2
        spent.append(epsilon_spent([entry.event for entry in entries]))
    assert result["epsilon"] == pytest.approx(max(spent))
    assert 3.9 < result["epsilon"] <= 4.0
    assert [r["refused"] for r in result["rounds"]] == [0, 0, 0, 10]
    assert result["rounds"][3]["epsilon"] == result["rounds"][2]["epsilon"]
    public = split(1).public.pictures
    for archive in folder.rglob("*.npz"):
        with np.load(archive) as arrays:
            if "labels" in arrays.files:
                owned = {picture.tobytes() for picture in arrays["pictures"]}
                assert not owned & {picture.tobytes() for picture in public}, archive
    assert (folder / "figures" / "rounds.svg").stat().st_size > 5000
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{100 * result['accuracy']:.1f}\u00a0% of the test pictures right" in page
    assert max(client["epsilon"] for client in result["clients"]) == pytest.approx(result["epsilon"])
    assert np.sum(result["confusion"]) == 10 * 400
    assert np.trace(result["confusion"]) / 4000 == pytest.approx(result["accuracy"])


def test_kept_ledgers_hold_against_the_next_run(tmp_path: Path):
    """What an earlier run left below --ledgers: every edge refuses, the result says so, and states what was spent."""
    multiplier = noise_multiplier(4.0, 1)
    event = {"kind": "GaussianDpEvent", "noise_multiplier": multiplier}
    spent = epsilon_spent([event])
    kept = {}
    for number in range(1, 11):
        ledger = Ledger(tmp_path / "kept" / f"edge-{number}" / "ledger.jsonl", Budget(4.0, 1e-5), lambda *_: spent)
        ledger.charge("evidence, round 1", event, 1.0, 4000)
        kept[ledger.path] = ledger.path.read_bytes()
    folder = tmp_path / "run"
    result = run(folder, "--epsilon", "4", "--rounds", "1", "--no-compare", "--ledgers", str(tmp_path / "kept"))
    assert {path: path.read_bytes() for path in kept} == kept
    assert not list(folder.rglob("ledger.jsonl"))
    assert [(r["uploads"], r["refused"]) for r in result["rounds"]] == [(0, 0), (0, 10)]
    assert [r["epsilon"] for r in result["rounds"]] == pytest.approx([spent] * 2)
    assert 3.9 < result["epsilon"] <= 4.0
    assert result["accuracy"] < 0.3
    (warning,) = result["warnings"]
    assert warning.startswith("No edge gave anything in any round")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert warning in page
    assert "a classifier that was taught nothing" in page


@pytest.mark.parametrize("when", ["edges begin", "a round is done and edges hang"])
def test_the_death_of_the_server_ends_the_run_at_once(when: str, tmp_path: Path):
    """SIGKILL: status 1, within 3 s and 3 s for a loaded machine, the server named and no edge, nobody left.

    Edges that were stopped notice nothing and obey nothing: nobody may wait for their last words.
    """
    folder = tmp_path / "run"
    process = start(folder, "--epsilon", "inf")
    children: list[psutil.Process] = []
    done = folder / "rounds" / ("00" if when == "edges begin" else "01")
    try:
        children = wait_for(process, 11, done)
        server = edge_of(children, "server")
        if "hang" in when:
            for child in children:
                if child != server:
                    child.suspend()
        began = time.monotonic()
        server.kill()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - began < END_S + MARGIN_S
        assert process.returncode == 1
        assert errors.strip().splitlines()[-1] == "RunIncomplete: server was ended by SIGKILL"
        assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
        result = json.loads((folder / "result.json").read_text())
        assert (result["complete"], result["reason"]) == (False, "RunIncomplete: server was ended by SIGKILL")
    finally:
        end_all(process, children)


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path):
    """No process and no half-written file is left, and the result says that it is none."""
    folder = tmp_path / "run"
    process = start(folder, "--epsilon", "inf")
    children: list[psutil.Process] = []
    try:
        children = wait_for(process, 11)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Ctrl-C" in errors
        assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
        assert not list(folder.rglob(f"*{ASIDE}"))
        assert json.loads((folder / "result.json").read_text())["complete"] is False
        assert "Incomplete run." in (folder / "report.html").read_text(encoding="utf-8")
    finally:
        end_all(process, children)


def test_a_killed_edge_is_named_and_the_run_goes_on(tmp_path: Path):
    """SIGKILL after round 1: the run ends well, and table, result and page say who was lost."""
    folder = tmp_path / "run"
    process = start(folder, "--epsilon", "8", "--rounds", "3", "--clients", "4", "--no-compare")
    children: list[psutil.Process] = []
    try:
        children = wait_for(process, 5, folder / "rounds" / "01" / "decoder.onnx")
        edge_of(children, "edge-3").kill()
        output, errors = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, errors
        assert "edge-3 was lost" in output
        result = json.loads((folder / "result.json").read_text())
        assert result["complete"] is True
        lost = {client["name"]: client["lost"] for client in result["clients"] if client["lost"]}
        assert list(lost) == ["edge-3"]
        assert [(r["uploads"], r["missing"]) for r in result["rounds"]][-1] == (3, 1)
        assert [r["uploads"] for r in result["rounds"]][1] == 4
        assert result["quorum"] == 3
        (warning,) = [text for text in result["warnings"] if "edge-3" in text]
        assert "The run went on without it." in warning
        assert "edge-3 was lost" in (folder / "report.html").read_text(encoding="utf-8")
        assert 1 <= result["clients"][2]["releases"] <= 3
    finally:
        end_all(process, children)


def test_below_the_quorum_the_run_ends_naming_who_is_missing(tmp_path: Path):
    """Status 1, long before the deadline; the result says that it is none, and why."""
    folder = tmp_path / "run"
    process = start(folder, "--epsilon", "inf", "--clients", "3", "--quorum", "3", "--deadline-s", "200")
    children: list[psutil.Process] = []
    try:
        children = wait_for(process, 4, folder / "rounds" / "00" / "decoder.onnx")
        edge_of(children, "edge-2").kill()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        last = errors.strip().splitlines()[-1]
        assert "fewer than 3 of 3 edges are left" in last and "missing edge-2" in last
        result = json.loads((folder / "result.json").read_text())
        assert result["complete"] is False and "edge-2" in result["reason"]
        assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    finally:
        end_all(process, children)


def test_another_strategy_and_mechanism_go_through_the_same_rounds(tmp_path: Path):
    """FedAvg under Laplace noise: weights as named tensors, LaplaceDpEvents on the ledgers and in epsilon.

    Nothing can be learned so: the noise for a whole change of weights is far above what a mean of three can bear.
    """
    folder = tmp_path / "run"
    options = "--strategy fedavg --mechanism laplace --epsilon 8 --rounds 2 --clients 3 --slices 4 --no-compare"
    result = run(folder, *options.split())
    assert result["name"] == "federate-digits-fedavg"
    assert (result["mechanism"], result["sensitivity_norm"]) == ("laplace", 1)
    assert result["rejections"] == [] and [r["uploads"] for r in result["rounds"]] == [0, 3, 3]
    assert result["accuracy"] < 0.3
    for number in (1, 2, 3):
        entries = read_entries(folder / "edges" / f"edge-{number}" / "ledger.jsonl")
        assert [entry.event["kind"] for entry in entries] == ["LaplaceDpEvent"] * 2
        assert epsilon_spent([entry.event for entry in entries]) == pytest.approx(result["epsilon"])
    assert 7.9 < result["epsilon"] <= 8.0


@pytest.mark.needs("data")
def test_another_task_goes_through_the_same_rounds(tmp_path: Path):
    """MNIST, five edges of two or three labels each and a budget: right for far more than an edge alone could be."""
    folder = tmp_path / "run"
    options = "--clients 5 --rounds 1 --epsilon 4 --noise-seed 1 --no-compare"
    result = run(folder, *options.split(), task="mnist")
    assert (result["task"], result["side"], len(result["clients"])) == ("MNIST", 28, 5)
    assert result["accuracy"] > 0.7
    assert max(sum(held > 0 for held in client["labels"]) for client in result["clients"]) <= 5
    assert result["comparisons"] == {}
    assert "of the test pictures right" in (folder / "report.html").read_text(encoding="utf-8")
