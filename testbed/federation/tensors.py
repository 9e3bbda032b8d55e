"""Named tensors, as both ends hold them and as messages carry them. Nothing is believed of what a message says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from testbed.control.messages import Tensor
from testbed.errors import ProtocolError, ShapeError

FLOAT32 = "float32"

Tensors = dict[str, np.ndarray]


class Spec(msgspec.Struct, frozen=True):
    """What is agreed of one tensor of float32 before it exists."""

    shape: tuple[int, ...]
    l2: float = math.inf  # norm that the exact value, without noise, never exceeds
    largest: float = math.inf  # magnitude that none of its values exceeds

    @property
    def size(self) -> int:
        """How many values."""
        return math.prod(self.shape)


def pack(tensors: Tensors) -> dict[str, Tensor]:
    """Tensors as a message carries them.

    Parameters
    ----------
    tensors : dict of str to [...] float
        Rounded to float32.

    Returns
    -------
    dict of str to Tensor
    """
    return {
        name: Tensor(dtype=FLOAT32, shape=tuple(value.shape), data=np.ascontiguousarray(value, "<f4").tobytes())
        for name, value in tensors.items()
    }


def unpack(received: Mapping[str, Tensor], specs: Mapping[str, Spec], whose: str) -> Tensors:
    """Tensors from a message, if they are exactly those that were agreed: names, type, shapes, finite values.

    Parameters
    ----------
    received : mapping of str to Tensor
    specs : mapping of str to Spec
    whose : str
        How an error begins: who sent what.

    Returns
    -------
    dict of str to [...] float32
        In the order of ``specs``; read only.

    Raises
    ------
    ProtocolError
        If anything is not as agreed; it names the tensor, what it is and what is allowed.
    """
    if set(received) != set(specs):
        # Foreign names are counted and not repeated: they come from outside and may be of any length.
        foreign, missing = len(set(received) - set(specs)), sorted(set(specs) - set(received))
        raise ProtocolError(
            f"{whose}: {foreign} tensors of other names, {len(missing)} missing; agreed: {some(specs) or 'none'}"
        )
    found = {}
    for name, spec in specs.items():
        tensor = received[name]
        if tensor.dtype != FLOAT32:
            raise ProtocolError(f"{whose}: {name} is of {tensor.dtype[:20]!r}; agreed: {FLOAT32}")
        if tensor.shape != spec.shape or len(tensor.data) != 4 * spec.size:
            raise ProtocolError(
                f"{whose}: {name} has shape {list(tensor.shape)[:8]} and {len(tensor.data)} bytes; agreed: "
                f"{list(spec.shape)}, {4 * spec.size} bytes"
            )
        value = np.frombuffer(tensor.data, "<f4").reshape(spec.shape)
        if not np.all(np.isfinite(value)):
            raise ProtocolError(f"{whose}: {name} has values that are not finite")
        found[name] = value
    return found


def some(names: Iterable[str], most: int = 4) -> str:
    """The first names, and how many more there are.

    Parameters
    ----------
    names : iterable of str
    most : int
        Names that are listed.

    Returns
    -------
    str
    """
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def require(tensors: Tensors, specs: Mapping[str, Spec], whose: str) -> None:
    """Check names and shapes of tensors that were made here.

    Parameters
    ----------
    tensors : {name: array}
    specs : {name: Spec}
    whose : str
        For messages.

    Raises
    ------
    ShapeError
        If they are not those of ``specs``.
    """
    found, agreed = ({n: tuple(v.shape) for n, v in of.items()} for of in (tensors, specs))
    if found != agreed:
        raise ShapeError(f"{whose}: made {found}; agreed: {agreed}")
