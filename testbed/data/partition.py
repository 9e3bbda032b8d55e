"""Sets of pictures with and without labels, as types of their own, and the cut that makes clients unlike each other."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from testbed.errors import DataError, ShapeError
from testbed.files import write_aside


class Unlabelled:
    """Pictures and nothing else: what a public set is. There is no place in it where a label could lie.

    Parameters
    ----------
    pictures : [n, pixels] float32 in 0..1
    """

    __slots__ = ("pictures",)

    def __init__(self, pictures: np.ndarray) -> None:
        if pictures.ndim != 2:
            raise ShapeError(f"pictures are [n, pixels], not {list(pictures.shape)}")
        self.pictures = np.ascontiguousarray(pictures, np.float32)

    def __len__(self) -> int:
        return len(self.pictures)

    def write(self, path: Path) -> Path:
        """Into one .npz file, whole or not at all."""
        return write_arrays(path, pictures=self.pictures)

    @classmethod
    def read(cls, path: Path) -> Unlabelled:
        """From such a file; one that holds anything else is refused."""
        return cls(**read_arrays(path, ("pictures",)))


class Labelled:
    """Pictures and their labels.

    Parameters
    ----------
    pictures : [n, pixels] float32 in 0..1
    labels : [n] int64
    """

    __slots__ = ("labels", "pictures")

    def __init__(self, pictures: np.ndarray, labels: np.ndarray) -> None:
        if pictures.ndim != 2 or labels.shape != (len(pictures),):
            raise ShapeError(
                f"pictures [n, pixels] and labels [n] are wanted, not {list(pictures.shape)} and {list(labels.shape)}"
            )
        self.pictures = np.ascontiguousarray(pictures, np.float32)
        self.labels = np.ascontiguousarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: np.ndarray) -> Labelled:
        return Labelled(self.pictures[index], self.labels[index])

    def without_labels(self) -> Unlabelled:
        """The pictures alone."""
        return Unlabelled(self.pictures)

    def write(self, path: Path) -> Path:
        """Into one .npz file, whole or not at all."""
        return write_arrays(path, pictures=self.pictures, labels=self.labels)

    @classmethod
    def read(cls, path: Path) -> Labelled:
        """From such a file; one that holds anything else is refused."""
        return cls(**read_arrays(path, ("pictures", "labels")))


def write_arrays(path: Path, **arrays: np.ndarray) -> Path:
    """Arrays by name into one .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return write_aside(path, buffer.getvalue())


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Exactly the arrays ``names`` of an .npz file.

    Parameters
    ----------
    path : Path
    names : tuple of str

    Returns
    -------
    {name: array}

    Raises
    ------
    DataError
        If the file is missing, damaged, or holds more or less than that.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            found = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: not an archive of arrays: {error}") from error
    if set(found) != set(names):
        raise DataError(f"{path}: holds {', '.join(sorted(found))}; exactly {', '.join(names)} is wanted")
    return found


def slices_by_label(labels: np.ndarray, clients: int, each: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Sort by label, cut into ``clients * each`` slices, deal each client ``each`` of them at random.

    The sizes of slices differ by at most one. With two slices each, a client sees two labels, seldom three or four.

    Parameters
    ----------
    labels : [n] int
    clients, each : int
    rng : numpy.random.Generator
        Breaks ties within a label, and deals.

    Returns
    -------
    list of [m] int64
        Indices into ``labels`` of each client; together every index once.

    Raises
    ------
    ShapeError
        If there are fewer samples than slices, or no client or slice.

    References
    ----------
    B. McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
    """
    if clients * each > len(labels) or clients < 1 or each < 1:
        raise ShapeError(f"{clients} clients with {each} slices each cannot be cut from {len(labels)} samples")
    shuffled = rng.permutation(len(labels))
    slices = np.array_split(shuffled[np.argsort(labels[shuffled], kind="stable")], clients * each)
    dealt = rng.permutation(clients * each).reshape(clients, each)
    return [np.concatenate([slices[s] for s in hand]) for hand in dealt]
