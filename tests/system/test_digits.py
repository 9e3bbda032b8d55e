"""`semtb run digits`: a second family of codecs through the same run; the server gives classes, not pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from testbed.data import digits
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from testbed.record.folder import RunFolder, logits_name
from testbed.record.schema import metrics_bytes, read_result
from tests.replays import replayed

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("digits") / "run"
    words = [sys.executable, "-m", "testbed.cli.main", "run", "digits", "--set", "samples=12", "--record"]
    done = subprocess.run([*words, "--out", str(out)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (out / "said").write_text(done.stdout)
    return RunFolder(out)


def test_accuracy_is_that_of_the_logits_that_the_server_wrote(folder: RunFolder):
    """Label by label, from the test part of the data set and the server's own files: edge 1 is dealt every other digit
    from the first on, edge 2 from the second. At 5 dB at least 3 of 4 are read, where chance gives 1 of 10."""
    labels = digits.split(1).test.labels
    result = read_result(folder)
    for user, measured in enumerate(result.metrics.users):
        own = labels[user : user + 24 : 2]
        logits = [folder.read_json(logits_name(measured.node, k))["logits"] for k in range(12)]
        right = np.argmax(logits, axis=1) == own
        assert [p.label for p in measured.pictures] == own.tolist()
        assert measured.accuracy == pytest.approx(np.mean(right))
        assert measured.accuracy >= 0.75 and measured.psnr_db is None and measured.ssim is None
        assert measured.single_user_accuracy is not None and measured.channel_uses == 12 * 8
    assert result.providers == dict.fromkeys(["server", "edge-1", "edge-2"], "cpu")


def test_no_node_is_told_a_label(folder: RunFolder):
    """Digits with one label and with another lie in the folder under names that say nothing, without any text in the
    files; the word stands in no node's configuration, and the server's summary holds what it read alone."""
    names = folder.names("data/edge-1")
    assert names == [f"data/edge-1/{k:04d}.png" for k in range(12)]
    assert all(b"tEXt" not in folder.read_bytes(name) for name in names)
    config = "".join(folder.read_text(name) for name in folder.names("nodes")) + folder.read_text(
        "received/server.json"
    )
    assert "label" not in config and '"read_as"' in config


def test_one_process_measures_the_same(folder: RunFolder):
    """The simulation, byte by byte."""
    scenario = open_scenario("digits", ["samples=12"], None, None)
    result = read_result(folder)
    simulated = simulate(scenario).metrics
    again = read_result(folder)
    again.metrics = simulated
    assert metrics_bytes(again) == metrics_bytes(result)


def test_table_and_page_show_accuracy(folder: RunFolder):
    output, page = folder.read_text("said"), folder.read_text("report.html")
    users = read_result(folder).metrics.users
    assert "accuracy %" in output and "PSNR" not in output.partition("report:")[0]
    shown = f"{100 * users[0].accuracy:.1f}"
    assert shown in output and f"<td>{shown}</td>" in page.replace(' class="number"', "")
    assert "are read as what they show" in page
    first = users[0].pictures[0]
    assert f"shows {first.label}, read as {first.read_as}" in page
    assert "Nothing arrived" not in page


def test_a_recorded_run_is_read_again_alike(folder: RunFolder, tmp_path: Path):
    """Logits and accuracy of the replay are those of the run, byte for byte."""
    status, words = replayed(folder.path, tmp_path / "replay")
    assert (status, "byte for byte" in words) == (0, True), words
    again = RunFolder(tmp_path / "replay")
    assert metrics_bytes(read_result(again)) == metrics_bytes(read_result(folder))
    for name in folder.names("received", "edge-*.json"):
        assert again.read_bytes(name) == folder.read_bytes(name)
