"""Figures: that each draws what it was given. Numbers behind a figure are checked, not its ink."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from testbed.record.schema import Stage
from testbed.report import drawing, figures, pictures, symbols
from tests.unit.report.synthetic_run import complex_normal, figure_data

NAMES = ("edge-1", "edge-2")


def size_of(svg: str) -> tuple[float, float]:
    """Width and height of an SVG document that parses."""
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    return tuple(float(v) for v in root.attrib["viewBox"].split()[2:])  # type: ignore[return-value]


def every_figure(data: dict[str, np.ndarray]) -> dict[str, str]:
    """All figures of one set of arrays."""
    tx, rx, no = ([data[f"{k}_u{u}"] for u in range(2)] for k in ("tx", "rx", "no_eff"))
    stage = Stage(count=3, p50_ms=0.0, p95_ms=2.0, p99_ms=3.0, total_s=1.0)
    return {
        "constellation": symbols.constellation(tx, rx, NAMES),
        "error": symbols.error_by_effective_noise(tx, rx, no, NAMES),
        "levels": symbols.effective_snr(no, NAMES),
        "channel": figures.channel(data["channel_db"], data["channel_time_s"], data["channel_freq_hz"], NAMES),
        "spectrum": figures.spectrum(data["spectrum_iq"], 1.92e6, 1.095e6),
        "sinr": figures.sinr_over_frames(data["frame_time_s"], data["sinr_est_db"], data["sinr_true_db"], NAMES),
        "stages": figures.stage_times({"sync": stage, "decode": stage}),
    }


def test_every_figure_is_one_column_wide_and_the_same_each_time(rng: np.random.Generator):
    """Well-formed SVG, 5.2 inches, no date inside, no address outside, below 300 kB."""
    data = figure_data(rng)
    first, again = every_figure(data), every_figure(data)
    for key, svg in first.items():
        assert size_of(svg)[0] == pytest.approx(72 * drawing.WIDTH_IN, abs=0.1), key
        assert svg == again[key]
        assert len(svg) < 300_000
        assert not re.search(r'(href|src)="(?!#|data:)', svg)


def test_figures_are_drawn_from_little_and_odd_data():
    """One symbol, one frame, one pilot, lost symbols, NaN, a flat channel: drawn, without a warning."""
    one, none = np.ones(1, np.complex64), np.zeros(0, np.complex64)
    infinite = np.full(1, np.inf, np.float32)
    nan = np.full((1, 2), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for svg in (
            symbols.constellation([one, none], [np.full(1, np.nan, np.complex64), none], NAMES),
            symbols.error_by_effective_noise([one, none], [one, none], [infinite, infinite[:0]], NAMES),
            symbols.effective_snr([infinite, np.zeros(3, np.float32)], NAMES),
            symbols.effective_snr([infinite], NAMES),
            figures.channel(np.zeros((1, 72, 1, 1), np.float32), np.zeros(1), np.arange(72.0), NAMES),
            figures.spectrum(np.zeros((1, 10), np.complex64), 1.92e6),
            figures.sinr_over_frames(np.zeros(1), nan, nan, NAMES),
        ):
            size_of(svg)


def test_error_figure_separates_a_right_report_from_a_wrong_one(rng: np.random.Generator):
    """1e5 symbols with known noise: measured equals reported within 0.3 dB; reported 3 dB too low shows as 3 dB."""
    x, n = complex_normal(rng, 100_000), complex_normal(rng, 100_000)
    no = (10 ** (-rng.uniform(0, 20, x.size) / 10)).astype(np.float32)
    rx = (x + np.sqrt(no) * n).astype(np.complex64)
    reported, measured = symbols.calibration(x, rx, no)
    assert reported.size == symbols.NOISE_BINS
    np.testing.assert_allclose(measured, reported, atol=0.3)
    reported, measured = symbols.calibration(x, rx, no / 2)
    np.testing.assert_allclose(reported - measured, 10 * np.log10(2), atol=0.3)


def test_channel_map_stays_empty_where_a_frame_was_lost():
    """Pilots every 0.525 ms with a hole of ten: columns in the hole point nowhere, all others to the nearest pilot."""
    given = np.delete(np.arange(100), np.arange(40, 50)) * 0.525e-3
    times, pick = figures.even_times(given)
    hole = (times > given[39] + 0.525e-3) & (times < given[40] - 0.525e-3)
    assert (pick[hole] == -1).all()
    assert hole.sum() > 10
    seen = pick >= 0
    assert np.abs(times[seen] - given[pick[seen]]).max() <= 0.525e-3
    assert set(pick[seen]) == set(range(given.size))
    assert (pick >= 0).mean() == pytest.approx(0.91, abs=0.02)


def test_channel_map_takes_unsorted_pilots():
    """Order of frames must not matter."""
    given = np.array([3.0, 1.0, 2.0])
    times, pick = figures.even_times(given)
    assert pick[0] == 1
    assert pick[-1] == 0
    assert (np.diff(times) > 0).all()


def test_inline_figures_share_no_ids_and_take_the_page_s_colours(rng: np.random.Generator):
    """Two figures in one page: every reference resolves within its own figure, and no known colour is left fixed."""
    drawn = every_figure(figure_data(rng))
    ids: set[str] = set()
    for key, svg in drawn.items():
        element = drawing.inline(svg, key)
        size_of(element)
        own = set(re.findall(r'\bid="([^"]+)"', element))
        assert not own & ids
        ids |= own
        assert set(re.findall(r'href="#([^"]+)"', element)) | set(re.findall(r"url\(#([^)]+)\)", element)) <= own
        assert not re.search(rf"(fill|stroke): ({drawing.INK}|{drawing.PAPER}|{drawing.USER_COLOURS[0]})", element)
        assert "<style" not in element
        assert "purl.org" not in element


def test_detail_lies_where_the_original_is_rich(rng: np.random.Generator):
    """A grey picture with one patch of noise: the part lies upon it and inside the picture, also at the corner."""
    for top, left in ((0, 0), (100, 60), (136, 172)):
        picture = np.full((200, 300, 3), 128, np.uint8)
        picture[top : top + 64, left : left + 128] = rng.integers(0, 256, (64, 128, 3))
        y, x, height, width = pictures.detail(picture)
        assert (height, width) == (64, 128)
        assert abs(y - top) <= 8
        assert abs(x - left) <= 8
        assert 0 <= y <= 200 - height
        assert 0 <= x <= 300 - width
    assert pictures.detail(np.zeros((20, 30, 3), np.uint8))[2:] == (20, 30)


def test_overview_is_small_whatever_the_pictures(rng: np.random.Generator):
    """Noise is what PNG compresses worst: still at most 300 kB. Paper stays white and users keep their colours."""
    noise = [rng.integers(0, 256, (427, 640, 3), dtype=np.uint8) for _ in range(4)]
    shown = [
        pictures.Comparison(node=n, user=u, name="x", sent=noise[u], received=noise[u + 2], psnr_db=30.0)
        for u, n in enumerate(NAMES)
    ]
    data = pictures.overview(shown, complex_normal(rng, 2, 20_000), 1.92e6)
    assert len(data) <= pictures.OVERVIEW_BYTES
    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (image[0] == 255).all()
    for colour in drawing.USER_COLOURS[:2]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (image == wanted).all(axis=2).any()


def test_comparison_shows_what_is_missing_and_any_file_name():
    """No reconstruction, no bound, names with dollars or letters that the font lacks: neither error nor warning."""
    grey = np.full((32, 32, 3), 90, np.uint8)
    rows = [
        pictures.Comparison(node="edge-1", user=0, name="a$b^$_{.png", sent=grey),
        pictures.Comparison(node="edge-2", user=1, name="图.png"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = Image.open(io.BytesIO(pictures.comparison(rows)))
    assert image.format == "PNG"


def test_drawing_leaves_no_global_state(rng: np.random.Generator):
    """No pyplot, and matplotlib's settings as they were, also after an error."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    symbols.effective_snr([rng.uniform(size=9)], NAMES)
    with pytest.raises(ZeroDivisionError), drawing.Sheet():
        raise ZeroDivisionError
    assert dict(mpl.rcParams) == before
