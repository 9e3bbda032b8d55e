"""How well what was sent is known at the end, by the metric that a task names: PSNR and SSIM, or accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from skimage.metrics import mean_squared_error, structural_similarity

from testbed.errors import DataError
from testbed.experiments.sent import Sent
from testbed.record.schema import Picture

MID_GREY = 128  # what a picture that never arrived counts as
SSIM_WINDOW = 7  # pixels, skimage's default; smaller pictures have no SSIM

Received = Mapping[tuple[int, int], tuple[np.ndarray, float]]
Bound = Sequence[np.ndarray]
Scores = tuple[list[Picture], dict[str, Any]]  # of each picture, and of the user: fields of schema.User


def picture_scores(original: np.ndarray, received: np.ndarray | None) -> tuple[float, float | None]:
    """MSE in squared steps of 255, and SSIM where the picture is large enough."""
    got = received if received is not None else np.full_like(original, MID_GREY)
    similarity = None
    if min(original.shape[:2]) >= SSIM_WINDOW:
        similarity = float(structural_similarity(original, got, channel_axis=2, data_range=255))
    return float(mean_squared_error(original, got)), similarity


def psnr_db(mse: float) -> float:
    """PSNR for a peak of 255; two equal pictures count as half a step of rounding."""
    return float(10 * np.log10(255.0**2 / max(mse, 1.0 / 12.0)))


def as_pictures(one: Sent, received: Received, bound: Bound | None) -> Scores:
    """PSNR and SSIM of each picture, mid-grey where nothing arrived; of the user, by the mean MSE."""
    pictures, mse, bound_mse = [], [], []
    for index, photograph in enumerate(one.pictures):
        pixels, lost = received.get((one.user, index), (None, 1.0))
        error, similarity = picture_scores(photograph.pixels, pixels)
        mse.append(error)
        if bound is not None:
            bound_mse.append(picture_scores(photograph.pixels, bound[index])[0])
        height, width = photograph.pixels.shape[:2]
        pictures.append(
            Picture(
                name=photograph.name,
                height=height,
                width=width,
                psnr_db=psnr_db(error),
                ssim=similarity,
                single_user_psnr_db=psnr_db(bound_mse[-1]) if bound is not None else None,
                lost_share=lost,
                codec=one.codecs[index].identity.label,
            )
        )
    similarities = [p.ssim for p in pictures if p.ssim is not None]
    return pictures, {
        "psnr_db": psnr_db(float(np.mean(mse))) if mse else None,
        "ssim": float(np.mean(similarities)) if similarities else None,
        "single_user_psnr_db": psnr_db(float(np.mean(bound_mse))) if bound_mse else None,
    }


def as_labels(one: Sent, received: Received, bound: Bound | None) -> Scores:
    """The share of pictures whose largest logit is that of their label; one that never arrived is wrong.

    Raises
    ------
    DataError
        If an edge sent another number of pictures than its task dealt it.
    """
    labels = one.labels or []
    if len(labels) != len(one.pictures):
        raise DataError(f"{one.node}: sent {len(one.pictures)} pictures, its task dealt it {len(labels)}")
    pictures = []
    for index, (photograph, label) in enumerate(zip(one.pictures, labels, strict=True)):
        logits, lost = received.get((one.user, index), (None, 1.0))
        height, width = photograph.pixels.shape[:2]
        pictures.append(
            Picture(
                name=photograph.name,
                height=height,
                width=width,
                psnr_db=None,
                ssim=None,
                single_user_psnr_db=None,
                lost_share=lost,
                codec=one.codecs[index].identity.label,
                label=int(label),
                read_as=int(logits.argmax()) if logits is not None else None,
            )
        )
    right = [p.read_as == p.label for p in pictures]
    alone = [int(b.argmax()) == label for b, label in zip(bound or [], labels, strict=False)]
    return pictures, {
        "psnr_db": None,
        "ssim": None,
        "single_user_psnr_db": None,
        "accuracy": float(np.mean(right)) if right else 0.0,
        "single_user_accuracy": float(np.mean(alone)) if alone else None,
    }


METRICS: dict[str, Callable[[Sent, Received, Bound | None], Scores]] = {"psnr": as_pictures, "accuracy": as_labels}
