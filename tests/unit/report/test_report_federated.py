"""report.html of a federated run: the numbers of its result.json, whatever of them is there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from testbed.data.partition import Labelled
from testbed.errors import DataError
from testbed.experiments.federate.detail import SAMPLES, confusion, keep_samples, standard_error
from testbed.experiments.run import report
from testbed.record.federated import Client, read_federated
from testbed.record.folder import RESULT, RunFolder
from testbed.report.federated_words import epsilon
from testbed.report.make import make_report
from tests.unit.report.html_page import Page
from tests.unit.report.synthetic_federated import LINKS, TEST, make_cut_off, make_federated
from tests.unit.report.synthetic_run import make_run


def page_of(folder: RunFolder) -> Page:
    return Page(make_report(folder.path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Page]:
    """A finished one and its report; read only."""
    folder = make_federated(tmp_path_factory.mktemp("runs"))
    return folder, page_of(folder)


def test_page_says_the_numbers_of_the_result(reported: tuple[RunFolder, Page]):
    """Finding, promise, comparisons, edges, rounds, provenance; epsilon is rounded up, never down."""
    folder, page = reported
    text = re.sub(r"\s+", " ", page.text.replace("\u00a0", " "))
    finding = "Four edges teach one classifier that names 92.3 % of the test pictures right, with ε = 3.18 at δ = 1e-5"
    assert finding in text
    assert "(add or remove one record of one client); not private: FedAvg 81.9 %, the best client alone 27.4 %." in text
    error = read_federated(folder).standard_error
    assert error is not None
    for words in (
        f"standard error {100 * error:.1f} points",
        "releases; 1 refused by an edge's own ledger7 ",
        "All records in one place98.46.098.0",
        "edge-2Rayleigh9.2401 (17), 8 (23)20003.18",
        "edge-4Rayleigh15.8403 (17), 6 (23)11002.15",
        "188.188.02.154000",
        "3.5 allowed to each edge; 3.18 spent",
        "1, of a release of 4 000 values",
        "standard deviation 1.8727 times the sensitivity",
        "operating system's entropy",
        "each edge trusts itself alone",
        "Not private: fedavg and the others see everything",
        "semtb federate digits --epsilon 3.5 --seed 3",
        "c7f0e74d3b1a",
        "dp-accounting 0.6.0",
        "44.6 s",
    ):
        assert words in text, words
    for gone in ("Incomplete", "Missing here", "Warning"):
        assert gone not in text


def test_page_fetches_nothing_and_has_the_policy_of_a_runs(reported: tuple[RunFolder, Page], tmp_path: Path):
    """Pictures and figures stand inside it; the head, and with it the policy, is that of a run's page."""
    folder, page = reported
    images = page.attributes("img")
    assert len(images) == SAMPLES
    assert all(i["alt"] and i["src"].startswith("data:image/png;base64,") for i in images)
    assert len(page.attributes("svg")) == 3
    assert folder.names("figures", "*.svg") == [f"figures/{n}.svg" for n in ("confusion", "rounds", "split")]
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), value
    assert not page.attributes("script") and not page.attributes("link")
    run = make_run(tmp_path, scale=8)
    run.file("figures/data.npz").unlink()
    assert page.attributes("meta") == page_of(run).attributes("meta")
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in page.attributes("meta"))


def test_run_that_was_cut_off_says_why_and_what_is_spent(tmp_path: Path):
    """Nothing but a reason, as text; then with what lies on the ledgers."""
    bare = page_of(make_cut_off(tmp_path, reason="edge-3 was lost <script>alert(1)</script>"))
    assert "Incomplete run." in bare.text
    assert "edge-3 was lost <script>alert(1)</script>" in bare.text
    assert not bare.attributes("script") and not bare.attributes("svg")
    assert "ended before it was measured" in bare.text
    shared = {"channel": "AWGN", "snr_db": 6.0, "labels": [40] * 10, "refused": 0}
    clients = [Client(name=f"edge-{i}", releases=i, epsilon=1.1 * i, **shared) for i in range(3)]
    source = make_report(make_cut_off(tmp_path, clients=clients, noise_multiplier=1.9).path).read_text()
    assert "(incomplete)" in re.search("<title>(.*)</title>", source)[1]  # type: ignore[index]
    tiles = re.findall(r"<dt>(.*?)</dt><dd>(.*?) <small>", source)
    assert tiles == [("releases on the ledgers of all edges", "3"), ("ε spent, largest of all edges", "2.20")]
    assert "is spent all the same" in source


def test_without_noise_nothing_is_promised(tmp_path: Path):
    page = page_of(make_federated(tmp_path, epsilon=None, epsilon_allowed=None, noise="none", noise_multiplier=0.0))
    assert "No noise was added: nothing is promised to anybody." in page.text
    assert "without any promise of privacy" in page.text
    assert "no bound: no noise was added" in page.text
    assert "ε spent, δ" not in page.text


def test_seeded_noise_is_a_warning(tmp_path: Path):
    page = page_of(make_federated(tmp_path, noise_seed=7, noise="seeded (7): repeatable"))
    assert "holds only against those who do not know it" in page.text


def test_result_of_an_earlier_version_costs_what_it_lacks(tmp_path: Path):
    """No edges, confusions, samples, conventions: the rest is shown, the gaps are named."""
    folder = make_federated(tmp_path)
    result = folder.read_json(RESULT)
    for key in ("clients", "confusion", "samples", "standard_error", "sensitivity", "symbols", "conventions"):
        del result[key]
    folder.write_json(RESULT, result)
    page = page_of(folder)
    assert len(page.attributes("svg")) == 1
    assert "Missing here" in page.text and "“Who holds which classes”" in page.text
    assert "92.3" in page.text


def test_damage_costs_one_figure_or_picture_and_is_named(tmp_path: Path):
    folder = make_federated(tmp_path, confusion=[[1, 2], [3]])
    folder.file("sample/003.png").unlink()
    page = page_of(folder)
    assert len(page.attributes("svg")) == 2
    assert len(page.attributes("img")) == SAMPLES - 1
    assert "“Which class is taken for which”: its data do not fit together" in page.text
    assert "sample/003.png" in page.text


@pytest.mark.parametrize("content", [b"[1, 2]", b'{"name": "psnr", "results": {}}', b"null"])
def test_folder_of_neither_kind_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / RESULT).write_bytes(content)
    with pytest.raises(DataError, match=r"result\.json: neither .*semtb run.*semtb federate"):
        make_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_semtb_report_draws_a_federated_folder_and_refuses_a_foreign_one(tmp_path: Path, capsys):
    folder = make_federated(tmp_path)
    report(folder.path, Console())
    assert f"report: {folder.path}/report.html" in capsys.readouterr().out
    assert folder.has("report.html")
    (tmp_path / RESULT).write_text("{}")
    with pytest.raises(DataError, match="neither"):
        report(tmp_path, Console())


def test_damaged_result_is_refused_by_name(tmp_path: Path):
    folder = make_federated(tmp_path, accuracy="high")
    with pytest.raises(DataError, match=r"result\.json: not the result of a federated run: .*accuracy"):
        make_report(folder.path)


def test_details_count_what_was_said(tmp_path: Path):
    """By hand: two links, three pictures, one of them wrong over one link, one over both. The sample is the first."""
    labels = np.array([2, 2, 7])
    predictions = np.array([[2, 1, 7], [2, 1, 9]])
    counts = np.array(confusion(predictions, labels, 10))
    assert {(i, j): counts[i, j] for i, j in np.argwhere(counts)} == {(2, 2): 2, (2, 1): 2, (7, 7): 1, (7, 9): 1}
    assert standard_error(predictions, labels) == pytest.approx(np.std([1, 0, 0.5], ddof=1) / np.sqrt(3))
    pictures = np.zeros((3, 64), np.float32)
    pictures[0, 5] = 1.0
    folder = RunFolder.create(tmp_path, "federate-digits")
    kept = keep_samples(predictions, Labelled(pictures, labels), 8, folder)
    assert [(s.label, s.predictions) for s in kept] == [(2, [2, 2]), (2, [1, 1]), (7, [7, 9])]
    drawn = folder.read_png(kept[0].file)[..., 0]
    assert drawn.shape == (8, 8) and drawn[0, 5] == 0 and (drawn == 255).sum() == 63


def test_confusions_and_sample_of_the_synthetic_run_cover_every_decision(reported: tuple[RunFolder, Page]):
    """So that the numbers above are those of a whole test part."""
    result = read_federated(reported[0])
    assert np.sum(result.confusion) == LINKS * TEST
    assert all(len(sample.predictions) == LINKS for sample in result.samples)


@pytest.mark.parametrize(("value", "text"), [(3.999821, "4.00"), (3.1701, "3.18"), (4.0 + 4e-9, "4.00"), (0.0, "0.00")])
def test_epsilon_is_rounded_up(value: float, text: str):
    """It is an upper bound; what calibration leaves beyond it is not worth a cent."""
    assert epsilon(value) == text
    assert epsilon(None) == "no bound"
