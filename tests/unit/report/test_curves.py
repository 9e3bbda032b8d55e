"""Curves are drawn from result files, and a file that is none is named."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from testbed.errors import DataError
from testbed.report.curves import psnr_against_snr, read_curve


def write(path, **results):
    path.write_text(json.dumps({"name": path.stem, "task": "cifar10", "results": results}))
    return path


def test_files_become_one_figure(tmp_path):
    """Ours with intervals, a quoted one without, and a missing point: well-formed SVG."""
    ours = write(tmp_path / "ours.json", snr_db=[0, 10], psnr_db=[22.0, 30.0], ci95=[0.1, 0.1])
    gaps = write(tmp_path / "gaps.json", snr_db=[0, 5, 10], psnr_db=[21.0, None, 29.0])
    svg = psnr_against_snr([read_curve(ours), read_curve(gaps)])
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert svg != psnr_against_snr([read_curve(ours)])


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', '{"name": "x", "results": {"snr_db": [1]}}'])
def test_what_is_no_result_file_is_named(tmp_path, text):
    """Empty, another type, without results, without PSNR."""
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"odd\.json"):
        read_curve(path)


def test_lists_of_different_length_are_refused(tmp_path):
    """Two SNRs for one PSNR."""
    with pytest.raises(DataError, match="one for each"):
        read_curve(write(tmp_path / "short.json", snr_db=[0, 10], psnr_db=[22.0]))
