"""The card of a trained estimator: what its ONNX file is, where it comes from, how good it is; read and checked."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import msgspec

from server.estimation.base import Assumptions
from testbed.errors import EstimatorError
from testbed.text import without_mark

SHIPPED = "dnn"


class Nmse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Normalised mean squared error in dB, channel by channel, at each of ``snr_db``."""

    command: str
    frames: int  # of each channel and SNR
    snr_db: list[float]
    nmse_db: dict[str, list[float]]  # of this estimator, by channel


class EstimatorCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stored as JSON beside its ONNX file."""

    name: str
    model: str  # file name, in the card's folder
    sha256: str  # of the file
    parameters: int
    passes: int  # of the network over one frame
    data: str
    recipe: dict[str, object]  # its seed among it
    command: str
    trained_with: str
    conventions: dict[str, str]
    assumes: Assumptions  # what it was trained on
    nmse: Nmse | None = None


def zoo_folder() -> Path:
    """Where the estimators that ship with the package lie."""
    return Path(str(resources.files("server.estimation"))) / "zoo"


def read_card(path: Path) -> tuple[EstimatorCard, bytes]:
    """A card and the bytes of its ONNX file, checked against the card's hash.

    Raises
    ------
    EstimatorError
        If a file is missing, the card is not one, or the hash does not match.
    """
    try:
        card = msgspec.json.decode(without_mark(path.read_bytes()), type=EstimatorCard)
    except (OSError, msgspec.DecodeError) as error:
        raise EstimatorError(f"{path}: not an estimator's card: {error}") from error
    file = path.parent / Path(card.model).name
    try:
        model = file.read_bytes()
    except OSError as error:
        raise EstimatorError(
            f"{file}: missing; its card {path.name} asks for it. Install the package again, or `semtb train estimator`"
        ) from error
    found = hashlib.sha256(model).hexdigest()
    if found != card.sha256:
        raise EstimatorError(
            f"{file.name}: has hash {found[:8]}, its card says {card.sha256[:8]}: they do not belong together. "
            "Install the package again, or `semtb train estimator`"
        )
    return card, model
