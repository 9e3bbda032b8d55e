"""A codec that ships, changed in one way: what a codec of somebody else may get wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from testbed.codec.card import Card, card_bytes, digest_pair, find_card, read_card

CODEC = "deepjscc-cifar10-small"
CHANGES = {
    "encoder not a number": "encoder: gives symbols that are not finite",
    "decoder not a number": "decoder: gives a picture whose values are not finite",
    "decoder not a number where symbols are lost": "decoder: gives a picture whose values are not finite",
    "encoder takes another name": "encoder: takes image float .*wanted: picture float",
    "encoder gives another name": "encoder: gives latent float .*wanted: symbols float",
    "decoder takes another name": "decoder: takes .*noise.*wanted: symbols float",
    "encoder takes colours last": "encoder: takes picture float .*wanted: picture float .any, 3, any, any",
    "encoder takes bytes": "encoder: takes picture uint8",
    "encoder fixed in size": "encoder: takes picture float .*32, 32.*wanted: picture float .any, 3, any, any",
    "encoder fixed in number": "encoder: takes picture float .1,",
    "nine channels on the card": "encoder: gives symbols float .*wanted: symbols float .any, 18",
    "another stride on the card": "encoder: gives symbols .* its card, with stride 8",
    "data in another file": "encoder: .*cannot load it",
    "power 100": "encoder: gives symbols of mean power 100; wanted: 1",
    "power 4": "encoder: gives symbols of mean power 4; wanted: 1",
    "power 0.25": "encoder: gives symbols of mean power 0.25; wanted: 1",
}


def write_pair(card: Card, encoder: onnx.ModelProto, decoder: onnx.ModelProto, folder: Path) -> Path:
    """Card and halves in ``folder``, the hash as it must be; the card's path."""
    halves = encoder.SerializeToString(), decoder.SerializeToString()
    for name, data in zip((card.encoder, card.decoder), halves, strict=True):
        (folder / name).write_bytes(data)
    path = folder / "changed.json"
    path.write_bytes(card_bytes(msgspec.structs.replace(card, sha256=digest_pair(*halves))))
    return path


def after(model: onnx.ModelProto, output: str, operator: str, value: np.ndarray) -> None:
    """One more operator behind a model's output."""
    for node in model.graph.node:
        node.output[:] = ["plain" if name == output else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(value, "constant"))
    model.graph.node.append(helper.make_node(operator, ["plain", "constant"], [output]))


def before(model: onnx.ModelProto, taken: str, node: onnx.NodeProto, *constants: onnx.TensorProto) -> None:
    """One operator from input ``taken`` to ``plain`` ahead of a model."""
    for other in model.graph.node:
        other.input[:] = ["plain" if name == taken else name for name in other.input]
    model.graph.initializer.extend(constants)
    nodes = [node, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """An input or output by another name."""
    for value in (*model.graph.input, *model.graph.output):
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def fix(value: onnx.ValueInfoProto, **axes: int) -> None:
    """Axes by their symbolic names to fixed lengths."""
    for dim in value.type.tensor_type.shape.dim:
        if dim.dim_param in axes:
            dim.dim_value = axes[dim.dim_param]


def changed(what: str, folder: Path) -> Path:
    """Write the codec with one change; its card's path."""
    card, first, second = read_card(find_card(CODEC))
    encoder, decoder = onnx.load_model_from_string(first), onnx.load_model_from_string(second)
    if what.startswith("power "):
        s = float(what.split()[1]) ** 0.5
        after(encoder, "symbols", "Mul", np.float32(s))
        before(
            decoder,
            "symbols",
            helper.make_node("Div", ["symbols", "s"], ["plain"]),
            numpy_helper.from_array(np.float32(s), "s"),
        )
    elif what == "encoder not a number":
        after(encoder, "symbols", "Mul", np.float32("nan"))
    elif what == "decoder not a number":
        after(decoder, "picture", "Mul", np.float32("nan"))
    elif what == "decoder not a number where symbols are lost":
        before(
            decoder,
            "no_eff",
            helper.make_node("Mul", ["no_eff", "nothing"], ["plain"]),
            numpy_helper.from_array(np.float32(0), "nothing"),
        )
    elif what == "encoder takes another name":
        rename(encoder, "picture", "image")
    elif what == "encoder gives another name":
        rename(encoder, "symbols", "latent")
    elif what == "decoder takes another name":
        rename(decoder, "no_eff", "noise")
    elif what == "encoder takes colours last":
        before(encoder, "picture", helper.make_node("Transpose", ["picture"], ["plain"], perm=[0, 3, 1, 2]))
        shape = encoder.graph.input[0].type.tensor_type.shape
        shape.dim[1].dim_param, shape.dim[3].dim_value = "rows", 3
    elif what == "encoder takes bytes":
        before(encoder, "picture", helper.make_node("Cast", ["picture"], ["plain"], to=onnx.TensorProto.FLOAT))
        encoder.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    elif what == "encoder fixed in size":
        fix(encoder.graph.input[0], rows=32, columns=32)
    elif what == "encoder fixed in number":
        fix(encoder.graph.input[0], batch=1)
    elif what == "nine channels on the card":
        card = msgspec.structs.replace(card, sizes=card.sizes | {"complex_channels": 9})
    elif what == "another stride on the card":
        card = msgspec.structs.replace(card, sizes=card.sizes | {"stride": 8})
    elif what == "data in another file":
        onnx.external_data_helper.convert_model_to_external_data(encoder, location="weights.bin", size_threshold=0)
        onnx.save_model(encoder, str(folder / "aside.onnx"))
        encoder = onnx.load_model(str(folder / "aside.onnx"), load_external_data=False)
    elif what == "half the rate":
        card = half_rate(card, encoder, decoder)
    elif what == "nine channels":
        card = nine_channels(card, encoder, decoder)
    else:
        raise KeyError(what)
    return write_pair(card, encoder, decoder, folder)


def nine_channels(card: Card, encoder: onnx.ModelProto, decoder: onnx.ModelProto) -> Card:
    """A ninth channel that repeats the first, whole and in order; the decoder does without it."""
    wide = np.array([*range(8), 0, *range(8, 16), 8])
    narrow = np.array([*range(8), *range(9, 17)])
    after(encoder, "symbols", "Gather", wide)
    encoder.graph.node[-1].attribute.append(helper.make_attribute("axis", 1))
    scale = numpy_helper.from_array(np.float32(1), "one")
    encoder.graph.initializer.append(scale)
    rename(encoder, "symbols", "unscaled")
    encoder.graph.output[0].name = "symbols"
    axes = numpy_helper.from_array(np.array([1, 2, 3]), "axes")
    two = numpy_helper.from_array(np.float32(2), "two")
    encoder.graph.initializer.extend([axes, two])
    encoder.graph.node.extend(
        [
            helper.make_node("Mul", ["unscaled", "unscaled"], ["squares"]),
            helper.make_node("ReduceMean", ["squares"], ["mean"], axes=[1, 2, 3]),
            helper.make_node("Mul", ["mean", "two"], ["power"]),
            helper.make_node("Sqrt", ["power"], ["rms"]),
            helper.make_node("Div", ["unscaled", "rms"], ["symbols"]),
        ]
    )
    before(
        decoder,
        "symbols",
        helper.make_node("Gather", ["symbols", "narrow"], ["plain"], axis=1),
        numpy_helper.from_array(narrow, "narrow"),
    )
    for node in decoder.graph.node:
        node.input[:] = ["fewer" if name == "no_eff" else name for name in node.input]
    nodes = [helper.make_node("Gather", ["no_eff", "eight"], ["fewer"], axis=1), *decoder.graph.node]
    decoder.graph.initializer.append(numpy_helper.from_array(np.arange(8), "eight"))
    del decoder.graph.node[:]
    decoder.graph.node.extend(nodes)
    for value, channels in ((encoder.graph.output[0], 18), (decoder.graph.input[0], 18), (decoder.graph.input[1], 9)):
        value.type.tensor_type.shape.dim[1].dim_value = channels
    return msgspec.structs.replace(card, sizes=card.sizes | {"complex_channels": 9})


def half_rate(card: Card, encoder: onnx.ModelProto, decoder: onnx.ModelProto) -> Card:
    """The first four of eight channels, at unit power; the decoder takes the others for lost."""
    add = encoder.graph.initializer.append
    for node in encoder.graph.node:
        node.output[:] = ["whole" if name == "symbols" else name for name in node.output]
    add(numpy_helper.from_array(np.array([0, 1, 2, 3, 8, 9, 10, 11]), "four"))
    add(numpy_helper.from_array(np.float32(2), "two"))
    encoder.graph.node.extend(
        [
            helper.make_node("Gather", ["whole", "four"], ["unscaled"], axis=1),
            helper.make_node("Mul", ["unscaled", "unscaled"], ["squares"]),
            helper.make_node("ReduceMean", ["squares"], ["mean"], axes=[1, 2, 3]),
            helper.make_node("Mul", ["mean", "two"], ["power"]),
            helper.make_node("Sqrt", ["power"], ["rms"]),
            helper.make_node("Div", ["unscaled", "rms"], ["symbols"]),
        ]
    )
    for node in decoder.graph.node:
        node.input[:] = [{"symbols": "all", "no_eff": "all_no"}.get(name, name) for name in node.input]
    constants = {"real": np.arange(4), "imaginary": np.arange(4, 8), "zero": np.float32(0), "much": np.float32(1e6)}
    decoder.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    nodes = [
        helper.make_node("Gather", ["symbols", "real"], ["re"], axis=1),
        helper.make_node("Gather", ["symbols", "imaginary"], ["im"], axis=1),
        helper.make_node("Mul", ["re", "zero"], ["none"]),
        helper.make_node("Add", ["none", "much"], ["lost"]),
        helper.make_node("Concat", ["re", "none", "im", "none"], ["all"], axis=1),
        helper.make_node("Concat", ["no_eff", "lost"], ["all_no"], axis=1),
        *decoder.graph.node,
    ]
    del decoder.graph.node[:]
    decoder.graph.node.extend(nodes)
    for value, channels in ((encoder.graph.output[0], 8), (decoder.graph.input[0], 8), (decoder.graph.input[1], 4)):
        value.type.tensor_type.shape.dim[1].dim_value = channels
    return msgspec.structs.replace(card, sizes=card.sizes | {"complex_channels": 4}, bandwidth_ratio="1/12")
