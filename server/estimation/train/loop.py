"""Training of the network: recipe, loss, steps, checkpoints. Drawing channels and writing ONNX stand elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch

from server.estimation.image import first_profiles, image_of
from server.estimation.profiles import QUOTIENT_FLOOR, grid_of, pilot_gain
from server.estimation.train.channels import Block, Ranges, draw_block, loss_points
from server.estimation.train.network import ProfileNet
from server.estimation.train.solve import Whiten, spectra
from testbed.checkpoint import Part, read_checkpoint, write_checkpoint
from testbed.phy.waveform import Waveform


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides a training run."""

    seed: int = 1
    blocks: int = 256  # of examples drawn once, before the first epoch
    block: int = 128  # examples of one block, which is one step
    epochs: int = 14
    groups: int = 8  # a step's examples by rising SNR; each group contributes the logarithm of its mean error
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    average_decay: float = 0.998  # of the weights, step by step; the average is what ships
    inflation_weight: float = 0.1
    passes: int = 2  # of the network, each with what the pilots say of the last one's profiles
    early_weight: float = 0.3  # of all passes' errors but the last one's
    width: int = 32
    kernel: int = 5
    dilations: tuple[int, ...] = (1, 2, 3)
    ranges: Ranges = Ranges()


class Batch(msgspec.Struct):
    """A block as tensors, its image made."""

    image: torch.Tensor
    c: torch.Tensor
    h: torch.Tensor
    user: torch.Tensor
    log_delay: torch.Tensor
    log_doppler: torch.Tensor


class Constants(msgspec.Struct):
    """Steering vectors as tensors."""

    t_pilots: torch.Tensor  # [I, D]
    t_points: torch.Tensor  # [LOSS_SYMBOLS, D]
    f_pilots: torch.Tensor  # [U, J, M]
    f_points: torch.Tensor  # [LOSS_SUBCARRIERS, M]
    gain: float


def make_net(recipe: Recipe) -> ProfileNet:
    """The network of a recipe, at its start."""
    return ProfileNet(recipe.width, recipe.kernel, recipe.dilations)


def constants(waveform: Waveform) -> Constants:
    """What the loss needs of a waveform."""
    grid = grid_of(waveform)
    symbols, subcarriers = loss_points(waveform)
    return Constants(
        t_pilots=torch.from_numpy(grid.doppler.pilots[0]),
        t_points=torch.from_numpy(grid.doppler.points[0][symbols]),
        f_pilots=torch.from_numpy(grid.delay.pilots),
        f_points=torch.from_numpy(grid.delay.points[0][subcarriers]),
        gain=pilot_gain(waveform),
    )


def make_batch(block: Block, waveform: Waveform) -> Batch:
    """Examples by rising SNR, ready for a step.

    Parameters
    ----------
    block : Block
    waveform : Waveform

    Returns
    -------
    Batch
    """
    order = np.argsort(block.snr_db)
    c, user = block.c[order], block.user[order]
    image = image_of(c.swapaxes(0, 1), user, waveform)
    first = first_profiles(image)
    return Batch(*(torch.from_numpy(x) for x in (image, c, block.h[order], user, *first)))


def statistics(
    log_delay: torch.Tensor, log_doppler: torch.Tensor, batch: Batch, k: Constants
) -> tuple[torch.Tensor, ...]:
    """Both profiles and, as `server.estimation.profiles.eigen` has them, steering, weighted steering, correlations.

    Parameters
    ----------
    log_delay : [B, M] tensor
        Logarithm of the delay profile, in units of the network.
    log_doppler : [B, D] tensor
        Logarithm of the Doppler profile, up to a constant.
    batch : Batch
    k : Constants

    Returns
    -------
    delay, f_pilots, weighted_t, weighted_f, r_t, r_f : complex128 tensors
        The delay profile, steering over subcarriers, weighted steering and correlations over time and over frequency.
    """
    delay = (torch.exp(log_delay.double()) / k.gain).to(torch.complex128)
    share = torch.softmax(log_doppler.double(), dim=1).to(torch.complex128)
    f_pilots = k.f_pilots[batch.user]
    weighted_t = (k.t_pilots.conj() * share[:, None]).mT  # [B, D, I]
    weighted_f = (f_pilots.conj() * delay[:, None]).mT  # [B, M, J]
    return delay, f_pilots, weighted_t, weighted_f, k.t_pilots @ weighted_t, f_pilots @ weighted_f


@torch.no_grad()
def growth(
    log_delay: torch.Tensor, log_doppler: torch.Tensor, batch: Batch, k: Constants
) -> tuple[torch.Tensor, torch.Tensor]:
    """`server.estimation.profiles.growth` of a batch.

    Parameters
    ----------
    log_delay, log_doppler, batch, k
        As for `statistics`.

    Returns
    -------
    log_of_delay : [B, M] float32 tensor
    log_of_doppler : [B, D] float32 tensor
    """
    _, f_pilots, _, _, r_t, r_f = statistics(log_delay, log_doppler, batch, k)
    base_t, base_f, shrink = spectra(r_t, r_f)
    value_t = torch.einsum("bij,bij->bj", base_t.conj(), r_t @ base_t).real
    value_f = torch.einsum("bij,bij->bj", base_f.conj(), r_f @ base_f).real
    y = shrink[:, None] * (base_t.mH[:, None] @ batch.c.to(torch.complex128) @ base_f.conj()[:, None])
    of_delay = quotient(y, value_t, shrink, base_f.mH @ f_pilots)
    of_doppler = quotient(y.mT, value_f, shrink.mT, base_t.mH @ k.t_pilots)
    return torch.log(of_delay).float(), torch.log(of_doppler).float()


def quotient(y: torch.Tensor, value: torch.Tensor, shrink: torch.Tensor, steering: torch.Tensor) -> torch.Tensor:
    """As `server.estimation.profiles.quotient`, the batch's axis first.

    Parameters
    ----------
    y : [B, A, other, rank] tensor
    value : [B, other] tensor
    shrink : [B, other, rank] tensor
    steering : [B or 1, rank, bins] tensor

    Returns
    -------
    [B, bins] tensor
    """
    found = ((y @ steering.conj()[:, None]).abs().square() * value[:, None, :, None]).sum(dim=2).mean(dim=1)
    expected = ((value[:, None] @ shrink) @ steering.abs().square())[:, 0]
    return (found + QUOTIENT_FLOOR) / (expected + QUOTIENT_FLOOR)


def errors(
    log_delay: torch.Tensor, log_doppler: torch.Tensor, batch: Batch, k: Constants
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared error of each example over the noise, and the error that the profiles promise.

    Parameters
    ----------
    log_delay, log_doppler, batch, k
        As for `statistics`.

    Returns
    -------
    error, promised : [B] tensors
    """
    delay, _, weighted_t, weighted_f, r_t, r_f = statistics(log_delay, log_doppler, batch, k)
    k_t, k_f = k.t_points @ weighted_t, k.f_points @ weighted_f
    w = Whiten.apply(r_t, r_f, batch.c.to(torch.complex128))
    h = k_t[:, None] @ w @ k_f.mT[:, None]
    error = (h - batch.h).abs().square().mean(dim=(1, 2, 3))
    with torch.no_grad():
        base_t, base_f, shrink = spectra(r_t, r_f)
        known = (k_t @ base_t).abs().square() @ shrink @ (k_f @ base_f).abs().square().mT
        promised = (delay.real.sum(1)[:, None, None] - known).mean(dim=(1, 2)).clamp(min=1e-9)
    return error, promised


def loss_of(net: ProfileNet, batch: Batch, k: Constants, recipe: Recipe) -> tuple[torch.Tensor, float]:
    """Mean over groups of SNR of the logarithm of the mean error, over all passes, with the last one's report.

    Each pass is trained for its own result; what it starts from is taken as given.

    Parameters
    ----------
    net : ProfileNet
    batch : Batch
        By rising SNR.
    k : Constants
    recipe : Recipe

    Returns
    -------
    loss : scalar tensor
    error_db : float
        Of the last pass, over the noise of a least-squares estimate.
    """
    log_delay, log_doppler = batch.log_delay, batch.log_doppler
    total = torch.zeros((), dtype=torch.float64)
    for index in range(recipe.passes):
        of_delay, of_doppler = growth(log_delay, log_doppler, batch, k)
        log_delay, log_doppler, log_inflation = net(
            batch.image, torch.stack([log_delay, of_delay], 1), torch.stack([log_doppler, of_doppler], 1)
        )
        error, promised = errors(log_delay, log_doppler, batch, k)
        group = torch.log(error.reshape(recipe.groups, -1).mean(dim=1)).mean()
        total = total + group * (1.0 if index == recipe.passes - 1 else recipe.early_weight)
        log_delay, log_doppler = log_delay.detach(), log_doppler.detach()
    report = torch.log(promised) + log_inflation + error.detach() / promised * torch.exp(-log_inflation)
    return total + recipe.inflation_weight * report.mean(), 10 / np.log(10) * group.item()


def train(
    waveform: Waveform,
    recipe: Recipe,
    checkpoint: Path,
    on_draw: Callable[[int, int], None] = lambda block, blocks: None,
    on_step: Callable[[int, int, float], None] = lambda step, steps, error_db: None,
) -> ProfileNet:
    """Train from scratch, or go on from ``checkpoint`` when it holds the same recipe.

    Parameters
    ----------
    waveform : Waveform
    recipe : Recipe
    checkpoint : Path
        Written after every epoch.
    on_draw : callable of (block, blocks), optional
    on_step : callable of (step, steps, error in dB over a least-squares estimate's noise), optional

    Returns
    -------
    ProfileNet
        The averaged one.

    Raises
    ------
    DataError
        If ``checkpoint`` is damaged, or belongs to another recipe.
    """
    torch.manual_seed(recipe.seed)
    net = make_net(recipe)
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.blocks * recipe.epochs
    rise = max(0.1, 2.5 / (steps + 1))  # a rise of less than a step divides by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=rise, cycle_momentum=False
    )
    recipe_json = msgspec.json.encode(recipe).decode()
    parts: dict[str, Part] = {"net": net, "average": average, "optimizer": optimizer, "schedule": schedule}
    begin = int(read_checkpoint(checkpoint, recipe_json, parts, epoch=0)["epoch"])
    batches = []
    for index in range(recipe.blocks if begin < recipe.epochs else 0):
        batches.append(make_batch(draw_block(waveform, recipe.ranges, recipe.block, recipe.seed, index), waveform))
        on_draw(index + 1, recipe.blocks)
    k = constants(waveform)
    for epoch in range(begin, recipe.epochs):
        order = np.random.default_rng([recipe.seed, epoch]).permutation(recipe.blocks)
        for i, which in enumerate(order):
            loss, error_db = loss_of(net, batches[which], k, recipe)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm, error_if_nonfinite=True)
            optimizer.step()
            schedule.step()
            step = epoch * recipe.blocks + i + 1
            with torch.no_grad():
                decay = min(recipe.average_decay, step / (step + 10))
                for kept, new in zip(average.parameters(), net.parameters(), strict=True):
                    kept.lerp_(new, 1 - decay)
            on_step(step, steps, error_db)
        write_checkpoint(checkpoint, recipe_json, parts, epoch=epoch + 1)
    return average
