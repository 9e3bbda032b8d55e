"""Training: channels with the statistics they claim, a stop that loses nothing, an export that computes the same."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.requirements import TRAINING

torch = pytest.importorskip("torch", reason=TRAINING)

from testbed.codec.registry import open_codec  # noqa: E402
from testbed.codec.train.channels import add_noise, draw_no_eff  # noqa: E402
from testbed.codec.train.export import export  # noqa: E402
from testbed.codec.train.loop import Pair, Recipe, train  # noqa: E402
from testbed.errors import DataError  # noqa: E402

SMALL = Recipe(epochs=2, batch=16, groups=4, width=8, encoder_blocks=1, decoder_blocks=1, bfloat16=False)


@pytest.fixture
def pictures(rng):
    """Smooth pictures, so that there is something to learn."""
    coarse = rng.integers(0, 256, (64, 3, 4, 4))
    return np.kron(coarse, np.ones((8, 8))).astype(np.uint8)


def test_noise_has_the_variance_it_states():
    """Complex error power over stated variance, 4e5 symbols: 1 within 1 %."""
    generator = torch.Generator().manual_seed(1)
    no = torch.full((50, 8, 32, 32), 0.25)
    symbols = torch.zeros(50, 16, 32, 32)
    noise = add_noise(symbols, no, generator)
    power = (noise[:, :8] ** 2 + noise[:, 8:] ** 2).mean().item()
    assert power == pytest.approx(0.25, rel=0.01)


def test_faded_links_have_the_gain_of_rayleigh_fading():
    """No spread of SNR, all links fade: mean of 1/N0 is the SNR, as E|h|^2 = 1, within 3 %; some symbols are lost."""
    generator = torch.Generator().manual_seed(2)
    no = draw_no_eff(200, (2, 8, 8, 8), generator, snr_db=(10, 10), fading_share=1.0, erasure_share=0.5)
    arrived = torch.isfinite(no)
    assert (1.0 / no[arrived]).mean().item() == pytest.approx(10.0, rel=0.03)
    assert 0.05 < 1 - arrived.float().mean().item() < 0.25  # half of the links lose up to half: 1/8 on average


def test_plain_links_have_one_variance_for_all_symbols():
    """No fading: one value a link, inside the range, uniform in dB (mean within 1 dB over 200 links)."""
    generator = torch.Generator().manual_seed(3)
    no = draw_no_eff(200, (2, 8, 4, 4), generator, snr_db=(0, 20), fading_share=0.0, erasure_share=0.5).flatten(1)
    assert torch.equal(no.amin(1), no.amax(1))
    snr_db = -10 * no[:, 0].log10()
    assert snr_db.min() >= 0 and snr_db.max() <= 20
    assert snr_db.mean().item() == pytest.approx(10, abs=1.0)


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path, pictures):
    """Stopped in the second epoch, gone on from the checkpoint: the same weights, bit for bit."""
    torch.set_num_threads(1)
    whole = train(pictures, SMALL, tmp_path / "whole.pt")

    class Stop(Exception):
        pass

    def stop(step: int, steps: int, loss: float) -> None:
        if step == steps - 1:
            raise Stop

    with pytest.raises(Stop):
        train(pictures, SMALL, tmp_path / "parts.pt", on_step=stop)
    resumed = train(pictures, SMALL, tmp_path / "parts.pt")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(DataError, match="another recipe"):
        train(pictures, Recipe(epochs=3), tmp_path / "parts.pt")


def test_training_lowers_the_loss(tmp_path, pictures):
    """Mean loss over the last quarter against the first: at least 1.5 dB better in 40 short epochs."""
    losses: list[float] = []
    train(
        pictures,
        Recipe(epochs=40, batch=16, groups=4, width=8, encoder_blocks=1, decoder_blocks=1, bfloat16=False),
        tmp_path / "c.pt",
        on_step=lambda step, steps, loss: losses.append(loss),
    )
    quarter = len(losses) // 4
    assert all(math.isfinite(x) for x in losses)
    assert np.mean(losses[-quarter:]) < np.mean(losses[:quarter]) - 1.5


def test_the_export_computes_what_the_network_computes(tmp_path, rng):
    """ONNX Runtime against torch on a size that the export did not see: within one step of 255, symbols within 1e-4."""
    torch.manual_seed(4)
    pair = Pair(SMALL).eval()
    codec = open_codec(str(export(pair, SMALL, "small", 9, "none", tmp_path)))
    picture = rng.integers(0, 256, (44, 68, 3), dtype=np.uint8)
    planes = torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    no = torch.full((1, 8, 11, 17), 0.1)
    with torch.no_grad():
        symbols = pair.encoder(planes)
        restored = pair.decoder(symbols, no).clamp(0, 1).numpy()[0].transpose(1, 2, 0) * 255
    ours = codec.encode(picture)
    assert np.abs(np.concatenate([ours.real, ours.imag]) - symbols.numpy().reshape(-1)).max() < 1e-4
    assert np.abs(codec.decode(ours, no.numpy().reshape(-1), 44, 68) - restored).max() <= 1.0
