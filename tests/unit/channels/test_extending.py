"""The examples of docs/extending.md on channels, as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest

from testbed.air.links import Link, gain_of, link_of
from testbed.air.medium import Medium
from testbed.channels.registry import MODELS
from testbed.config import Air, load_scenario
from testbed.phy.waveform import Waveform

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"
EDGES = '\n[[edges]]\nname = "edge-1"\nuser = 0\n[[edges]]\nname = "edge-2"\nuser = 1\n'


def example(kind: str) -> str:
    (text,) = re.findall(rf"```\w+ {kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return text


def test_a_model_written_as_the_page_says_carries_samples(monkeypatch):
    """One entry in the registry, and a scenario may name it: a tone comes out turned by its Doppler shift, -60 dB."""
    made: dict[str, object] = {}
    exec(compile(example("channel"), str(PAGE), "exec"), made)
    monkeypatch.setitem(MODELS, "one-path", made["OnePath"]())
    still = {"common_cfo_hz": 0.0, "user_cfo_hz": [0.0], "user_delay_samples": [0.0]}
    air = Air(channel="one-path", doppler_hz=40.0, snr_db=80.0, **still)
    y = Medium(Waveform(), air, [0], 1, 1).mix(np.ones((1, 20_000), np.complex64), 0)[0, 100:]
    turned = y * np.exp(-2j * np.pi * 40.0 * np.arange(100, 20_000) / 1.92e6)
    assert np.abs(turned / turned[0] - 1).max() < 5e-3
    assert np.mean(np.abs(y) ** 2) == pytest.approx(1.0, abs=2e-3)


def test_the_scenario_of_the_page_is_read(tmp_path):
    path = tmp_path / "linked.toml"
    path.write_text('name = "linked"\n' + example("links") + EDGES, encoding="utf-8")
    air = load_scenario(path).air
    assert link_of(air, 0, 1) == Link("TDL-A", 100e-9, 5.0, 0.0)
    assert link_of(air, 1, 0) == Link("two-ray", 100e-9, 5.0, -6.0)
    assert link_of(air, 1, 1) == Link("two-ray", 100e-9, 50.0, -6.0)


def test_schedule_and_radios_of_the_page_are_read(tmp_path):
    path = tmp_path / "planned.toml"
    path.write_text('name = "planned"\n' + example("radios") + example("schedule") + EDGES, encoding="utf-8")
    air = load_scenario(path).air
    assert gain_of(air.schedule[0]) == -50.0
    (radio,) = air.radios
    assert (radio.oscillator.ppm, radio.oscillator.start_s, radio.front_end.bits) == (18.0, 0.7, 12)
