"""Models that come from outside are plain: each output a fixed function of its own input, of bounded size and work.

What is not is not run. The list holds the arithmetic that codecs are made of; it was examined operator by operator.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from testbed.errors import CodecError

if TYPE_CHECKING:
    import onnx

# Arithmetic of fixed shapes. None draws random numbers or keeps a state from one run to the next, none loops or reads a
# file, and none makes whole numbers of values, which could become shapes or indices: what fails for some records and
# not for others tells which they are. (`Pow` does: of a whole number and a fraction it makes a whole number.)
PLAIN_OPERATORS = frozenset(
    {"Add", "Clip", "Concat", "Constant", "Conv", "ConvTranspose", "DepthToSpace", "Div", "Elu", "Erf", "Exp"}
    | {"Flatten", "Gelu", "Gemm", "HardSigmoid", "HardSwish", "Identity", "LayerNormalization", "LeakyRelu", "Log"}
    | {"LogSoftmax", "MatMul", "Max", "Min", "Mul", "Neg", "Reciprocal", "ReduceMean", "ReduceSum", "Relu", "Reshape"}
    | {"Sigmoid", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose"}
    | {"Unsqueeze"}
)
CAST_TO = {1: "float", 10: "float16"}  # `Cast` to these alone: to a whole number it would make an index of a value
RUNTIMES_OWN = b"ORTM"  # at byte 4: ONNX Runtime's own format, which a file can be beside ONNX

# Of attributes that are lengths or steps. Zeros divide; large ones make tensors of any size from a small one.
ATTRIBUTES = {
    "strides": (1, 64),
    "dilations": (1, 64),
    "kernel_shape": (1, 256),
    "pads": (0, 256),
    "output_padding": (0, 64),
    "group": (1, 4096),
    "blocksize": (1, 16),
}
REFUSED_ATTRIBUTES = ("auto_pad", "output_shape")  # sizes by another way; exporters write pads

MAX_MODEL_BYTES = 2**26
MAX_NODES = 4096
# For the inputs that the caller names. The largest codec that ships makes 1.9e7 values and 2.5e9 products at 256 x 256.
MAX_VALUES = 10**8
MAX_PRODUCTS = 25 * 10**9
FREE_AXIS = 512  # of inputs for which no shape is given: as long as a batch of public samples


def require_plain(model: bytes, name: str, shapes: Mapping[str, Sequence[int]] | None = None) -> None:
    """Check a model before it sees anything private or takes anything of this machine.

    Parameters
    ----------
    model : bytes
        ONNX.
    name : str
        For messages.
    shapes : mapping, optional
        Of inputs, as large as they may become; else free axes count as ``FREE_AXIS``.

    Raises
    ------
    CodecError
        If it is no ONNX model; has an operator outside ``PLAIN_OPERATORS``, an attribute outside ``ATTRIBUTES``, graphs
        in graphs or functions of its own, or data outside its own dense tensors; or if it makes more values or
        products than allowed, or as many as cannot be told.
    """
    import onnx

    if len(model) > MAX_MODEL_BYTES:
        raise CodecError(f"{name}: has {len(model)} bytes; allowed: {MAX_MODEL_BYTES}")
    try:
        read = onnx.load_from_string(model)
    except Exception as error:  # protobuf's own, which is no dependency of ours
        raise CodecError(f"{name}: not an ONNX model") from error
    if model[4:8] == RUNTIMES_OWN:
        raise CodecError(f"{name}: is of ONNX Runtime's own format, too; allowed: ONNX alone")
    parts = list(messages(read))
    nodes = [p for p in parts if isinstance(p, onnx.NodeProto)]
    fixed = {tensor.name for tensor in read.graph.initializer} - {given.name for given in read.graph.input}
    fixed |= {output for n in nodes if n.op_type == "Constant" for output in n.output}
    foreign = {n.op_type for n in nodes if n.domain or not (n.op_type in PLAIN_OPERATORS or is_harmless(n, fixed))}
    if foreign:
        raise CodecError(f"{name}: has {', '.join(sorted(foreign))}; allowed: {', '.join(sorted(PLAIN_OPERATORS))}")
    if sum(isinstance(p, (onnx.GraphProto, onnx.FunctionProto)) for p in parts) != 1:
        raise CodecError(f"{name}: has graphs in its graph or functions of its own; allowed: neither")
    tensors = [p for p in parts if isinstance(p, onnx.TensorProto)]
    outside = any(t.external_data or t.data_location != onnx.TensorProto.DEFAULT for t in tensors)
    if outside or any(isinstance(p, onnx.SparseTensorProto) for p in parts):
        raise CodecError(f"{name}: has sparse data or data in other files; allowed: neither")
    for node in nodes:
        check_attributes(node, name)
    require_bounded(read, name, shapes or {})


def is_harmless(node: onnx.NodeProto, fixed: Collection[str]) -> bool:
    """Whether a node is a Cast to a type in ``CAST_TO``, or a Gather whose indices stand in the model.

    Parameters
    ----------
    node : onnx.NodeProto
    fixed : collection of str
        Names of the tensors that stand in the model.

    Returns
    -------
    bool
    """
    if node.op_type == "Gather":
        return len(node.input) == 2 and node.input[1] in fixed
    return node.op_type == "Cast" and [a.i for a in node.attribute if a.name == "to"][:1] in [[t] for t in CAST_TO]


def check_attributes(node: onnx.NodeProto, name: str) -> None:
    """Refuse a length or step outside ``ATTRIBUTES``.

    Parameters
    ----------
    node : onnx.NodeProto
    name : str
        For messages.

    Raises
    ------
    CodecError
        If an attribute lies outside, or is one of ``REFUSED_ATTRIBUTES``.
    """
    for attribute in node.attribute:
        values = list(attribute.ints) or [attribute.i]
        if attribute.name in REFUSED_ATTRIBUTES and (attribute.ints or attribute.s not in (b"", b"NOTSET")):
            raise CodecError(f"{name}: {node.op_type} has {attribute.name}; allowed: pads instead")
        low, high = ATTRIBUTES.get(attribute.name, (-math.inf, math.inf))
        if not all(low <= value <= high for value in values):
            raise CodecError(f"{name}: {node.op_type}: {attribute.name} = {values[:8]}; allowed: {low}..{high}")


def require_bounded(read: onnx.ModelProto, name: str, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse a model that makes more values or products than allowed, or of which nobody can tell how many.

    Every tensor that a node makes counts, also what ONNX Runtime would work out once when it loads the model.

    Parameters
    ----------
    read : onnx.ModelProto
    name : str
        For messages.
    shapes : {str: sequence of int}
        Largest lengths of the inputs' axes.

    Raises
    ------
    CodecError
        If it has more than ``MAX_NODES``, ``MAX_VALUES`` or ``MAX_PRODUCTS``, or its sizes cannot be worked out.
    """
    import onnx

    if len(read.graph.node) > MAX_NODES:
        raise CodecError(f"{name}: has {len(read.graph.node)} nodes; allowed: {MAX_NODES}")
    fixed = onnx.ModelProto()
    fixed.CopyFrom(read)
    del fixed.graph.value_info[:]  # what a model says of its own sizes is no evidence
    for given in fixed.graph.input:
        set_shape(given, shapes.get(given.name))
    for made in fixed.graph.output:
        made.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(fixed, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # onnx's own exceptions share no base
        raise CodecError(f"{name}: its sizes do not fit each other: {str(error)[:200]}") from error
    sizes: dict[str, list[int] | None] = {"": []}
    sizes |= {tensor.name: list(tensor.dims) for tensor in inferred.graph.initializer}
    for known in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        sizes[known.name] = lengths(known)
    values = products = 0
    for node in inferred.graph.node:
        if node.op_type == "Concat" and all(sizes.get(i) for i in node.input):
            sizes[node.output[0]] = joined(node, [sizes[i] or [] for i in node.input])
        made_sizes = [sizes.get(output) for output in node.output if output]
        if any(size is None for size in made_sizes) or any(sizes.get(i) is None for i in node.input):
            raise CodecError(f"{name}: how large what {node.op_type} makes will be cannot be told from the model")
        values += sum(math.prod(size) for size in made_sizes if size is not None)
        products += products_of(node, [sizes[i] or [] for i in node.input], [size or [] for size in made_sizes])
    if values > MAX_VALUES or products > MAX_PRODUCTS:
        raise CodecError(
            f"{name}: makes {values:.3g} values and {products:.3g} products; "
            f"allowed: {MAX_VALUES:.3g} and {MAX_PRODUCTS:.3g}"
        )


def joined(node: onnx.NodeProto, given: Sequence[Sequence[int]]) -> list[int]:
    """The lengths of what a Concat makes; onnx before 1.23 counts them in 32 bits, which a hostile model overflows.

    Parameters
    ----------
    node : onnx.NodeProto
    given : sequence of shapes
        Of its inputs.

    Returns
    -------
    list of int
    """
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    made = list(given[0])
    made[axis] = sum(shape[axis] for shape in given)
    return made


def products_of(node: onnx.NodeProto, given: Sequence[Sequence[int]], made: Sequence[Sequence[int]]) -> int:
    """Multiply-adds of a node whose work is more than its output; 0 for all others.

    Parameters
    ----------
    node : onnx.NodeProto
    given, made : sequence of shapes
        Of its inputs and outputs.

    Returns
    -------
    int
    """
    if node.op_type == "Conv":
        return math.prod(made[0]) * math.prod(given[1][1:])
    if node.op_type == "ConvTranspose":
        return math.prod(given[0]) * math.prod(given[1][1:])
    if node.op_type in ("MatMul", "Gemm"):
        return math.prod(made[0]) * max(given[0][-2:], default=1)
    return 0


def set_shape(value: onnx.ValueInfoProto, shape: Sequence[int] | None) -> None:
    """Give an input the lengths in ``shape``; what stays free becomes ``FREE_AXIS``.

    Parameters
    ----------
    value : onnx.ValueInfoProto
        Changed.
    shape : sequence of int or None
        None, or one of another number of axes: all are free.
    """
    axes = value.type.tensor_type.shape.dim
    if shape is not None and len(shape) == len(axes):
        for axis, length in zip(axes, shape, strict=True):
            if axis.WhichOneof("value") != "dim_value":
                axis.dim_value = length
    for axis in axes:
        if axis.WhichOneof("value") != "dim_value":
            axis.dim_value = FREE_AXIS


def lengths(value: onnx.ValueInfoProto) -> list[int] | None:
    """The length of each axis; None if one of them is not known."""
    tensor = value.type.tensor_type
    known = tensor.HasField("shape") and all(a.WhichOneof("value") == "dim_value" for a in tensor.shape.dim)
    return [axis.dim_value for axis in tensor.shape.dim] if known else None


def messages(part: Any) -> Iterator[Any]:
    """A protobuf message and all that stand in it."""
    yield part
    for field, value in part.ListFields():
        if field.message_type is not None:
            for inner in value if hasattr(value, "__len__") else [value]:
                yield from messages(inner)
