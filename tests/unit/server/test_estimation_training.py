"""Training of the estimator: gradients, twins of the receiver's filter, a stop that loses nothing, the export."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.requirements import TRAINING

torch = pytest.importorskip("torch", reason=TRAINING)

from server.estimation.dnn import DnnEstimator  # noqa: E402
from server.estimation.image import first_profiles, image_of  # noqa: E402
from server.estimation.profiles import Observation, grid_of, pilot_gain, wiener  # noqa: E402
from server.estimation.profiles import growth as growth_of  # noqa: E402
from server.estimation.subspaces import symbol_seconds  # noqa: E402
from server.estimation.train.channels import Ranges, draw_block, loss_points  # noqa: E402
from server.estimation.train.export import export  # noqa: E402
from server.estimation.train.loop import (  # noqa: E402
    Recipe,
    constants,
    errors,
    growth,
    loss_of,
    make_batch,
    make_net,
    train,
)
from server.estimation.train.solve import Whiten  # noqa: E402
from testbed.errors import DataError  # noqa: E402
from testbed.phy.waveform import Waveform  # noqa: E402

OTA = Waveform()
SMALL = Recipe(blocks=3, block=16, epochs=2, groups=4, width=8, dilations=(1,))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def batch_of(index: int = 0, size: int = 8):
    return make_batch(draw_block(OTA, Ranges(), size, 1, index), OTA)


def test_examples_have_the_power_and_noise_they_state():
    """200 examples at 10 dB: |h|^2 over the noise is SNR times pilot slots to 10 % (standard error 3 %); in 50 of
    noise alone each coefficient has unit variance, to 3 %.
    """
    block = draw_block(OTA, Ranges(snr_db=(10, 10), far_share=0.0), 200, 1, 3)
    assert block.c.shape[1] == 4
    assert np.mean(np.abs(block.h) ** 2) == pytest.approx(10 * OTA.pilot_slots, rel=0.1)
    quiet = draw_block(OTA, Ranges(snr_db=(-60, -60), far_share=0.0), 50, 1, 3)
    assert np.mean(np.abs(quiet.c) ** 2) == pytest.approx(np.mean(noise_share()), rel=0.03)


def noise_share() -> np.ndarray:
    """[U] how much of white noise each column of the users' subspaces holds: one, where it is not padding."""
    return np.mean(np.sum(np.abs(grid_of(OTA).v_frequency) ** 2, axis=1), axis=1)


def test_blocks_do_not_depend_on_each_other():
    """Block 2 alone is block 2 of a sequence; another seed gives another."""
    a, b, c = (draw_block(OTA, Ranges(), 2, seed, 2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.c, b.c)
    assert not np.array_equal(a.c, c.c)


def test_the_filters_gradient_is_its_derivative(rng):
    """Against finite differences in double precision, by torch's own check."""

    def any_matrix(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal((*shape, 2)) @ np.array([1, 1j])).requires_grad_()

    c = any_matrix(2, 3, 3, 4).detach()
    time, frequency = any_matrix(2, 3, 3), any_matrix(2, 4, 4)
    assert torch.autograd.gradcheck(
        lambda t, f: torch.view_as_real(Whiten.apply(t @ t.mH, f @ f.mH, c)), (time, frequency)
    )


def test_training_sees_the_receivers_own_filter():
    """Error, promised error and growth of a batch against `wiener` and `growth` of the receiver: to 1e-3 and 1e-4."""
    block = draw_block(OTA, Ranges(snr_db=(0, 20), far_share=0.0), 4, 1, 0)
    batch = make_batch(block, OTA)
    error, promised = errors(batch.log_delay, batch.log_doppler, batch, constants(OTA))
    of_delay, of_doppler = growth(batch.log_delay, batch.log_doppler, batch, constants(OTA))
    symbols, subcarriers = loss_points(OTA)
    axes = grid_of(OTA)
    for i in range(4):
        user = int(batch.user[i])
        c = np.zeros((block.c.shape[1], 2, *block.c.shape[2:]), complex)
        c[:, user] = batch.c[i].numpy()
        power, share = np.zeros((2, len(axes.delays))), np.ones((2, len(axes.dopplers_hz))) / len(axes.dopplers_hz)
        power[user] = np.exp(batch.log_delay[i].numpy()) / pilot_gain(OTA)
        made = wiener(Observation(c, 1.0, np.zeros(2)), OTA, axes.delay, power, axes.doppler, share)
        h = np.moveaxis(made.h_hat[symbols][:, subcarriers][..., user], -1, 0)
        assert error[i].item() == pytest.approx(np.mean(np.abs(h - batch.h[i].numpy()) ** 2), rel=1e-3)
        stated = made.error_variance[symbols][:, subcarriers][..., user].mean()
        assert promised[i].item() == pytest.approx(stated, rel=1e-3)
        twin = growth_of(c, axes.delay, power, axes.doppler, share)
        np.testing.assert_allclose(of_delay[i], np.log(twin[0][user]), atol=1e-4)
        np.testing.assert_allclose(of_doppler[i], np.log(twin[1][user]), atol=1e-4)


def test_an_untrained_network_is_a_step_of_maximum_likelihood():
    """Last layers at zero: the profiles times their growth."""
    batch = batch_of()
    of_delay, of_doppler = growth(batch.log_delay, batch.log_doppler, batch, constants(OTA))
    fed = torch.stack([batch.log_delay, of_delay], 1), torch.stack([batch.log_doppler, of_doppler], 1)
    with torch.no_grad():
        delay, doppler, inflation = make_net(SMALL)(batch.image, *fed)
    np.testing.assert_allclose(delay, (batch.log_delay + of_delay.clamp(-3, 3)).clamp(-12, 25), atol=1e-5)
    expected = torch.log_softmax(batch.log_doppler + of_doppler.clamp(-3, 3), 1).clamp(min=-12)
    np.testing.assert_allclose(doppler, expected, atol=1e-5)
    assert torch.all(inflation == 0)


def test_the_image_shows_a_path_where_it_is():
    """One path without noise, on the grid: both windows' maxima lie at its delay and Doppler shift, gain as stated."""
    axes = grid_of(OTA)
    m, n = 20, 7
    seconds = symbol_seconds(OTA)[OTA.pilot_symbols]
    c = np.outer(axes.doppler.pilots[0][:, n], axes.delay.pilots[1][:, m])[None, None]
    assert len(seconds) == 15
    image = image_of(c, np.array([1]), OTA)[0, :-1].reshape(2, len(axes.dopplers_hz), -1)
    for window in image:
        assert np.unravel_index(np.argmax(window), window.shape) == (n, m)
    assert image[0, n, m] == pytest.approx(np.log10(pilot_gain(OTA)), abs=0.01)
    log_delay, _ = first_profiles(image_of(c, np.array([1]), OTA))
    assert np.argmax(log_delay) == m


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path):
    """Stopped in the second epoch, gone on from the checkpoint: the same weights, bit for bit."""
    whole = train(OTA, SMALL, tmp_path / "whole.pt")

    class Stop(Exception):
        pass

    def stop(step: int, steps: int, error_db: float) -> None:
        if step == steps - 1:
            raise Stop

    with pytest.raises(Stop):
        train(OTA, SMALL, tmp_path / "parts.pt", on_step=stop)
    resumed = train(OTA, SMALL, tmp_path / "parts.pt")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(DataError, match="another recipe"):
        train(OTA, msgspec.structs.replace(SMALL, epochs=3), tmp_path / "parts.pt")


def test_training_lowers_the_error(tmp_path):
    """40 steps over two blocks: the last pass's error falls by 0.3 dB at least on those."""
    recipe = Recipe(blocks=2, block=32, epochs=20, groups=4, width=16, dilations=(1,), average_decay=0.8)
    net = train(OTA, recipe, tmp_path / "c.pt")
    k = constants(OTA)
    batches = [make_batch(draw_block(OTA, recipe.ranges, recipe.block, recipe.seed, i), OTA) for i in range(2)]
    with torch.no_grad():
        before = np.mean([loss_of(make_net(recipe), b, k, recipe)[1] for b in batches])
        after = np.mean([loss_of(net, b, k, recipe)[1] for b in batches])
    assert after < before - 0.3


def test_the_export_computes_what_the_network_computes(tmp_path):
    """ONNX Runtime against torch, on a grid and a number of users that the export did not see: to 1e-3."""
    torch.manual_seed(3)
    net = make_net(SMALL)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    opened = DnnEstimator(export(net, SMALL, "small", "semtb train estimator", tmp_path))
    fed = {"image": torch.randn(3, 23, 71), "delay": torch.randn(3, 2, 71), "doppler": torch.randn(3, 2, 11)}
    with torch.no_grad():
        ours = net(*fed.values())
    theirs = opened._session.run(None, {name: value.numpy() for name, value in fed.items()})
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b, atol=1e-3)
