"""The examples of docs/extending.md on detectors and estimators, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from server.detection import DETECTORS, Channel, Received, find_detector
from server.estimation import ESTIMATORS, Fading, find_estimator
from testbed.phy.pilots import pilot_boost, pilot_comb, pilot_values
from testbed.phy.waveform import Waveform

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"


def example(of: str) -> dict[str, object]:
    (code,) = re.findall(rf"```python {of}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, f"{PAGE.name}, {of}", "exec"), names)
    return names


def test_the_detector_of_the_page_is_found_and_honest(rng, monkeypatch):
    """Under its name; 1e5 elements at 10 dB: reported against measured error variance to 2 %, and without noise it
    gives back what was sent."""
    names = example("detector")
    monkeypatch.setitem(DETECTORS, "zero-forcing", names["zero_forcing"])

    def gaussian(*shape: int) -> np.ndarray:
        return ((rng.standard_normal((*shape, 2)) @ [1, 1j]) / np.sqrt(2)).astype(np.complex64)

    x, h = gaussian(100_000, 2), gaussian(100_000, 3, 2)
    clean = np.einsum("...nk,...k->...n", h, x)
    noisy = clean + np.float32(np.sqrt(0.1)) * gaussian(100_000, 3)
    found = find_detector("zero-forcing")(Received(noisy, Channel(h), 0.1))
    assert np.mean(np.abs(found.x_hat - x) ** 2 / found.no_eff) == pytest.approx(1, abs=0.02)
    exact = find_detector("zero-forcing")(Received(clean, Channel(h), 0.0))
    assert np.median(np.abs(exact.x_hat - x)) < 1e-5


def test_the_estimator_of_the_page_is_found_honest_and_says_what_it_assumes(rng, monkeypatch):
    """Two users at 10 dB, each one path anywhere in the prefix, 300 frames: reported against measured error variance
    and noise, the means to 10 % and 2 %."""
    monkeypatch.setitem(ESTIMATORS, "one-path", example("estimator")["make_one_path"])
    waveform, no = Waveform(), 0.1
    estimator = find_estimator("one-path")(waveform, 2)
    assert estimator.warnings([Fading(0.0, 0.0)]) == []
    assert len(estimator.warnings([Fading(1e-7, 50.0)])) == 2
    sent = np.zeros((2, waveform.body_symbols, waveform.occupied_subcarriers), np.complex64)
    for user in range(2):
        comb = pilot_comb(waveform, user)
        sent[user][np.ix_(waveform.pilot_symbols, comb)] = pilot_boost(waveform) * pilot_values(waveform)[:, comb]
    made, reported, noise = [], [], []
    for _ in range(300):
        delays, gains = rng.uniform(1, 15, 2), np.exp(2j * np.pi * rng.uniform(size=(2, 2)))
        h = gains[..., None] * np.exp(-2j * np.pi / 128 * delays[:, None] * waveform.subcarriers)  # [A, U, F]
        w = rng.standard_normal((2, *sent.shape[1:], 2)) @ [1, 1j] * np.sqrt(no / 2)
        found = estimator((np.einsum("auf,usf->asf", h, sent) + w).astype(np.complex64))
        made.append(np.mean(np.abs(found.h_hat - np.moveaxis(h, 2, 0)) ** 2))
        reported.append(np.mean(found.error_variance))
        noise.append(found.no)
    assert np.mean(made) == pytest.approx(np.mean(reported), rel=0.1)
    assert np.mean(noise) == pytest.approx(no, rel=0.02)
