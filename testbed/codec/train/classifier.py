"""A small joint source-channel classifier in torch: encoder, channel between, classifier; training and ONNX export."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from testbed.codec.train.channels import add_noise, draw_no_eff
from testbed.codec.train.export import OPSET
from testbed.errors import RunIncomplete

HIDDEN = 128


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a pair is trained. Values were chosen on the validation part, never on the test part."""

    steps: int = 800
    batch: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    snr_db: tuple[float, float] = (0.0, 20.0)  # per complex channel use
    fading_share: float = 0.5


class Encoder(nn.Module):
    """[B, pixels] float32 in 0..1 -> [B, 2k] float32: real parts, then imaginary parts, unit mean power a picture."""

    def __init__(self, pixels: int, symbols: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * symbols))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return unit_power(self.layers(pictures - 0.3))


class PrincipalEncoder(nn.Module):
    """The label-free encoder to begin with: the first 2k principal components of public pictures, unit mean power."""

    mean: torch.Tensor
    axes: torch.Tensor

    def __init__(self, public: np.ndarray, symbols: int) -> None:
        super().__init__()
        mean = public.mean(axis=0, dtype=np.float64)
        _, _, axes = np.linalg.svd(public - mean, full_matrices=False)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("axes", torch.from_numpy(axes[: 2 * symbols].T.astype(np.float32).copy()))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return unit_power((pictures - self.mean) @ self.axes)


class Decoder(nn.Module):
    """Received symbols [B, 2k] and error variances [B, k] -> logits [B, classes]; each symbol is shrunk by 1/(1+N0)."""

    def __init__(self, symbols: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3 * symbols, HIDDEN // 2), nn.ReLU(), nn.Linear(HIDDEN // 2, classes))

    def forward(self, symbols: torch.Tensor, no_eff: torch.Tensor) -> torch.Tensor:
        """Logits; every symbol is weighed by what its noise leaves of it, :math:`1 / (1 + N_0)`.

        Parameters
        ----------
        symbols : [B, 2k] float32
            Real parts, then imaginary parts.
        no_eff : [B, k] float32
            Error variances; infinite where lost.

        Returns
        -------
        [B, classes] float32
        """
        weight = 1.0 / (1.0 + no_eff)
        return self.layers(torch.cat([symbols * torch.cat([weight, weight], dim=1), weight], dim=1))


class Pair(nn.Module):
    """Encoder and classifier that belong together."""

    def __init__(self, pixels: int, symbols: int, classes: int) -> None:
        super().__init__()
        self.pixels, self.symbols = pixels, symbols
        self.encoder: nn.Module = Encoder(pixels, symbols)
        self.decoder = Decoder(symbols, classes)


def unit_power(raw: torch.Tensor) -> torch.Tensor:
    """Scale rows so that the mean over complex symbols of |x|^2 is one."""
    return raw * torch.rsqrt(2.0 * raw.square().mean(dim=1, keepdim=True) + 1e-12)


def new_pair(pixels: int, symbols: int, classes: int, seed: int) -> Pair:
    """A pair with weights drawn from the seed.

    Parameters
    ----------
    pixels, symbols, classes : int
        ``symbols``: complex channel uses of a picture.
    seed : int

    Returns
    -------
    Pair
    """
    torch.manual_seed(seed)
    return Pair(pixels, symbols, classes)


def first_pair(public: np.ndarray, symbols: int, classes: int) -> Pair:
    """What a round begins with: an encoder learned without labels, a classifier that knows nothing (equal logits).

    Parameters
    ----------
    public : [m, pixels] float32
    symbols, classes : int
        ``symbols``: complex channel uses of a picture.

    Returns
    -------
    Pair
    """
    pair = new_pair(public.shape[1], symbols, classes, seed=0)
    pair.encoder = PrincipalEncoder(public, symbols)
    last = pair.decoder.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return pair


def draw_link(count: int, symbols: int, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Effective noise variances, a link of its own for each picture.

    Parameters
    ----------
    count, symbols : int
        Pictures, and complex channel uses of each.
    recipe : Recipe
        Its SNRs and its share of fading links.
    generator : torch.Generator

    Returns
    -------
    [count, symbols] float32
    """
    drawn = draw_no_eff(
        count,
        (1, symbols, 1, 1),
        generator,
        snr_db=recipe.snr_db,
        fading_share=recipe.fading_share,
        erasure_share=0.0,
    )
    return drawn.reshape(count, symbols)


def shifted(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Square pictures moved by at most one pixel each way, half of them.

    Parameters
    ----------
    pictures : [B, pixels] float32
    generator : torch.Generator

    Returns
    -------
    [B, pixels] float32
    """
    count, side = len(pictures), math.isqrt(pictures.shape[1])
    padded = F.pad(pictures.view(count, side, side), (1, 1, 1, 1))
    by = torch.randint(0, 3, (count, 2), generator=generator)
    by[torch.rand(count, generator=generator) < 0.5] = 1
    rows, columns = (by[:, axis, None] + torch.arange(side) for axis in (0, 1))
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]].reshape(count, -1)


def fit(
    pair: Pair,
    pictures: np.ndarray,
    targets: np.ndarray,
    recipe: Recipe,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Pair:
    """Train a pair in place to answer ``targets`` for ``pictures`` over links drawn at random; returns it.

    Cross-entropy on pictures mixed two by two (H. Zhang et al., *mixup*, ICLR 2018; the share is Beta(1/2, 1/2), drawn
    as the squared sine of a uniform angle) and moved by up to a pixel.

    Parameters
    ----------
    pair : Pair
    pictures : [n, pixels] float32
    targets : [n, classes] float32
        Rows of probabilities.
    recipe : Recipe
    seed : int
    should_stop : callable

    Returns
    -------
    Pair
        The same one.

    Raises
    ------
    RunIncomplete
        If ``should_stop`` says so.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(np.ascontiguousarray(pictures, np.float32))
    q = torch.from_numpy(np.ascontiguousarray(targets, np.float32))
    optimizer = torch.optim.AdamW(pair.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps + 1)
    for _ in range(recipe.steps):
        if should_stop():
            raise RunIncomplete("stopped while a classifier was trained")
        first, second = torch.randint(0, len(x), (2, recipe.batch), generator=generator)
        share = torch.sin(torch.rand(recipe.batch, 1, generator=generator) * (math.pi / 2)).square()
        mixed = share * shifted(x[first], generator) + (1 - share) * shifted(x[second], generator)
        wanted = share * q[first] + (1 - share) * q[second]
        no_eff = draw_link(recipe.batch, pair.symbols, recipe, generator)
        logits = pair.decoder(add_noise(pair.encoder(mixed), no_eff, generator), no_eff)
        loss = -(wanted * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return pair


def logits_over(pair: Pair, pictures: np.ndarray, no_eff: np.ndarray, seed: int) -> np.ndarray:
    """The pair's logits of pictures sent over links of given error variances.

    Parameters
    ----------
    pair : Pair
    pictures : [n, pixels] float32
    no_eff : [n, k] float32
        Error variances.
    seed : int
        Of the noise.

    Returns
    -------
    [n, classes] float32
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        noise = torch.from_numpy(np.ascontiguousarray(no_eff, np.float32))
        sent = pair.encoder(torch.from_numpy(np.ascontiguousarray(pictures, np.float32)))
        return pair.decoder(add_noise(sent, noise, generator), noise).numpy()


def export(pair: Pair) -> tuple[bytes, bytes]:
    """Encoder and decoder as ONNX, the batch free."""
    pixels = torch.rand(2, pair.pixels)
    symbols, no_eff = torch.randn(2, 2 * pair.symbols), torch.rand(2, pair.symbols)
    return (
        to_onnx(pair.encoder, {"pictures": pixels}, "symbols"),
        to_onnx(pair.decoder, {"symbols": symbols, "no_eff": no_eff}, "logits"),
    )


def to_onnx(module: nn.Module, inputs: dict[str, torch.Tensor], output: str) -> bytes:
    """One module as ONNX, the batch free.

    Parameters
    ----------
    module : torch.nn.Module
    inputs : {name: tensor}
        An example of each, in the module's order.
    output : str

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        buffer,  # type: ignore[arg-type]
        input_names=list(inputs),
        output_names=[output],
        dynamic_axes={name: {0: "batch"} for name in [*inputs, output]},
        opset_version=OPSET,
        dynamo=False,
    )
    return buffer.getvalue()


def weights(pair: Pair) -> dict[str, np.ndarray]:
    """All parameters by name."""
    return {name: value.numpy().copy() for name, value in pair.state_dict().items()}


def with_weights(pair: Pair, values: dict[str, np.ndarray]) -> Pair:
    """Set all parameters.

    Parameters
    ----------
    pair : Pair
        Changed.
    values : {name: array}

    Returns
    -------
    Pair
        The same one.
    """
    pair.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in values.items()})
    return pair
