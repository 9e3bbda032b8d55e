"""The registry of estimators: one from outside through the receiver, and what each says that it was not made for."""

from __future__ import annotations

import numpy as np
import pytest

from server.estimation import ESTIMATORS, Assuming, Assumptions, ChannelEstimate, Fading, find_estimator
from server.estimation.ls import ls
from server.estimation.subspaces import symbol_seconds
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.simulate import simulate
from testbed.phy.waveform import Waveform

SLOW, QUICK = Fading(100e-9, 5.0), Fading(100e-9, 400.0)


def still(grid: np.ndarray, waveform: Waveform) -> ChannelEstimate:
    """A channel that only turns by each user's offset: the mean of what LS finds at all symbols."""
    found = ls(grid, waveform)
    turn = np.exp(2j * np.pi * symbol_seconds(waveform)[:, None, None, None] * found.user_cfo_hz)  # [S, 1, 1, U]
    h_hat = turn * np.mean(found.h_hat * turn.conj(), axis=0)
    error = found.error_variance / np.float32(len(waveform.pilot_symbols))
    return ChannelEstimate(h_hat.astype(np.complex64), error, found.no, found.user_cfo_hz)


def make_still(waveform: Waveform, antennas: int) -> Assuming:
    return Assuming("still", still, Assumptions(doppler_hz=(0.0, 1.0)), waveform, antennas)


class EntryPoint:
    """What a distribution declares under `semtb.estimators`."""

    name = "still"

    def load(self):
        return make_still


def test_an_estimator_from_outside_receives_pictures(monkeypatch):
    """Found as an entry point, named by a scenario: SINR 1 dB above that of LS over a channel that holds still; over
    one that moves it falls by more than 3 dB, and the result says why.
    """
    monkeypatch.setattr("server.estimation.entry_points", lambda group: [EntryPoint()])

    def measured(name: str, doppler_hz: float) -> tuple[float, list[str]]:
        settings = [f"server.estimator={name}", f"air.doppler_hz={doppler_hz}", "max_pixels=6000"]
        metrics = simulate(open_scenario("two-users", settings, 1, None)).metrics
        return float(np.mean([u.sinr_db_true for u in metrics.users])), metrics.warnings

    ours, none = measured("still", 0.0)
    assert ours > measured("ls", 0.0)[0] + 1
    assert none == []
    quick, warned = measured("still", 40.0)
    assert quick < ours - 3
    assert any("still assumes doppler_hz from 0 to 1, here it is 40" in line for line in warned)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_an_estimator_says_what_it_was_not_made_for(name):
    """A channel that is too quick: by every one, alone; slow ones and an unknown air are no reason."""
    estimator = find_estimator(name)(Waveform(), 2)
    assert estimator.warnings([SLOW]) == estimator.warnings([]) == []
    (line,) = estimator.warnings([SLOW, QUICK, QUICK])
    assert line.startswith(name) and "doppler_hz from 0 to" in line and "here it is 400" in line


@pytest.mark.parametrize(
    ("name", "waveform", "antennas", "says"),
    [
        ("dnn", Waveform(profile="wide"), 2, "dnn was trained on waveform.profile ota, here it is wide"),
        ("dnn", Waveform(), 8, "dnn was trained on antennas from 1 to 4, here it is 8"),
        ("dnn", Waveform(pilot_slots=4), 4, "dnn was trained on pilot_slots from 2 to 2, here it is 4"),
        ("lmmse", Waveform(pilot_slots=8), 2, "lmmse assumes pilot_slots from 1 to 6, here it is 8"),
        (
            "lmmse-estimated",
            Waveform(pilot_slots=8),
            2,
            "lmmse-estimated assumes pilot_slots from 1 to 6, here it is 8",
        ),
    ],
)
def test_waveform_and_antennas_are_looked_at(name, waveform, antennas, says):
    """Without any knowledge of the air: what it says, why, and nothing else."""
    (line,) = find_estimator(name)(waveform, antennas).warnings([])
    assert line.startswith(says)


def test_doppler_is_looked_at_by_what_pilots_show():
    """Twice as far apart they tell half as much: the limits of LS and LMMSE halve, to the Hz."""
    near, far = Waveform(), Waveform(pilot_spacing_symbols=14)
    for name in ("ls", "lmmse"):
        limits = [find_estimator(name)(w, 2).assumptions.doppler_hz[1] for w in (near, far)]
        assert limits[1] == pytest.approx(limits[0] / 2, abs=1)
