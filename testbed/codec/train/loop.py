"""Training of a DeepJSCC pair: recipe, steps, checkpoints. Reading pictures and writing ONNX are other files' work."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
import torch.nn.functional as F

from testbed.checkpoint import Part, read_checkpoint, write_checkpoint
from testbed.codec.train.channels import add_noise, draw_no_eff
from testbed.codec.train.models import Decoder, Encoder


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides a training run, apart from the pictures."""

    seed: int = 1
    epochs: int = 60
    batch: int = 128
    groups: int = 8  # links drawn in a batch; each contributes the logarithm of its own mean squared error
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)  # a short second moment forgets a spike soon
    clip_ratio: float = 2.0  # gradients are clipped to this multiple of their running mean norm
    average_decay: float = 0.999  # of the weights, step by step; the average is what ships
    snr_db: tuple[float, float] = (-2.0, 22.0)
    fading_share: float = 0.35
    erasure_share: float = 0.1
    large_share: float = 0.2  # of steps: 64x64 pictures, so that borders are not learned as always near
    width: int = 64
    encoder_blocks: int = 3
    decoder_blocks: int = 6
    bfloat16: bool = True


# What ships. The small pair is for boards, and to change codecs while a run goes on.
RECIPES = {
    "deepjscc-cifar10": Recipe(),
    "deepjscc-cifar10-small": Recipe(epochs=16, width=32, encoder_blocks=2, decoder_blocks=3),
}
NUMBERS = {"deepjscc-cifar10": 1, "deepjscc-cifar10-small": 2}  # what a frame's header calls them


class Pair(torch.nn.Module):
    """Encoder and decoder that were trained together; neither is of use with another partner."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.encoder = Encoder(recipe.width, recipe.encoder_blocks)
        self.decoder = Decoder(recipe.width, recipe.decoder_blocks)


def group_loss(pair: Pair, pictures: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    r"""Mean over links of :math:`10\log_{10}\mathrm{MSE}`: minus the PSNR that the codec's figures are stated in.

    The plain mean of squared errors would be ruled by the worst links; its logarithm gives every SNR the same say.

    Parameters
    ----------
    pair : Pair
    pictures : [B, 3, H, W] float32
        0 to 1.
    recipe : Recipe
    generator : torch.Generator
        Of links and noise.

    Returns
    -------
    scalar tensor
        In dB.
    """
    groups = min(recipe.groups, len(pictures))
    pictures = pictures[: len(pictures) // groups * groups]
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        symbols = pair.encoder(pictures)
    shape = (len(pictures) // groups, symbols.shape[1] // 2, symbols.shape[2], symbols.shape[3])
    no_eff = draw_no_eff(
        groups,
        shape,
        generator,
        snr_db=recipe.snr_db,
        fading_share=recipe.fading_share,
        erasure_share=recipe.erasure_share,
    ).flatten(0, 1)
    received = add_noise(symbols, no_eff, generator)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
        restored = pair.decoder(received, no_eff)
    mse = (restored - pictures).square().reshape(groups, -1).mean(dim=1)
    return 10.0 * torch.log10(mse).mean()


def draw_batch(pictures: torch.Tensor, index: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Pictures of one step in 0..1, flipped at random; now and then 64x64: mosaics of four, or enlarged by two.

    Parameters
    ----------
    pictures : [P, 3, H, W] uint8
    index : [B] int64
        Which of them.
    recipe : Recipe
    generator : torch.Generator

    Returns
    -------
    [b, 3, h, w] float32
        0 to 1; b is B, or a quarter of it where the pictures are larger.
    """
    batch = pictures[index].float() / 255.0
    flip = torch.rand(len(batch), generator=generator) < 0.5
    batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
    kind = torch.rand((), generator=generator).item()
    if len(batch) % 4 == 0 and kind < recipe.large_share:
        quarter = len(batch) // 4
        if kind < recipe.large_share / 2:
            rows = torch.cat([batch[: 2 * quarter], batch[2 * quarter :]], dim=2)
            batch = torch.cat([rows[:quarter], rows[quarter:]], dim=3)
        else:
            batch = F.interpolate(batch[:quarter], scale_factor=2, mode="bicubic").clamp(0.0, 1.0)
    return batch.contiguous(memory_format=torch.channels_last)


def train(
    pictures_uint8: np.ndarray,
    recipe: Recipe,
    checkpoint: Path,
    on_step: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    on_epoch: Callable[[int, Pair], None] = lambda epoch, pair: None,
) -> Pair:
    """Train from scratch, or go on from ``checkpoint`` when it holds the same recipe.

    Parameters
    ----------
    pictures_uint8 : [P, 3, H, W] uint8
    recipe : Recipe
    checkpoint : Path
        Written after every epoch.
    on_step : callable of (step, steps, loss in dB), optional
    on_epoch : callable of (epoch, pair), optional

    Returns
    -------
    Pair
        The averaged one.

    Raises
    ------
    DataError
        If ``checkpoint`` is damaged, or belongs to another recipe.
    """
    torch.manual_seed(recipe.seed)
    pair = Pair(recipe).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(pair)
    optimizer = torch.optim.AdamW(
        pair.parameters(),
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    pictures = torch.from_numpy(np.ascontiguousarray(pictures_uint8))
    steps_an_epoch = len(pictures) // recipe.batch
    steps = steps_an_epoch * recipe.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False
    )
    recipe_json = msgspec.json.encode(recipe).decode()
    parts: dict[str, Part] = {"pair": pair, "average": average, "optimizer": optimizer, "schedule": schedule}
    facts = read_checkpoint(checkpoint, recipe_json, parts, epoch=0, usual_norm=1.0)
    begin, usual_norm = int(facts["epoch"]), facts["usual_norm"]

    for epoch in range(begin, recipe.epochs):
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        order = torch.randperm(len(pictures), generator=generator)
        for i in range(steps_an_epoch):
            index = order[i * recipe.batch : (i + 1) * recipe.batch]
            loss = group_loss(pair, draw_batch(pictures, index, recipe, generator), recipe, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(pair.parameters(), recipe.clip_ratio * usual_norm).item()
            if not math.isfinite(norm):
                raise FloatingPointError(
                    f"the gradient is not finite in epoch {epoch + 1}, step {i + 1}: lower learning_rate"
                )
            usual_norm = 0.99 * usual_norm + 0.01 * min(norm, recipe.clip_ratio * usual_norm)
            optimizer.step()
            schedule.step()
            step = epoch * steps_an_epoch + i + 1
            decay = min(recipe.average_decay, step / (step + 10.0))
            with torch.no_grad():
                for kept, new in zip(average.parameters(), pair.parameters(), strict=True):
                    kept.lerp_(new, 1.0 - decay)
            on_step(step, steps, loss.item())
        write_checkpoint(checkpoint, recipe_json, parts, epoch=epoch + 1, usual_norm=usual_norm)
        on_epoch(epoch + 1, average)
    return average
