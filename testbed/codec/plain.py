"""Models that come from outside are plain: each output a fixed function of its own input. What is not is not run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from testbed.errors import CodecError, MissingExtra

# Arithmetic of fixed shapes. None draws random numbers or keeps a state from one run to the next, none loops or reads a
# file, and none makes whole numbers of values, which could become shapes or indices: what fails for some records and
# not for others tells which they are. (`Pow` does: of a whole number and a fraction it makes a whole number.)
PLAIN_OPERATORS = frozenset(
    {"Add", "Clip", "Concat", "Constant", "Div", "Elu", "Exp", "Flatten", "Gelu", "Gemm", "HardSigmoid", "HardSwish"}
    | {"Identity", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "Min", "Mul", "Neg"}
    | {"Reciprocal", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Softplus", "Sqrt"}
    | {"Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"}
)
RUNTIMES_OWN = b"ORTM"  # at byte 4: ONNX Runtime's own format, which a file can be beside ONNX


def require_plain(model: bytes, name: str) -> None:
    """Check a model before it sees anything private.

    Raises
    ------
    CodecError
        If it is no ONNX model, has an operator outside ``PLAIN_OPERATORS``, graphs in graphs or functions of its own,
        or data outside its own dense tensors.
    MissingExtra
        If `onnx` is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"models from outside are checked by {error.name}: pip install 'semcom-testbed[train]'"
        ) from error
    try:
        read = onnx.load_from_string(model)
    except Exception as error:  # protobuf's own, which is no dependency of ours
        raise CodecError(f"{name}: not an ONNX model") from error
    if model[4:8] == RUNTIMES_OWN:
        raise CodecError(f"{name}: is of ONNX Runtime's own format, too; allowed: ONNX alone")
    parts = list(messages(read))
    foreign = {
        p.op_type for p in parts if isinstance(p, onnx.NodeProto) if p.domain or p.op_type not in PLAIN_OPERATORS
    }
    if foreign:
        raise CodecError(f"{name}: has {', '.join(sorted(foreign))}; allowed: {', '.join(sorted(PLAIN_OPERATORS))}")
    if sum(isinstance(p, (onnx.GraphProto, onnx.FunctionProto)) for p in parts) != 1:
        raise CodecError(f"{name}: has graphs in its graph or functions of its own; allowed: neither")
    tensors = [p for p in parts if isinstance(p, onnx.TensorProto)]
    outside = any(t.external_data or t.data_location != onnx.TensorProto.DEFAULT for t in tensors)
    if outside or any(isinstance(p, onnx.SparseTensorProto) for p in parts):
        raise CodecError(f"{name}: has sparse data or data in other files; allowed: neither")


def messages(part: Any) -> Iterator[Any]:
    """A protobuf message and all that stand in it."""
    yield part
    for field, value in part.ListFields():
        if field.message_type is not None:
            for inner in value if hasattr(value, "__len__") else [value]:
                yield from messages(inner)
