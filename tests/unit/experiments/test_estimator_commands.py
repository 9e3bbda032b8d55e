"""`semtb eval estimator`, `semtb train estimator`, and the network in a whole run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from server.estimation.card import read_card
from testbed.experiments.learn import estimator as estimator_commands
from testbed.experiments.learn.scores import ratio_db
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate


@pytest.mark.parametrize("seed", [1, 2])
def test_a_run_with_the_network_is_not_worse(seed):
    """two-users, small pictures: mean PSNR at most 0.1 dB below that with LMMSE, SINR above it; all frames received."""

    def figures(estimator: str) -> tuple[float, float, int]:
        opened = open_scenario("two-users", [f"server.estimator={estimator}", "max_pixels=40000"], seed, None)
        users = simulate(opened).metrics.users
        psnr_db = np.mean([u.psnr_db for u in users if u.psnr_db is not None])
        sinr_db = np.mean([u.sinr_db_true for u in users if u.sinr_db_true is not None])
        return float(psnr_db), float(sinr_db), sum(u.frames_detected for u in users)

    ours, usual = figures("dnn"), figures("lmmse")
    assert ours[0] > usual[0] - 0.1
    assert ours[1] > usual[1]
    assert ours[2] == usual[2] > 0


def test_an_evaluation_leaves_a_result_file_and_its_figure(tmp_path, monkeypatch, capsys):
    """Four frames: every channel, estimator and SNR stated with its interval, and a figure of them."""
    paths = tmp_path / "nmse.json", tmp_path / "nmse.svg"
    monkeypatch.setattr("sys.argv", ["semtb", "eval", "estimator"])
    estimator_commands.eval_estimator("dnn", [0.0, 20.0], 4, 1, "ota", 100.0, 5.0, *paths)
    result = json.loads(paths[0].read_text())
    assert result["command"] == "semtb eval estimator"
    assert result["conventions"]["delay_spread"] == "100 ns"
    assert list(result["results"]["channels"]) == ["TDL-A", "TDL-B", "TDL-C"]
    for found in result["results"]["channels"].values():
        assert list(found["nmse_db"]) == ["ls", "lmmse", "lmmse-estimated", "dnn", "lmmse-true"]
        for name, values in found["nmse_db"].items():
            for value, (low, high) in zip(values, found["ci95_db"][name], strict=True):
                assert low <= value <= high
            assert values[1] < values[0] - 10
    assert paths[1].read_text().startswith("<?xml")
    assert "TDL-C" in capsys.readouterr().out


def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    """Ratios of exponential means, 60 frames, 200 draws: 95 % intervals hold 0 dB in 89 to 99 % of them."""
    held = 0
    for _ in range(100):
        top, bottom = rng.exponential(1.0, (2, 60, 2))
        _, interval = ratio_db(top, bottom, np.zeros((60, 2), bool), int(rng.integers(2**31)))
        held += int(np.sum((interval[:, 0] < 0) & (interval[:, 1] > 0)))
    assert 178 <= held <= 198


def test_lost_frames_do_not_count():
    top, bottom = np.ones((5, 1)), np.ones((5, 1))
    top[3] = 1e6
    lost = np.zeros((5, 1), bool)
    lost[3] = True
    assert ratio_db(top, bottom, lost, 1)[0] == pytest.approx(0.0)


@pytest.mark.needs("torch")
def test_a_training_leaves_a_network_that_runs(tmp_path, monkeypatch):
    """One epoch of one block: ONNX and card in the folder, measured, and taken up again without training anew."""
    monkeypatch.setattr(estimator_commands, "CARD_FRAMES", 2)
    monkeypatch.setattr("sys.argv", ["semtb", "train", "estimator"])
    estimator_commands.train_estimator(tmp_path, None, 1, 4, 7, 1)
    card, _ = read_card(tmp_path / "dnn.json")
    assert card.recipe["seed"] == 7 and card.nmse is not None and card.nmse.frames == 2
    assert all(values[-1] < -20 for values in card.nmse.nmse_db.values())
    estimator_commands.train_estimator(tmp_path, tmp_path / "again", 1, 4, 7, 1)
    assert read_card(tmp_path / "again" / "dnn.json")[0].sha256 == card.sha256
