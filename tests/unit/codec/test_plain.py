"""Models from outside: plain ones pass, those that could tell of their inputs by other ways are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.requirements import TRAINING

onnx = pytest.importorskip("onnx", reason=TRAINING)
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from testbed.codec.onnx import open_session  # noqa: E402
from testbed.codec.plain import PLAIN_OPERATORS, require_plain  # noqa: E402
from testbed.errors import CodecError  # noqa: E402

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
