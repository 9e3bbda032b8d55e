"""Models from outside: plain ones pass, those that could tell of their inputs by other ways are refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from testbed.codec.card import card_bytes, digest_pair, find_card, read_card
from testbed.codec.onnx import open_session
from testbed.codec.plain import PLAIN_OPERATORS, require_plain
from testbed.codec.store import install_encoder, install_pair, require_plain_codec, sha256
from testbed.errors import CodecError

WEIGHTS = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")


def model(*nodes: onnx.NodeProto, initializers=(WEIGHTS,), sparse=(), **options) -> onnx.ModelProto:
    """[B, 4] float32 in and out."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 4]) for name in ("x", "y")]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], list(initializers), sparse_initializer=list(sparse))
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8, **options)


def node(kind: str, inputs: str, outputs: str = "y", **attributes) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def elsewhere(path: Path, name: str = "secret") -> onnx.TensorProto:
    """Four values that lie in a file of the machine that runs the model."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", str(path)), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_a_plain_model_passes_and_runs():
    made = model(node("MatMul", "x w", "h"), node("Relu", "h")).SerializeToString()
    require_plain(made, "round 1")
    (y,) = open_session(made, "encoder", threads=1).run(["y"], {"x": np.full((2, 4), -1, np.float32)})
    assert not y.any()


def branch() -> onnx.NodeProto:
    """An If, whose two branches are graphs in a graph."""
    inner = helper.make_graph([node("Identity", "x", "z")], "b", [], [helper.make_tensor_value_info("z", 1, None)])
    return node("If", "c", then_branch=inner, else_branch=inner)


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([node("RandomNormalLike", "x")], "RandomNormalLike"),
        ([node("Gather", "w x")], "Gather"),
        ([node("Gather", "x w", axis=1), node("Gather", "w x", "z")], "Gather"),
        ([node("Cast", "x", to=TensorProto.INT64)], "Cast"),
        ([node("Pow", "x w")], "Pow"),
        ([node("Loop", "x")], "Loop"),
        ([branch()], "If"),
        ([node("Relu", "x", domain="com.microsoft")], "Relu"),
    ],
)
def test_operators_that_could_tell_are_named_and_refused(nodes: list[onnx.NodeProto], named: str):
    """Random numbers, look-ups, whole numbers made of values, loops, branches, somebody's own operators."""
    with pytest.raises(CodecError, match=rf"round 1: has {named}; allowed: Add"):
        require_plain(model(*nodes).SerializeToString(), "round 1")


def test_data_in_other_files_is_refused_wherever_it_stands(tmp_path: Path):
    """As an initializer, as a constant's value, as sparse values; and no session opens such a model either."""
    secret = tmp_path / "records.bin"
    secret.write_bytes(np.arange(4, dtype="<f4").tobytes())
    values, indices = elsewhere(secret, "s"), numpy_helper.from_array(np.arange(4, dtype=np.int64), "i")
    sparse = helper.make_sparse_tensor(values, indices, [4])
    constant = node("Constant", "", "secret", value=elsewhere(secret))
    constant.ClearField("input")
    of_sparse = node("Constant", "", "s", sparse_value=sparse)
    of_sparse.ClearField("input")
    for made in (
        model(node("Add", "x secret"), initializers=[elsewhere(secret)]),
        model(constant, node("Add", "x secret")),
        model(node("Add", "x s"), sparse=[sparse]),
        model(of_sparse, node("Add", "x s")),
    ):
        with pytest.raises(CodecError, match="data in other files"):
            require_plain(made.SerializeToString(), "round 1")


@pytest.mark.parametrize("place", ["initializer", "constant"])
def test_a_session_reads_no_file_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    """Also where nobody looked at the model before, and the file lies in the working directory."""
    (tmp_path / "records.bin").write_bytes(np.arange(4, dtype="<f4").tobytes())
    monkeypatch.chdir(tmp_path)
    tensor = elsewhere(Path("records.bin"))
    constant = node("Constant", "", "secret", value=tensor)
    constant.ClearField("input")
    made = {
        "initializer": model(node("Add", "x secret"), initializers=[tensor]),
        "constant": model(constant, node("Add", "x secret")),
    }[place]
    with pytest.raises(CodecError, match="cannot load it"):
        open_session(made.SerializeToString(), "encoder", threads=1)


def test_a_file_that_is_also_of_the_runtimes_own_format_is_refused():
    """ONNX Runtime looks at bytes 4 to 8; a producer's name can stand there."""
    made = model(node("Relu", "x"), producer_name="ORTM").SerializeToString()
    assert made[4:8] == b"ORTM"
    with pytest.raises(CodecError, match="own format"):
        require_plain(made, "round 1")


def test_functions_of_its_own_and_what_is_no_model_are_refused():
    made = model(node("Relu", "x"))
    made.functions.add(name="Mine", domain="mine")
    with pytest.raises(CodecError, match="functions of its own"):
        require_plain(made.SerializeToString(), "round 1")
    for data in (b"\xff" * 40, b"GET / HTTP/1.1"):
        with pytest.raises(CodecError, match="not an ONNX model"):
            require_plain(data, "round 1")


def test_no_operator_on_the_list_makes_whole_numbers_of_fractions():
    """By the standard's own type constraints: none whose output may be whole while an input of another type is not."""

    def fractions_to_whole(name: str) -> bool:
        schema = onnx.defs.get_schema(name, 20)
        allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}

        def types(end) -> set[str]:
            return allowed.get(end.type_str, {end.type_str})

        return any(
            "tensor(int64)" in types(output) and "tensor(float)" in types(given)
            for output in schema.outputs
            for given in schema.inputs
            if given.type_str != output.type_str
        )

    assert not [name for name in PLAIN_OPERATORS if fractions_to_whole(name)]
    assert all(fractions_to_whole(name) for name in ("Pow", "Cast", "ArgMax", "Shape"))


PICTURES = {"x": (1, 3, 32, 32)}


def pictures(*nodes: onnx.NodeProto, weights: dict[str, tuple[int, ...]], channels: int = 3) -> bytes:
    """[B, channels, H, W] float32 in, anything out."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", channels, "H", "W"])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [given], [made], tensors)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def doubling(times: int) -> bytes:
    """Concat of a tensor with itself, again and again: a kilobyte of model, 2**times of memory."""
    names = ["x", *(f"h{k}" for k in range(1, times)), "y"]
    nodes = [node("Concat", f"{a} {a}", b, axis=1) for a, b in itertools.pairwise(names)]
    return pictures(*nodes, weights={})


SQUARE = {"w": (4, 3, 3, 3)}
UP = {"w": (3, 4, 3, 3)}


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (pictures(node("Conv", "x w", strides=[0, 1]), weights=SQUARE), r"Conv: strides = \[0, 1\]; allowed: 1..64"),
        (pictures(node("Conv", "x w", dilations=[10**6, 1]), weights=SQUARE), "dilations"),
        (pictures(node("Conv", "x w", pads=[2**30] * 4), weights=SQUARE), "pads"),
        (pictures(node("Conv", "x w", pads=[-1] * 4), weights=SQUARE), "pads"),
        (pictures(node("Conv", "x w", group=0), weights=SQUARE), "group"),
        (pictures(node("Conv", "x w", auto_pad="SAME_UPPER"), weights=SQUARE), "auto_pad"),
        (pictures(node("ConvTranspose", "x w", strides=[10**5, 10**5]), weights=UP), "strides"),
        (pictures(node("ConvTranspose", "x w", output_padding=[10**6, 0]), weights=UP), "output_padding"),
        (pictures(node("ConvTranspose", "x w", output_shape=[10**6, 10**6]), weights=UP), "output_shape"),
        (pictures(node("DepthToSpace", "x", blocksize=0), weights={}), "blocksize"),
        (doubling(40), "values and 0 products; allowed"),
        (
            pictures(
                node("ConvTranspose", "x w", "h", strides=[64, 64]),
                node("ConvTranspose", "h v", strides=[64, 64]),
                weights={"w": (3, 4, 3, 3), "v": (4, 4, 3, 3)},
            ),
            "values and",
        ),
        (
            pictures(
                node("Conv", "x w", "h", pads=[127] * 4),
                node("Conv", "h v", pads=[127] * 4),
                weights={"w": (64, 3, 255, 255), "v": (16, 64, 63, 63)},
            ),
            "products; allowed",
        ),
        (pictures(node("Reshape", "x s"), weights={"s": (2,)}), "sizes do not fit|cannot be told"),
    ],
    ids=lambda value: value[:24].strip() if isinstance(value, str) else "",
)
def test_a_model_that_would_take_the_machine_is_refused_before_it_runs(made: bytes, says: str):
    """Zero steps, endless padding, growth by a factor at each layer: each a few kilobytes of ONNX."""
    with pytest.raises(CodecError, match=says):
        require_plain(made, "encoder", PICTURES)


def test_what_a_model_says_of_its_own_sizes_is_no_evidence():
    """The same doubling, each tensor declared as one value."""
    read = onnx.load_from_string(doubling(40))
    for k in range(1, 40):
        read.graph.value_info.append(helper.make_tensor_value_info(f"h{k}", TensorProto.FLOAT, [1]))
    with pytest.raises(CodecError, match="values and"):
        require_plain(read.SerializeToString(), "encoder", PICTURES)


def test_bounds_count_what_the_runtime_makes():
    """Values and products of a convolution and a transposed one by hand: 2 x 4 x 15 x 15 from 32 x 32, and back up."""
    made = pictures(
        node("Conv", "x w", "h", strides=[2, 2]),
        node("ConvTranspose", "h v", strides=[3, 3]),
        weights={"w": (4, 3, 3, 3), "v": (4, 5, 2, 2)},
    )
    (y,) = open_session(made, "encoder", threads=1).run(None, {"x": np.zeros((2, 3, 32, 32), np.float32)})
    assert y.shape == (2, 5, 44, 44)
    values, products = 2 * 4 * 15 * 15 + y.size, 2 * 4 * 15 * 15 * 27 + 2 * 4 * 15 * 15 * 20
    for limit, at, allowed in (("VALUES", values, True), ("VALUES", values - 1, False), ("PRODUCTS", products, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"testbed.codec.plain.MAX_{limit}", at)
            if allowed:
                require_plain(made, "encoder", {"x": (2, 3, 32, 32)})
            else:
                with pytest.raises(CodecError, match="allowed"):
                    require_plain(made, "encoder", {"x": (2, 3, 32, 32)})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CodecError, match="allowed"):
        patch.setattr("testbed.codec.plain.MAX_PRODUCTS", products - 1)
        require_plain(made, "encoder", {"x": (2, 3, 32, 32)})


@pytest.mark.parametrize("name", ["deepjscc-cifar10", "deepjscc-cifar10-small"])
def test_the_codecs_that_ship_are_plain(name: str):
    require_plain_codec(*read_card(find_card(name)))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_an_offered_codec_that_is_not_plain_never_runs(tmp_path: Path, half: str, monkeypatch: pytest.MonkeyPatch):
    """At the server, which gets both halves, and at an edge, which gets the encoder: none is opened or kept."""
    card, encoder, decoder = read_card(find_card("deepjscc-cifar10-small"))
    read = onnx.load_from_string(encoder if half == "encoder" else decoder)
    read.graph.node.append(node("RandomNormalLike", read.graph.output[0].name, "z"))
    pair = (read.SerializeToString(), decoder) if half == "encoder" else (encoder, read.SerializeToString())
    card_json = card_bytes(msgspec.structs.replace(card, sha256=digest_pair(*pair)))
    monkeypatch.setattr("testbed.codec.store.open_pair", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(CodecError, match=f"{half}: has RandomNormalLike"):
        install_pair(tmp_path, card_json, *pair)
    if half == "encoder":
        with pytest.raises(CodecError, match="encoder: has RandomNormalLike"):
            install_encoder(tmp_path, card_json, pair[0], sha256(pair[0]))
    wide = card_bytes(msgspec.structs.replace(card, sizes=card.sizes | {"stride": 10**9}))
    with pytest.raises(CodecError, match="stride = 1000000000: allowed"):
        install_encoder(tmp_path, wide, encoder, sha256(encoder))
    assert not list(tmp_path.iterdir())
