"""The server's training: one encoder and classifier for all, from public pictures and what edges said. Uses torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from testbed.codec.card import digest_pair
from testbed.codec.train.classifier import Recipe, export, first_pair, fit, new_pair
from testbed.control.messages import Pair
from testbed.data.partition import Unlabelled


def beginning(public: Unlabelled, symbols: int, classes: int) -> Pair:
    """Round 0: an encoder learned without labels, and a classifier that knows nothing."""
    return as_message(0, *export(first_pair(public.pictures, symbols, classes)))


def distil(
    public: Unlabelled,
    probabilities: np.ndarray,
    symbols: int,
    number: int,
    seed: int,
    should_stop: Callable[[], bool],
    recipe: Recipe = Recipe(),  # noqa: B008 - immutable
) -> Pair:
    """A pair trained from scratch to answer ``probabilities`` for the public pictures over channels of all kinds.

    Parameters
    ----------
    public : Unlabelled
    probabilities : [m, classes] float32
    symbols : int
    number : int
        Of the round.
    seed : int
    should_stop : callable
    recipe : Recipe

    Raises
    ------
    RunIncomplete
        If ``should_stop`` says so.
    """
    pair = new_pair(public.pictures.shape[1], symbols, probabilities.shape[1], seed)
    fit(pair, public.pictures, probabilities, recipe, seed, should_stop)
    return as_message(number, *export(pair))


def as_message(number: int, encoder: bytes, decoder: bytes) -> Pair:
    """What edges are sent."""
    return Pair(round=number, encoder=encoder, decoder=decoder, sha256=digest_pair(encoder, decoder))
