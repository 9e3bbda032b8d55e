"""Checkpoints of a training: written whole or not at all; damaged ones are named in one line. Needs torch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from testbed.errors import DataError
from testbed.files import write_aside


class Part(Protocol):
    """A network, optimizer or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """All of it as plain values and tensors."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Become what such values say."""
        ...


def write_checkpoint(path: Path, recipe: str, parts: Mapping[str, Part], **facts: float) -> None:
    """Keep the state of a training.

    Parameters
    ----------
    path : Path
    recipe : str
        What decides the training; only the same one goes on from here.
    parts : {name: Part}
    **facts : float
        How far it is, and what else it needs to go on.

    Raises
    ------
    DataError
        If the file system does not take it.
    """
    buffer = io.BytesIO()
    torch.save({"recipe": recipe, **facts, **{name: part.state_dict() for name, part in parts.items()}}, buffer)
    write_aside(path, buffer.getvalue())


def read_checkpoint(path: Path, recipe: str, parts: Mapping[str, Part], **facts: float) -> dict[str, float]:
    """Go on from a checkpoint, where there is one.

    Parameters
    ----------
    path : Path
    recipe : str
    parts : {name: Part}
        Become what they were.
    **facts : float
        Where a training begins that has no checkpoint.

    Returns
    -------
    {name: float}
        The facts as they were kept, or as given.

    Raises
    ------
    DataError
        If it is damaged, or belongs to another recipe.
    """
    if not path.exists():
        return facts
    again = "remove it to begin anew, or name another --work folder"
    try:
        state = torch.load(path, weights_only=True)
        found = state["recipe"]
        if found == recipe:
            for name, part in parts.items():
                part.load_state_dict(state[name])
            return {name: state[name] for name in facts}
    except Exception as error:  # torch meets damaged files with exceptions of every kind
        raise DataError(f"{path}: not a whole checkpoint ({type(error).__name__}): {again}") from error
    raise DataError(f"{path}: belongs to another recipe: {again}")
