"""report.html: one page from whatever a run left."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from testbed.errors import DataError
from testbed.record.folder import RunFolder
from testbed.record.schema import Result, read_result, write_result
from testbed.report.loading import load
from testbed.report.make import make_hero, make_report
from testbed.report.words import finding, fixed
from tests.unit.report.html_page import Page
from tests.unit.report.synthetic_run import make_run


def page_of(folder: RunFolder) -> Page:
    """The report of a run, parsed; every tag closed in order."""
    return Page(make_report(folder.path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Page]:
    """A finished synthetic run with pictures of 214 x 320, and its report; read only."""
    folder = make_run(tmp_path_factory.mktemp("runs"), scale=2)
    return folder, page_of(folder)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished synthetic run with small pictures, to be changed."""
    return make_run(tmp_path, scale=8)


@pytest.fixture
def plain(run: RunFolder) -> RunFolder:
    """The same without arrays: quick to report."""
    run.file("figures/data.npz").unlink()
    return run


def test_report_holds_everything_and_fetches_nothing(reported: tuple[RunFolder, Page]):
    """Three states and details of each picture, seven figures, every address data: or #, no script."""
    run, page = reported
    images = page.attributes("img")
    assert len(images) == 2 * 3 * 2
    assert all(i["alt"] and i["src"].startswith("data:image/png;base64,") for i in images)
    assert len({i["src"] for i in images}) == len(images)
    assert len(page.attributes("svg")) == 7
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href", "data", "action", "srcset"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), value
    assert not page.attributes("script")
    assert not page.attributes("link")
    source = (run.path / "report.html").read_text()
    assert not re.search(r"@import|url\((?!#)", source)
    assert "Incomplete" not in page.text
    assert "Missing here" not in page.text


def test_report_says_the_numbers_of_the_run(reported: tuple[RunFolder, Page]):
    """PSNR of each user and of the mean MSE, the bound, seed, commit, command, versions: as in result.json."""
    run, page = reported
    result = read_result(run)
    mse = [10 ** (-u.psnr_db / 10) for u in result.metrics.users]
    assert f"{-10 * np.log10(np.mean(mse)):.1f}\u00a0dB PSNR" in page.text
    for user in result.metrics.users:
        assert f"{user.psnr_db:.1f}" in page.text
        assert f"{user.single_user_psnr_db:.1f}\u00a0dB\u00a0PSNR" in page.text
    for words in ("40 of 40", "c7f0e74d3b1a", result.command, "numpy 2.4.6", "\u221213\u202f402.7", "Es/N0"):
        assert words in page.text, words
    assert "snr_db = 20.0" in page.text


def test_figures_lie_beside_as_files(reported: tuple[RunFolder, Page]):
    """SVG for a paper, PNG for a README, and no partial file."""
    run, _ = reported
    assert len(run.names("figures", "*.svg")) == 7
    assert run.names("figures", "*.png") == ["figures/overview.png", "figures/pictures.png"]
    assert len(make_hero(run.path)) == run.file("figures/overview.png").stat().st_size <= 300_000
    assert not list(run.path.rglob("*.tmp"))


def test_incomplete_run_is_marked_with_its_reason(tmp_path: Path):
    """In the banner and in the title."""
    folder = make_run(tmp_path, scale=8, complete=False)
    folder.file("figures/data.npz").unlink()
    source = make_report(folder.path).read_text()
    assert 'class="banner bad"' in source
    assert "edge-2 was lost after 3.2 s" in source
    assert "(incomplete)" in re.search("<title>(.*)</title>", source)[1]


def test_warnings_stand_in_the_report(plain: RunFolder):
    """All of them, as text even if they look like HTML."""
    run = plain
    result = read_result(run)
    result.metrics.warnings = ["users differ by 300 Hz: expect interference at -24 dB", "<script>alert(1)</script>"]
    result.metrics.users[0].pictures[0].name = '"><img src=x onerror=alert(1)>.png'
    write_result(run, result)
    page = page_of(run)
    assert all(w in page.text for w in result.metrics.warnings)
    assert not page.attributes("script")
    assert all(i["src"].startswith("data:") for i in page.attributes("img"))


@pytest.mark.parametrize(
    "gone",
    [
        ["figures/data.npz"],
        ["result.json"],
        ["scenario.toml"],
        ["received/edge-2-000.png", "bound/edge-2-000.png"],
        ["sent/edge-1/000.png", "sent/edge-2/000.png"],
        ["result.json", "figures/data.npz"],
    ],
)
def test_whatever_is_missing_the_rest_is_shown_and_the_gap_named(run: RunFolder, gone: list[str]):
    """Every file is optional."""
    for name in gone:
        run.file(name).unlink()
    page = page_of(run)
    assert "Missing here" in page.text
    for name in gone:
        assert name in page.text
    left = sum(run.has(n) for u in (1, 2) for n in (f"received/edge-{u}-000.png", f"bound/edge-{u}-000.png"))
    left += sum(run.has(f"sent/edge-{u}/000.png") for u in (1, 2))
    assert len(page.attributes("img")) == left
    assert ("Incomplete run" in page.text) == ("result.json" in gone)
    assert (len(page.attributes("svg")) >= 6) == ("figures/data.npz" not in gone)


def test_run_that_ended_at_once_has_a_report(tmp_path: Path):
    """Nothing but a scenario and a reason."""
    folder = RunFolder.create(tmp_path, "two-users")
    write_result(folder, Result(scenario="two-users", seed=1, complete=False, reason="air was lost at the start"))
    page = page_of(folder)
    assert "ended before anything was measured" in page.text
    assert "air was lost at the start" in page.text
    with pytest.raises(DataError, match="no picture"):
        make_hero(folder.path)


def test_lost_user_counts_and_is_said(run: RunFolder):
    """No frame of a user read: dashes, not zeros; the picture says that it counts as mid-grey."""
    result = read_result(run)
    user = result.metrics.users[1]
    user.sinr_db_estimated = user.sinr_db_true = user.evm_percent = user.ssim = None
    user.frames_detected = 0
    write_result(run, result)
    run.file("received/edge-2-000.png").unlink()
    data = run.read_npz("figures/data.npz")
    data["rx_u1"] = data["rx_u1"] * np.nan
    data["no_eff_u1"][:] = np.inf
    data["sinr_est_db"][:, 1] = data["sinr_true_db"][:, 1] = np.nan
    run.write_npz("figures/data.npz", **data)
    page = page_of(run)
    assert "counts as mid-grey" in page.text
    assert "0 of 40" in page.text
    assert len(page.attributes("svg")) == 7


def test_arrays_that_do_not_fit_cost_one_figure(run: RunFolder):
    """The page is made, without the figure, and says so."""
    data = run.read_npz("figures/data.npz")
    data["channel_time_s"] = data["channel_time_s"][:-3]
    run.write_npz("figures/data.npz", **data)
    page = page_of(run)
    assert len(page.attributes("svg")) == 6
    assert "“Channel over time and frequency”: its data do not fit together" in page.text


def test_many_pictures_stay_within_the_page(plain: RunFolder, monkeypatch: pytest.MonkeyPatch):
    """Beyond the limit each user's first is shown and the rest counted."""
    monkeypatch.setattr("testbed.report.make.PAGE_BYTES", 1)
    run = plain
    result = read_result(run)
    for user in result.metrics.users:
        user.pictures *= 3
        for kind in ("sent", "received", "bound"):
            dash = "/" if kind == "sent" else "-"
            for k in (1, 2):
                run.write_bytes(
                    f"{kind}/{user.node}{dash}00{k}.png", run.read_bytes(f"{kind}/{user.node}{dash}000.png")
                )
    write_result(run, result)
    page = page_of(run)
    assert len(page.attributes("img")) == 6
    assert "4 more pictures" in page.text


def test_folder_that_is_no_run_is_refused(tmp_path: Path):
    """In one line that names it."""
    with pytest.raises(DataError, match="no run folder"):
        make_report(tmp_path)
    with pytest.raises(DataError, match="no such run folder"):
        make_report(tmp_path / "nowhere")


def test_finding_is_a_sentence_for_one_user_and_for_many(run: RunFolder):
    """Number, verb and side agree."""
    record = load(run)
    assert re.fullmatch(
        r"Two pictures sent at the same time on the same 72 subcarriers arrive with [\d.]+\u00a0dB PSNR, "
        r"[\d.]+\u00a0dB below what each user would reach alone over a known channel\.",
        finding(record),
    )
    del record.result.metrics.users[1]
    record.users[0].psnr_db, record.users[0].single_user_psnr_db = 30.04, 30.0
    words = "One picture sent by one user arrives with 30.0\u00a0dB PSNR, as it would alone over a known channel."
    assert finding(record) == words
    record.users[0].psnr_db = None
    assert "could not be measured" in finding(record)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-0.04, "0.0"), (-1.25, "\u22121.2"), (1234567.0, "1\u202f234\u202f567.0")]
)
def test_numbers_are_set_properly(value: float | None, text: str):
    """A minus is a minus, thousands stand apart, zero has no sign, nothing is a dash."""
    assert fixed(value) == text


def test_finding_says_when_nothing_arrived(run: RunFolder):
    """Mid-grey pictures have a PSNR, too; no sentence may call that an arrival."""
    record = load(run)
    assert "nothing arrived" not in finding(record)
    for user in record.users:
        user.frames_detected = 0
    assert "nothing arrived, no frame was found; all of it counts as mid-grey" in finding(record)
    assert " arrive with" not in finding(record)
