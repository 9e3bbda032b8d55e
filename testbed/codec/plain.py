"""Models that come from outside are plain: each output a fixed function of its own input. What is not is not run."""

from __future__ import annotations

from testbed.errors import CodecError, MissingExtra

# Arithmetic of fixed shapes. None draws random numbers or keeps a state from one run to the next, none loops or reads a
# file, and none turns values into shapes or indices: a look-up that fails for some records and not for others tells.
PLAIN_OPERATORS = frozenset(
    {"Add", "Clip", "Concat", "Constant", "Div", "Elu", "Exp", "Flatten", "Gelu", "Gemm", "HardSigmoid", "HardSwish"}
    | {"Identity", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "Min", "Mul", "Neg", "Pow"}
    | {"Reciprocal", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Softplus", "Sqrt"}
    | {"Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"}
)


def require_plain(model: bytes, name: str) -> None:
    """Check a model before it sees anything private.

    Raises
    ------
    CodecError
        If it is no ONNX model, has an operator outside ``PLAIN_OPERATORS``, functions of its own, or data in files.
    MissingExtra
        If `onnx` is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"models from outside are checked by {error.name}: pip install 'semcom-testbed[train]'"
        ) from error
    try:
        read = onnx.load_from_string(model)
    except DecodeError as error:
        raise CodecError(f"{name}: not an ONNX model") from error
    foreign = {node.op_type for node in read.graph.node if node.domain or node.op_type not in PLAIN_OPERATORS}
    if foreign:
        raise CodecError(f"{name}: has {', '.join(sorted(foreign))}; allowed: {', '.join(sorted(PLAIN_OPERATORS))}")
    if read.functions or any(onnx.external_data_helper.uses_external_data(t) for t in read.graph.initializer):
        raise CodecError(f"{name}: has functions of its own or data in other files; allowed: neither")
