"""What a public numeric function says of itself: its parameters, what it returns, which of our errors it raises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from testbed import errors

ROOT = Path(__file__).parents[2]
NUMERIC = (
    "calibration",
    "testbed/units.py",
    "testbed/phy",
    "testbed/channels",
    "testbed/air/_kernels.py",
    "testbed/air/bank.py",
    "testbed/air/fading.py",
    "testbed/air/front_end.py",
    "testbed/air/impairments.py",
    "testbed/air/interference.py",
    "testbed/air/levels.py",
    "testbed/air/links.py",
    "testbed/air/port_status.py",
    "testbed/air/medium.py",
    "testbed/air/_normal_kernels.py",
    "testbed/air/oscillator.py",
    "testbed/air/power.py",
    "testbed/air/resample.py",
    "testbed/air/truth.py",
    "testbed/air/tuned.py",
    "testbed/air/world.py",
    "testbed/air/world_parts.py",
    "testbed/air/iiod/dds.py",
    "testbed/air/iiod/fir.py",
    "testbed/air/iiod/frontend.py",
    "testbed/air/iiod/hearing.py",
    "testbed/codec",
    "testbed/data/digits.py",
    "testbed/data/partition.py",
    "testbed/data/split.py",
    "testbed/federation",
    "testbed/privacy",
    "server/detection",
    "server/estimation",
)
OURS = {name for name, value in vars(errors).items() if isinstance(value, type)}
HEADING = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
SHAPE_FIRST = re.compile(r"^\[.*?\] (u?int|float|complex|bool)\d*")  # "[n] float32: ..." says what is returned


def parameters(function: ast.FunctionDef) -> list[str]:
    given = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return [each.arg for each in given if each.arg not in ("self", "cls")]


def faults(function: ast.FunctionDef) -> list[str]:
    docstring = ast.get_docstring(function) or ""
    parts = HEADING.split(docstring)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    found, names = [], parameters(function)
    if len(names) >= 2:
        described = " ".join(re.findall(r"^(\S.*?)(?: :|$)", sections.get("Parameters", ""), re.MULTILINE))
        missing = [name for name in names if not re.search(rf"\b{name}\b", described)]
        if missing:
            found.append(f"Parameters lacks {', '.join(missing)}")
        nothing = function.returns is None or ast.unparse(function.returns) == "None"
        if not nothing and not {"Returns", "Yields"} & set(sections) and not SHAPE_FIRST.match(docstring):
            found.append("Returns is missing")
    raised = {
        call.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Raise) and isinstance(call := node.exc, ast.Call) and isinstance(call.func, ast.Name)
    }
    unsaid = [name for name in sorted(raised & OURS) if name not in sections.get("Raises", "")]
    return [*found, f"Raises lacks {', '.join(unsaid)}"] if unsaid else found


def public_functions(file: Path) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef]]:
    for node in ast.parse(file.read_text()).body:
        owner = node if isinstance(node, ast.ClassDef) else None
        for function in owner.body if owner else [node]:
            hidden = (owner and owner.name.startswith("_")) or not isinstance(function, ast.FunctionDef)
            if not hidden and not function.name.startswith("_"):
                yield owner, function


def files(part: str) -> list[Path]:
    return [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))


@lru_cache(maxsize=1)
def protocols() -> set[tuple[str, ...]]:
    """Name and parameters of what protocols and abstract classes describe: who implements it need not repeat it."""
    return {
        (function.name, *parameters(function))
        for part in NUMERIC
        for file in files(part)
        for owner, function in public_functions(file)
        if owner and {"Protocol", "ABC"} & {ast.unparse(base) for base in owner.bases} and not faults(function)
    }


@pytest.mark.parametrize("part", NUMERIC)
def test_public_numeric_functions_say_what_they_take_give_and_raise(part):
    """Whoever has two parameters names them all and what is returned; whoever raises one of our errors says which."""
    assert files(part)
    found = [
        f"{file.relative_to(ROOT)}:{function.lineno}: {function.name}: {fault}"
        for file in files(part)
        for owner, function in public_functions(file)
        if not owner or (function.name, *parameters(function)) not in protocols()
        for fault in faults(function)
    ]
    assert not found, "\n".join(found)


WHOLE = '''
def scale(x: np.ndarray, gain_db: float) -> np.ndarray:
    """Amplify.

    Parameters
    ----------
    x : [n] complex64
    gain_db : float

    Returns
    -------
    [n] complex64

    Raises
    ------
    ShapeError
        If x has axes.
    """
    if x.ndim != 1:
        raise ShapeError("x")
    return x
'''


@pytest.mark.parametrize(
    "kept, lost, fault",
    [
        ("gain_db : float", "", "Parameters lacks gain_db"),
        ("x : [n] complex64", "y : [n] complex64", "Parameters lacks x"),
        ("Returns\n    -------\n    [n] complex64", "", "Returns is missing"),
        ("ShapeError\n        If", "ValueError\n        If", "Raises lacks ShapeError"),
    ],
)
def test_what_a_docstring_leaves_out_is_found(kept, lost, fault):
    whole, less = (ast.parse(text).body[0] for text in (WHOLE, WHOLE.replace(kept, lost)))
    assert (faults(whole), faults(less)) == ([], [fault])
