"""Trained weights to ONNX files and a card, written aside and renamed together."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import msgspec
import torch

from testbed.codec.card import Card, card_bytes, digest_pair
from testbed.codec.train.loop import Pair, Recipe
from testbed.codec.train.models import COMPLEX_CHANNELS, STRIDE
from testbed.files import ensure_folder, write_aside

OPSET = 17  # ONNX Runtime 1.14 and later, so JetPack 6 as well

CONVENTIONS = {
    "snr": "mean signal power over complex noise power, per complex channel use",
    "psnr_of_mean_mse": "10 log10(1 / mean over all pictures of the MSE of values in 0..1, after rounding to 8 bits)",
    "mean_psnr": "mean over pictures of each picture's own PSNR",
    "power": "unit mean power over the complex symbols of each picture",
    "bandwidth_ratio": "complex channel uses over real source values (32 x 32 x 3)",
}


def to_onnx(module: torch.nn.Module, inputs: dict[str, torch.Tensor], output: str) -> bytes:
    """One module as ONNX, batch and both sides of the picture free.

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
    names = list(inputs)
    axes = {name: {0: "batch", 2: "rows", 3: "columns"} for name in [*names, output]}
    buffer = io.BytesIO()
    torch.onnx.export(
        module.eval().to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
        tuple(inputs.values()),
        buffer,  # type: ignore[arg-type]
        input_names=names,
        output_names=[output],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    return buffer.getvalue()


def export(pair: Pair, recipe: Recipe, name: str, number: int, data: str, folder: Path) -> Path:
    """Write ``name.encoder.onnx``, ``name.decoder.onnx`` and ``name.json``.

    Parameters
    ----------
    pair : Pair
    recipe : Recipe
        By which it was trained.
    name : str
    number : int
        Place in the wire's table of codecs, 0 to 255.
    data : str
        What it was trained on, in words.
    folder : Path

    Returns
    -------
    Path
        Of the card.
    """
    channels = COMPLEX_CHANNELS
    encoder = to_onnx(pair.encoder, {"picture": torch.rand(1, 3, 32, 48)}, "symbols")
    decoder = to_onnx(
        pair.decoder,
        {"symbols": torch.randn(1, 2 * channels, 8, 12), "no_eff": torch.rand(1, channels, 8, 12)},
        "picture",
    )
    card = Card(
        name=name,
        number=number,
        kind="picture",
        encoder=f"{name}.encoder.onnx",
        decoder=f"{name}.decoder.onnx",
        sha256=digest_pair(encoder, decoder),
        sizes={"stride": STRIDE, "complex_channels": channels},
        bandwidth_ratio=str(Fraction(channels, 3 * STRIDE**2)),
        data=data,
        recipe=msgspec.to_builtins(recipe),
        trained_with=f"torch {torch.__version__}",
        conventions=CONVENTIONS,
    )
    ensure_folder(folder)
    write_aside(folder / card.encoder, encoder)
    write_aside(folder / card.decoder, decoder)
    return write_card(card, folder)


def write_card(card: Card, folder: Path) -> Path:
    """Write a card as readable JSON.

    Parameters
    ----------
    card : Card
    folder : Path

    Returns
    -------
    Path
    """
    path = folder / f"{card.name}.json"
    write_aside(path, card_bytes(card))
    return path
