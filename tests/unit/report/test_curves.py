"""Curves are drawn from result files, and a file that is none is named."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest

from testbed.errors import DataError
from testbed.report.curves import psnr_figure, read_curves

SNRS, ESTIMATORS, DOPPLERS = [0, 10, 20], ["ls", "lmmse"], [0.0, 200.0]


def write(path, **results):
    path.write_text(json.dumps({"name": path.stem, "task": "cifar10", "results": results}))
    return path


@pytest.fixture
def sweep(tmp_path):
    """Three axes and the seed; PSNR tells the cell: 100 * SNR's index + 10 * estimator's + Doppler's."""
    cells = [
        {
            "air.snr_db": snr,
            "server.estimator": estimator,
            "air.doppler_hz": doppler,
            "psnr_db": 100 * i + 10 * j + k,
            "psnr_db_ci95": None if snr == 0 else 0.5,
            "single_user_psnr_db": 1000 + i,
        }
        for i, snr in enumerate(SNRS)
        for j, estimator in enumerate(ESTIMATORS)
        for k, doppler in enumerate(DOPPLERS)
    ]
    axes = {"air.snr_db": SNRS, "server.estimator": ESTIMATORS, "air.doppler_hz": DOPPLERS, "seed": [1, 2]}
    return write(tmp_path / "sweep.json", axes=axes, cells=cells)


def test_files_become_one_figure(tmp_path):
    """Ours with intervals, a quoted one without, and a missing point: well-formed SVG."""
    ours = write(tmp_path / "ours.json", snr_db=[0, 10], psnr_db=[22.0, 30.0], ci95=[0.1, 0.1])
    gaps = write(tmp_path / "gaps.json", snr_db=[0, 5, 10], psnr_db=[21.0, None, 29.0])
    svg = psnr_figure([read_curves(ours), read_curves(gaps)])
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg != psnr_figure([read_curves(ours)])


def test_a_sweep_is_drawn_against_any_of_its_axes(sweep):
    """Each point lands on its line, in its panel, over its value; the bound and the interval go with it."""
    curves = read_curves(sweep)
    assert (curves.axis, len(curves.lines)) == ("air.snr_db", 4)
    (line,) = [x for x in curves.lines if x.name == "lmmse" and x.panel == "doppler_hz 200"]
    assert (line.x, line.psnr_db, line.bound_db) == ([0, 10, 20], [11, 111, 211], [1000, 1001, 1002])
    assert math.isnan(line.ci95_db[0]) and line.ci95_db[1:] == [0.5, 0.5]
    curves = read_curves(sweep, "air.doppler_hz")
    (line,) = [x for x in curves.lines if x.name == "10" and x.panel == "estimator ls"]
    assert (line.x, line.psnr_db) == ([0.0, 200.0], [100, 101])
    curves = read_curves(sweep, "server.estimator", ["air.snr_db=20", "air.doppler_hz=0"])
    (line,) = curves.lines
    assert (line.x, line.psnr_db, line.panel) == (["ls", "lmmse"], [200, 210], "")


def test_the_bound_is_drawn_and_named(sweep):
    """With a bound: another figure than without, and panels as many as the third axis has values."""
    curves = read_curves(sweep)
    with_bound = psnr_figure([curves])
    ElementTree.fromstring(with_bound)
    for line in curves.lines:
        line.bound_db = []
    assert psnr_figure([curves]) != with_bound
    assert len(psnr_figure([read_curves(sweep, where=["air.doppler_hz=0"])])) < len(with_bound)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("air.channel",), "it has air.snr_db, server.estimator, air.doppler_hz"),
        ((None, ["air.snr_db=7"]), "nothing has air.snr_db=7"),
        ((None, ["air.channel=x"]), "not an axis"),
    ],
)
def test_an_axis_or_value_that_is_not_there_is_named(sweep, arguments, says):
    with pytest.raises(DataError, match=says):
        read_curves(sweep, *arguments)


def test_files_over_different_axes_do_not_share_a_figure(sweep, tmp_path):
    ours = write(tmp_path / "ours.json", snr_db=[0, 10], psnr_db=[22.0, 30.0])
    with pytest.raises(DataError, match="--against"):
        psnr_figure([read_curves(sweep, "air.doppler_hz"), read_curves(ours)])
    psnr_figure([read_curves(sweep), read_curves(ours)])


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"name": "x"}', '{"name": "x", "results": {"snr_db": [1]}}', '{"name": "x", "results": {"cells": 3}}'],
)
def test_what_is_no_result_file_is_named(tmp_path, text):
    """Empty, another type, without results, without PSNR, with cells that are none."""
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"odd\.json"):
        read_curves(path)


def test_lists_of_different_length_are_refused(tmp_path):
    """Two SNRs for one PSNR."""
    with pytest.raises(DataError, match="one for each"):
        read_curves(write(tmp_path / "short.json", snr_db=[0, 10], psnr_db=[22.0]))
