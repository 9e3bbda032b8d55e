"""Trained weights to an ONNX file and its card."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import msgspec
import torch

from server.estimation.base import Assumptions
from server.estimation.card import EstimatorCard
from server.estimation.dnn import OUTPUTS
from server.estimation.image import CHANNELS
from server.estimation.profiles import DOPPLER_BINS
from server.estimation.train.channels import ANTENNAS
from server.estimation.train.loop import Recipe
from server.estimation.train.network import ProfileNet
from testbed.files import write_aside
from testbed.phy.waveform import Waveform

OPSET = 17  # as the codecs: ONNX Runtime 1.14 and later, so JetPack 6 as well
CONVENTIONS = {
    "snr": "Es/N0 per occupied resource element, per user, per receive antenna, with E|h|^2 = 1",
    "nmse": "10 log10 of mean |h_hat - h|^2 over mean |h|^2, over all elements of a body, antennas, users and frames",
}


def to_onnx(net: ProfileNet) -> bytes:
    """The network as ONNX, number of users and of delays free."""
    inputs = {"image": torch.rand(2, CHANNELS, 39), "delay": torch.rand(2, 2, 39)}
    free = {name: {0: "users", 2: "delays"} for name in inputs} | {"doppler": {0: "users"}}
    inputs["doppler"] = torch.rand(2, 2, DOPPLER_BINS)
    buffer = io.BytesIO()
    torch.onnx.export(
        net.eval(),
        tuple(inputs.values()),
        buffer,  # type: ignore[arg-type]
        input_names=list(inputs),
        output_names=list(OUTPUTS),
        dynamic_axes=free | {name: {0: "users"} for name in OUTPUTS} | {"log_delay": {0: "users", 1: "delays"}},
        opset_version=OPSET,
        dynamo=False,
    )
    return buffer.getvalue()


def export(net: ProfileNet, recipe: Recipe, name: str, command: str, folder: Path) -> Path:
    """Write ``name.onnx`` and ``name.json``.

    Parameters
    ----------
    net : ProfileNet
    recipe : Recipe
        By which it was trained.
    name, command : str
        Of the network; by which it can be made again.
    folder : Path

    Returns
    -------
    Path
        Of the card.
    """
    model = to_onnx(net)
    examples = recipe.blocks * recipe.block
    card = EstimatorCard(
        name=name,
        model=f"{name}.onnx",
        sha256=hashlib.sha256(model).hexdigest(),
        passes=recipe.passes,
        parameters=sum(p.numel() for p in net.parameters()),
        data=f"{examples} users' pilots over TDL-A, -B and -C as testbed.channels draws them (recipe.ranges), "
        "waveform profile ota",
        recipe=msgspec.to_builtins(recipe),
        command=command,
        trained_with=f"torch {torch.__version__}",
        conventions=CONVENTIONS,
        assumes=assumptions(recipe),
    )
    write_aside(folder / card.model, model)
    return write_card(card, folder)


def assumptions(recipe: Recipe) -> Assumptions:
    """What a recipe trains on: its ranges, on frames of the usual waveform."""
    waveform = Waveform()
    return Assumptions(
        doppler_hz=recipe.ranges.doppler_hz,
        delay_spread_s=recipe.ranges.delay_spread_s,
        antennas=(min(ANTENNAS), max(ANTENNAS)),
        pilot_slots=(waveform.pilot_slots, waveform.pilot_slots),
        profile=waveform.profile,
    )


def write_card(card: EstimatorCard, folder: Path) -> Path:
    """Write a card as readable JSON.

    Parameters
    ----------
    card : EstimatorCard
    folder : Path

    Returns
    -------
    Path
    """
    return write_aside(folder / f"{card.name}.json", msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
