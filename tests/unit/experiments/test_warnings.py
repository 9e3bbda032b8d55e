"""What a run warns of beside its figures: users that nobody heard, offsets out of reach, channels out of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server.received import ReceivedFrame, UserFrame
from testbed.air.medium import Medium
from testbed.codec.base import CodecIdentity
from testbed.config import EdgePart, Scenario
from testbed.data.pictures import Picture
from testbed.experiments.measure import measure
from testbed.experiments.run_warnings import run_warnings
from testbed.experiments.scenario_files import open_scenario
from testbed.phy.header import Header
from testbed.phy.waveform import Waveform
from testbed.record.folder import RunFolder
from testbed.record.schema import read_result, write_result
from testbed.report.make import make_report
from tests.unit.experiments.synthetic_link import encode_sent
from tests.unit.report.html_page import Page
from tests.unit.report.synthetic_run import make_run

WAVEFORM = Waveform()
SIZE = WAVEFORM.data_elements


class Grey:
    """A codec whose symbols are ones: a picture fills as many frames as a test wants."""

    identity = CodecIdentity("grey", 1, 0xA)

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def symbol_count(self, height: int, width: int) -> int:
        return self.frames * SIZE

    def encode(self, picture: np.ndarray) -> np.ndarray:
        return np.ones(self.frames * SIZE, np.complex64)

    def decode(self, symbols, no_eff, height, width):
        raise AssertionError


def heard(user: int, picture: int, part: int) -> ReceivedFrame:
    """A frame in which one user's header was understood, and nobody else's."""
    header = Header(
        user=user,
        frame=part,
        picture=picture,
        part=part,
        codec=1,
        codec_hash=0xA,
        height=8,
        width=8,
        k=3 * SIZE,
        scale=1.0,
    )
    ones, noise = np.ones(SIZE, np.complex64), np.full(SIZE, 0.1, np.float32)
    users = [UserFrame(user, header, ones, noise, 0.0, 0.0), UserFrame(1 - user, None, ones, noise, 0.0, 0.0)]
    channel = np.ones((len(WAVEFORM.pilot_symbols), WAVEFORM.occupied_subcarriers, 2, 2), np.complex64)
    return ReceivedFrame(0, 0.0, 0.0, 1.0, 1e-3, users, channel, {})


def warnings_of(frames: list[ReceivedFrame], *radios: str, pictures: int = 2) -> list[str]:
    edges = [EdgePart(name=f"edge-{i + 1}", user=i, radio=radio) for i, radio in enumerate(radios)]
    photograph = Picture("grey", np.full((8, 8, 3), 128, np.uint8))
    sent = [encode_sent(e.name, e.user, [photograph] * pictures, [Grey(3)] * pictures) for e in edges]
    return measure(Scenario(name="two", edges=edges), sent, frames, {}, None).metrics.warnings


@pytest.mark.parametrize("silent", [0, 1])
def test_a_user_that_was_never_heard_is_warned_of(silent: int):
    """By number and name, with what it sent and what to look at; the other, of whom one frame came, is not."""
    (warning,) = warnings_of([heard(1 - silent, 0, 2)], "", "")
    assert warning == f"user {silent} (edge-{silent + 1}): none of its 6 frames was found; is air.snr_db = 20 too low?"


def test_over_radios_of_their_own_the_radio_is_named():
    radios = ("pluto:ip:192.168.2.1,tx_gain_db=-80", "pluto:ip:192.168.3.1")
    first, second = warnings_of([], *radios)
    assert first.startswith(
        "user 0 (edge-1): none of its 6 frames was found; compare lo_hz and tx_gain_db of its radio"
    )
    assert radios[0] in first
    assert radios[1] in second


def test_what_was_heard_or_never_sent_is_no_reason_to_warn():
    assert warnings_of([heard(0, 0, 0), heard(1, 1, 1)], "", "") == []
    assert warnings_of([], "", "", pictures=0) == []


def test_the_report_shows_it(tmp_path: Path):
    run: RunFolder = make_run(tmp_path, scale=8)
    result = read_result(run)
    result.metrics.warnings = warnings_of([heard(1, 0, 0)], "", "")
    write_result(run, result)
    page = Page(make_report(run.path).read_text(encoding="utf-8"))
    assert "user 0 (edge-1): none of its 6 frames was found" in page.text


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["server.estimator=dnn", "air.doppler_hz=300"], "dnn was trained on doppler_hz from 0 to 100, here it is 300"),
        (
            ["server.estimator=dnn", "air.delay_spread_s=2e-6"],
            "trained on delay_spread_s from 2e-08 to 4.5e-07, here",
        ),
        (["air.common_cfo_hz=40000"], "Hz off, beyond server.max_cfo_hz = 26000"),
    ],
)
def test_what_the_receiver_was_not_made_for_is_said(settings: list[str], says: str):
    """The air's truth, beside what the receiver was told and its network saw."""
    scenario = open_scenario("two-users", settings, None, None)
    medium = Medium(scenario.waveform, scenario.air, [0, 1], 2, scenario.seed)
    assert any(says in warning for warning in run_warnings(scenario, medium, []))


@pytest.mark.parametrize("settings", [[], ["server.estimator=dnn"], ["server.estimator=dnn", "air.channel=AWGN"]])
def test_the_shipped_scenario_is_no_reason_to_warn(settings: list[str]):
    scenario = open_scenario("two-users", settings, None, None)
    medium = Medium(scenario.waveform, scenario.air, [0, 1], 2, scenario.seed)
    assert run_warnings(scenario, medium, []) == []
