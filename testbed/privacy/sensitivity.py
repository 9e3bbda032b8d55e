"""How far one record can move what a node releases, and what bounds it: clipping. No noise and no accounting here."""

from __future__ import annotations

import msgspec
import numpy as np

from testbed.errors import ShapeError

RECORD_BOUND = 1.0  # L2 norm that one record's contribution never exceeds; the unit in which evidence is counted


class Sensitivity(msgspec.Struct, frozen=True):
    """How far one record, added or removed, can move all that one release holds, in both norms that mechanisms use.

    Stated without knowing any record. Infinite: one record may change anything, and no noise protects it.
    """

    l2: float
    l1: float


def clip_rows(rows: np.ndarray, bound: float) -> np.ndarray:
    r"""Each row scaled down to an L2 norm of at most ``bound``: :math:`x \min(1, C/\lVert x\rVert)`.

    A row whose norm is not finite becomes zero: noise hides no infinity, and what is not a number stays none under it.

    Parameters
    ----------
    rows : [n, d] float
    bound : float
        C, above 0.

    Returns
    -------
    [n, d] float64
    """
    values = np.asarray(rows, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(values, axis=-1, keepdims=True)
    values = np.where(np.isfinite(norms), values, 0.0)
    norms = np.where(np.isfinite(norms), norms, 0.0)
    return values * (bound / np.maximum(norms, bound))


def class_sums(rows: np.ndarray, labels: np.ndarray, classes: int, bound: float) -> np.ndarray:
    r"""Sum of the clipped rows of each class, :math:`S_{\cdot c} = \sum_{i: y_i=c} \mathrm{clip}_C(x_i)`.

    One record lies in one column and is at most C long, so the L2 sensitivity of the whole matrix is C if a record is
    added or removed, 2C if it is replaced (reached when the replacement points the opposite way in the same class).

    Parameters
    ----------
    rows : [n, d] float
    labels : [n] int, 0..classes - 1
    classes : int
    bound : float
        C.

    Returns
    -------
    [d, classes] float64

    Raises
    ------
    ShapeError
        If there is not one label for each row.
    """
    if rows.ndim != 2 or labels.shape != (len(rows),):
        raise ShapeError(f"rows [n, d] and labels [n] are wanted, not {list(rows.shape)} and {list(labels.shape)}")
    return clip_rows(rows, bound).T @ np.eye(classes)[labels]


def bounded_table_sensitivity(rows: int, columns: int, bound: float) -> Sensitivity:
    r"""Of a table whose rows are at most ``bound`` long in L2, if one record may change all of them.

    :math:`\Delta_2 = 2C\sqrt{m}`, :math:`\Delta_1 = 2Cm\sqrt{c}`: what a model trained without protection says of m
    samples is such a table, because one record may change the whole model. It holds for an added, a removed and a
    replaced record alike.

    Parameters
    ----------
    rows, columns : int
        m and c.
    bound : float
        C.

    Returns
    -------
    Sensitivity
    """
    return Sensitivity(l2=2.0 * bound * rows**0.5, l1=2.0 * bound * rows * columns**0.5)


def class_sums_sensitivity(columns: int, bound: float) -> Sensitivity:
    r"""Of :func:`class_sums` of rows of ``columns`` values: one record fills one column, at most C long in L2.

    Parameters
    ----------
    columns : int
        d, values of a row.
    bound : float
        C.

    Returns
    -------
    Sensitivity
        :math:`\Delta_2 = C`, :math:`\Delta_1 = C\sqrt{d}`.
    """
    return Sensitivity(l2=bound, l1=bound * columns**0.5)
