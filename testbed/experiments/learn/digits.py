"""Body of `semtb train digits`: a small classifier over UCI digits, exported with its card and measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console

from testbed.codec.base import Codec
from testbed.codec.card import Card, Curve, card_bytes, digest_pair
from testbed.codec.links import Link
from testbed.codec.registry import open_codec
from testbed.data import digits
from testbed.data.partition import Labelled
from testbed.errors import MissingExtra
from testbed.experiments.tasks import SPLIT_SEED, as_pictures
from testbed.files import write_aside

NAME = "classifier-digits"
NUMBER = 3  # what a frame's header calls it
SYMBOLS = 8  # for 64 pixels: k/n = 1/8
SNR_DB = (-5.0, 0.0, 5.0, 10.0, 20.0)
NOISE_SEED = 20_240_601
DRAWS = 5  # of the noise, for each picture


def train_digits(out: Path, seed: int) -> None:
    """Train on all digits but those of validation and test, export, measure on the test part.

    Parameters
    ----------
    out : Path
        Folder of the card and its two ONNX files.
    seed : int
        Of weights, batches and noise.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """
    try:
        import torch

        from testbed.codec.train.classifier import Recipe, export, fit, new_pair
    except ModuleNotFoundError as error:
        raise MissingExtra(f"training needs {error.name}: pip install 'semcom-testbed[train]'") from error
    torch.set_num_threads(1)
    parts = digits.split(SPLIT_SEED)
    pictures = np.concatenate([parts.public.pictures, *(c.pictures for c in parts.clients)])
    labels = np.concatenate([parts.public_labels, *(c.labels for c in parts.clients)])
    recipe = Recipe(steps=3000)
    pair = new_pair(digits.SIDE**2, SYMBOLS, digits.CLASSES, seed)
    fit(pair, pictures, np.eye(digits.CLASSES, dtype=np.float32)[labels], recipe, seed)
    encoder, decoder = export(pair)
    card = Card(
        name=NAME,
        number=NUMBER,
        kind="label",
        encoder=f"{NAME}.encoder.onnx",
        decoder=f"{NAME}.decoder.onnx",
        sha256=digest_pair(encoder, decoder),
        sizes={"side": digits.SIDE, "symbols": SYMBOLS, "classes": digits.CLASSES},
        bandwidth_ratio=f"1/{digits.SIDE**2 // SYMBOLS}",
        data=f"UCI digits of scikit-learn, {len(pictures)} of 1797; none of the {len(parts.test)} of the test part",
        recipe=msgspec.to_builtins(recipe) | {"seed": seed, "split_seed": SPLIT_SEED},
        trained_with=f"torch {torch.__version__}",
        conventions={
            "snr": "mean signal power over complex noise power, per complex channel use",
            "accuracy": f"share of test pictures whose largest logit is their label's, {DRAWS} draws of the noise each",
            "power": "unit mean power over the complex symbols of each picture",
            "bandwidth_ratio": "complex channel uses over pixels (8 x 8)",
        },
    )
    write_aside(out / card.encoder, encoder)
    write_aside(out / card.decoder, decoder)
    path = write_aside(out / f"{NAME}.json", card_bytes(card))
    curve = Curve(
        data=f"UCI digits, {len(parts.test)} test pictures, AWGN",
        command=f"semtb train digits --seed {seed}",
        snr_db=list(SNR_DB),
        accuracy=[round(a, 4) for a in accuracy(open_codec(str(path)), parts.test, SNR_DB)],
    )
    write_aside(path, card_bytes(msgspec.structs.replace(card, curves=[curve])))
    console = Console(markup=False)
    for snr, share in zip(curve.snr_db, curve.accuracy, strict=True):
        console.print(f"{snr:5g} dB SNR: {100 * share:.1f} % of {len(parts.test)} test digits")
    console.print(f"written: {path}. To run with it: semtb run digits --set codec.name={path}", soft_wrap=True)


def accuracy(codec: Codec, records: Labelled, snr_db: Sequence[float]) -> list[float]:
    """Share of records whose label is read over AWGN, at each SNR.

    Parameters
    ----------
    codec : Codec
        Of labels.
    records : Labelled
    snr_db : sequence of float
        Per complex channel use.

    Returns
    -------
    list of float
        0..1, as ``snr_db``.
    """
    sent = np.stack([codec.encode(picture) for picture in as_pictures(records)])
    found = []
    for point, snr in enumerate(snr_db):
        rng = np.random.default_rng(np.random.SeedSequence(NOISE_SEED, spawn_key=(point,)))
        right = []
        for _ in range(DRAWS):
            received, no_eff = Link("AWGN", snr).receive(sent, rng)
            pairs = zip(received, no_eff, strict=True)
            right.append([codec.decode(x, no, 0, 0).argmax() for x, no in pairs] == records.labels)
        found.append(float(np.mean(right)))
    return found
