"""`semtb eval fading`: estimators on the same frames, what is stated of them, and the figure."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from testbed.experiments.learn import fading, fading_command
from testbed.experiments.learn.fading import Errors, FadingTask, cells_of
from testbed.experiments.sweep.axes import Point
from testbed.phy.waveform import Waveform
from testbed.report.fading import beside, losses


def point(draw: int, doppler_hz: float = 300.0) -> Point:
    return Point({"channel": "TDL-C", "spread_ns": 300.0, "doppler_hz": doppler_hz, "draw": draw})


def test_a_frame_of_pictures_comes_through_the_chain():
    """At 300 Hz and 20 dB over three draws LMMSE decodes above 25 dB, over 0.5 dB above LS and 3 dB above the network,
    which never saw such fading; the same point gives the same errors.
    """
    task = FadingTask(Waveform(), ("ls", "lmmse", "dnn"), [20.0], 1)
    found = [task(point(draw)) for draw in range(3)]
    assert task(point(0)) == found[0] != found[1]
    psnr_db = {name: -10 * np.log10(np.mean([e.mse[name] for e in found])) for name in task.estimators}
    assert psnr_db["lmmse"] > 25
    assert psnr_db["lmmse"] > psnr_db["ls"] + 0.5
    assert psnr_db["lmmse"] > psnr_db["dnn"] + 3


def test_cells_state_means_without_lost_frames():
    """Errors in known ratios and a lost frame that would upset them: PSNR, loss and gain in closed form."""
    rng = np.random.default_rng(3)
    base = rng.uniform(0.5, 1.5, (6, 1))
    base /= np.exp(np.log(base[:5]).mean())
    errors = []
    for draw in range(6):
        lost = draw == 5
        mse = {"ls": 0.04, "lmmse": 0.01, "dnn": 0.02}
        errors.append(
            Errors(
                {n: [float(m * base[draw, 0]) * (1e3 if lost and n == "lmmse" else 1)] for n, m in mse.items()}, [lost]
            )
        )
    (cell,) = cells_of([point(d).at for d in range(6)], errors, [10.0], seed=1)
    assert cell["best"] == "lmmse" and cell["frames_lost"] == 1
    assert cell["psnr_db"] == pytest.approx({"ls": 13.979, "lmmse": 20.0, "dnn": 16.99}, abs=1e-3)
    assert cell["below_best_db"] == pytest.approx({"ls": 6.021, "lmmse": 0.0, "dnn": 3.01}, abs=1e-3)
    assert cell["above_ls_db"] == pytest.approx({"ls": 0.0, "lmmse": 6.021, "dnn": 3.01}, abs=1e-3)
    for name, (low, high) in cell["below_best_ci95_db"].items():
        assert low == pytest.approx(high, abs=1e-3), name  # one ratio in every draw: nothing is uncertain


def test_an_evaluation_leaves_a_result_file_and_its_figure(tmp_path, monkeypatch, capsys):
    """One channel, two Doppler shifts, two draws: files, table and a figure with a panel for each estimator."""
    monkeypatch.setattr(fading, "CHANNELS", ("TDL-C",))
    monkeypatch.setattr(fading, "SPREADS_NS", (300.0,))
    monkeypatch.setattr(fading, "DOPPLERS_HZ", (0.0, 300.0))
    monkeypatch.setattr("sys.argv", ["semtb", "eval", "fading"])
    paths = tmp_path / "psnr.json", tmp_path / "psnr.svg"
    fading_command.eval_fading([20.0], 2, 1, 1, *paths)
    result = json.loads(paths[0].read_text())
    assert result["command"] == "semtb eval fading"
    assert result["results"]["default"] == "lmmse"
    quick = result["results"]["cells"][-1]
    assert quick["doppler_hz"] == 300 and quick["best"] == "lmmse" and quick["above_ls_db"]["lmmse"] > 0
    drawn = losses(result["results"])
    assert drawn == paths[1].read_text()
    assert len(re.findall(r"<g id=\"axes_", drawn)) == 6
    assert "lmmse (default)" in capsys.readouterr().out


def test_dots_of_one_shift_stand_beside_each_other():
    np.testing.assert_allclose(beside([0, 1, 0, 0]), [-0.35, 1.0, 0.0, 0.35])


def test_the_committed_figure_keeps_what_it_shows():
    """docs/results/estimator-psnr.json: the default nowhere below LS, within 0.2 dB of the best as far as draws
    tell; ends of the ranges."""
    results = json.loads((Path(__file__).parents[3] / "docs/results/estimator-psnr.json").read_text())["results"]
    default, axes = results["default"], results["axes"]
    assert axes["channel"] == [f"TDL-{letter}" for letter in "ABCDE"]
    assert (min(axes["spread_ns"]), max(axes["spread_ns"])) == (30, 450)
    assert (min(axes["doppler_hz"]), max(axes["doppler_hz"])) == (0, 300)
    assert {cell["snr_db"] for cell in results["cells"]} >= {-5, 25}
    below = np.array([cell["below_best_db"][default] for cell in results["cells"]])
    surely = np.array([cell["below_best_ci95_db"][default][0] for cell in results["cells"]])
    assert surely.max() <= 0.2 and below.max() <= 0.25  # some of 700 means of 24 draws lie beyond by chance
    assert np.mean(below > 0.2) <= 0.01
    assert min(cell["above_ls_db"][default] for cell in results["cells"]) >= 0
