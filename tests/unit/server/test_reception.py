"""Frame reception as a joint: another receiver, chosen by its name; what finds frames and reads headers is as ever."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from server.detection import Channel, Prior, Received
from server.pipeline import Receiver
from server.reception import RECEIVERS, SinglePass, find_receiver
from testbed.errors import ScenarioError
from testbed.phy import sync
from testbed.phy.waveform import Waveform

OTA = Waveform()


class TwoPass(SinglePass):
    """For QPSK: what the first pass found out is the second's prior, so that users are cancelled, not suppressed."""

    def receive(self, found):
        first = super().receive(found)
        cfo_hz = first.cfo_hz
        grid = self._grid(found.samples, cfo_hz, sync.estimate_arrivals(found.samples, self.waveform, cfo_hz))
        estimate = self._estimate(grid)
        x_hat, no_eff = (np.moveaxis(a, 0, -1) for a in (first.x_hat, first.no_eff))
        with np.errstate(over="ignore"):
            scaled = np.sqrt(2) / no_eff
            mean = (np.tanh(scaled * x_hat.real) + 1j * np.tanh(scaled * x_hat.imag)) / np.sqrt(2)
        prior = Prior(mean.astype(np.complex64), (1 - np.abs(mean) ** 2).astype(np.float32))
        channel = Channel(estimate.h_hat, estimate.error_variance)
        second = self._detect(Received(np.moveaxis(grid, 0, -1), channel, estimate.no, prior=prior))
        return msgspec.structs.replace(
            first, x_hat=np.moveaxis(second.x_hat, -1, 0), no_eff=np.moveaxis(second.no_eff, -1, 0)
        )


def bit_errors(frames, scene) -> float:
    """Share of wrong QPSK bits of all users and frames."""
    wrong = []
    for frame in frames:
        for user in frame.users:
            sent = scene.data[user.user][user.header.frame]
            wrong += [(user.symbols.real > 0) != (sent.real > 0), (user.symbols.imag > 0) != (sent.imag > 0)]
    return float(np.mean(wrong))


@pytest.mark.parametrize("detector", ["lmmse", "matched-filter"])
def test_a_second_receiver_is_chosen_by_name(detector, rng, make_scene, monkeypatch):
    """Two passes over 2 x 2 Rayleigh at 12 dB, four frames: all headers as with one, a fifth fewer bit errors, with
    either detector."""
    scene = make_scene(rng, OTA, frames=4, snr_db=12.0)
    monkeypatch.setitem(RECEIVERS, "two-pass", TwoPass)
    errors = {}
    for name in ("single-pass", "two-pass"):
        receiver = Receiver(OTA, 2, receiver=name, detector=detector)
        frames = receiver.push(scene.samples) + receiver.flush()
        assert [u.header.frame for f in frames for u in f.users] == [0, 0, 1, 1, 2, 2, 3, 3]
        errors[name] = bit_errors(frames, scene)
    assert errors["single-pass"] > 1e-3
    assert errors["two-pass"] < 0.8 * errors["single-pass"]


def test_an_unknown_receiver_is_named():
    """With those that are known."""
    with pytest.raises(ScenarioError, match=r"server\.receiver = three-pass: allowed: single-pass"):
        find_receiver("three-pass")
