"""A codec's twin: exactly as good, and garbage when mixed with it. What the live switch is tried and tested with."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from testbed.codec.card import Card, card_bytes, digest_pair
from testbed.files import write_aside


def make_twin(card: Card, encoder: bytes, decoder: bytes, folder: Path) -> Path:
    """Turn every symbol by a multiple of 90 degrees, or mirror it, as its channel has it, and undo it at the decoder.

    Each symbol keeps its power and its resource element, so that it meets the same fades. Name and number are the
    original's: the hash alone tells the two apart.

    Parameters
    ----------
    card, encoder, decoder
        Of the codec, as ``testbed.codec.card.read_card`` gives them.
    folder : Path
        Where the twin's card and its two ONNX files are written.

    Returns
    -------
    Path
        Of the card.
    """
    channels = card.sizes["complex_channels"]
    reals = np.arange(2 * channels)  # real parts of all channels, then their imaginary parts
    swapped = reals % channels % 2 == 1
    order = np.where(swapped, np.roll(reals, channels), reals)  # the two parts of every other channel change places
    signs = np.where(reals % 3 == 0, 1.0, -1.0).astype(np.float32).reshape(1, -1, 1, 1)

    first = onnx.load_model_from_string(encoder)
    for node in first.graph.node:
        node.output[:] = ["plain" if name == "symbols" else name for name in node.output]
    add_constants(first, order=order, signs=signs)
    turn = [
        helper.make_node("Gather", ["plain", "order"], ["moved"], axis=1),
        helper.make_node("Mul", ["moved", "signs"], ["symbols"]),
    ]
    first.graph.node.extend(turn)

    second = onnx.load_model_from_string(decoder)
    for node in second.graph.node:
        node.input[:] = ["plain" if name == "symbols" else name for name in node.input]
    add_constants(second, back=np.argsort(order), signs=signs)
    undo = [
        helper.make_node("Mul", ["symbols", "signs"], ["moved"]),
        helper.make_node("Gather", ["moved", "back"], ["plain"], axis=1),
    ]
    nodes = [*undo, *second.graph.node]
    del second.graph.node[:]
    second.graph.node.extend(nodes)

    halves = first.SerializeToString(), second.SerializeToString()
    names = "twin.encoder.onnx", "twin.decoder.onnx"
    for name, data in zip(names, halves, strict=True):
        write_aside(folder / name, data)
    twin = msgspec.structs.replace(card, encoder=names[0], decoder=names[1], sha256=digest_pair(*halves))
    return write_aside(folder / "twin.json", card_bytes(twin))


def add_constants(model: onnx.ModelProto, **arrays: np.ndarray) -> None:
    """Named arrays that a model's nodes can take as inputs."""
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
