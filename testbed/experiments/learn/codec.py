"""Bodies of `semtb train` and `semtb eval`: data in, progress shown, files out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from testbed.codec.card import Curve, read_card, zoo_folder
from testbed.codec.evaluate import AwgnScore, awgn_score
from testbed.codec.pictures import PictureCodec
from testbed.codec.registry import open_codec
from testbed.data import cifar10
from testbed.data.pictures import SUFFIXES, read_picture
from testbed.errors import CodecError, DataError
from testbed.experiments.extras import TRAINING, require_extra
from testbed.experiments.progress import progress_bar
from testbed.experiments.sweep.axes import Point
from testbed.experiments.sweep.identity import identity_of
from testbed.experiments.sweep.shown import run_shown
from testbed.experiments.tables import print_table
from testbed.files import ensure_folder, require_writable, write_aside
from testbed.record import provenance

EVAL_SEED = 20_240_601


class Task(msgspec.Struct, frozen=True):
    """A codec over AWGN at one SNR: a task of `testbed.experiments.sweep.engine.run_points`."""

    codec: str  # a name in the zoo, or the path of a card
    pictures: int  # of the CIFAR-10 test set
    seed: int

    def __call__(self, point: Point) -> AwgnScore:
        """The score at ``snr_db``, with noise of its own stream, so that a point does not depend on the others."""
        codec, planes = opened(self.codec, self.pictures)
        snr_db = point.at["snr_db"]
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(round(snr_db * 1000) + 10**6,)))
        return awgn_score(codec, planes, snr_db, rng)


@cache
def opened(codec: str, pictures: int) -> tuple[PictureCodec, np.ndarray]:
    """A codec and the pictures that it is measured on, read once in a process."""
    found = open_codec(codec)
    if not isinstance(found, PictureCodec):
        raise CodecError(f"codec {found.identity.label} is of kind {found.kind}; this measures kind picture")
    return found, cifar10.load_test()[:pictures]


def awgn_curve(task: Task, snr_db: Sequence[float], jobs: int = 1, json_path: Path | None = None) -> list[AwgnScore]:
    """Scores at several SNRs.

    Parameters
    ----------
    task : Task
    snr_db : sequence of float
        dB.
    jobs : int
        Processes; no figure depends on it.
    json_path : Path, optional
        Finished points lie beside it, and the same call goes on from them.

    Returns
    -------
    list of AwgnScore
        As ``snr_db``.
    """
    card = opened(task.codec, task.pictures)[0].card
    at = [{"snr_db": float(snr)} for snr in snr_db]
    points = [Point(a, identity_of("awgn", [task, card.sha256, a]) if json_path else "") for a in at]
    figures = run_shown(task, points, "AWGN", jobs, json_path)
    return [msgspec.convert(f, AwgnScore) for f in figures]


def eval_deepjscc(
    codec: str, snr_db: Sequence[float], json_path: Path | None, pictures: int, seed: int, jobs: int = 1
) -> None:
    """PSNR of a codec on the CIFAR-10 test set over AWGN; a table, and a result file if asked."""
    require_writable(json_path)
    task = Task(codec, pictures, seed)
    card, planes = opened(codec, pictures)[0].card, opened(codec, pictures)[1]
    console = Console(markup=False)
    scores = awgn_curve(task, snr_db, jobs, json_path)
    table = Table(title=f"{card.name}, CIFAR-10 test set, {len(planes)} pictures, k/n = {card.bandwidth_ratio}")
    for column in ("SNR dB", "PSNR of mean MSE dB", "± (95 %)", "mean PSNR dB"):
        table.add_column(column, justify="right")
    for s in scores:
        table.add_row(f"{s.snr_db:g}", f"{s.psnr_of_mean_mse_db:.2f}", f"{s.ci95_db:.2f}", f"{s.mean_psnr_db:.2f}")
    print_table(console, table)
    if json_path is not None:
        result = {
            "name": card.name,
            "task": "cifar10",
            "command": provenance.command(),
            "commit": provenance.git_commit(),
            "machine": provenance.machine(),
            "conventions": card.conventions | {"channel": "AWGN", "pictures": len(planes), "seed": seed},
            "codec_sha256": card.sha256,
            "results": {
                "snr_db": [s.snr_db for s in scores],
                "psnr_db": [round(s.psnr_of_mean_mse_db, 4) for s in scores],
                "mean_psnr_db": [round(s.mean_psnr_db, 4) for s in scores],
                "ci95": [round(s.ci95_db, 4) for s in scores],
            },
        }
        write_aside(json_path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        console.print(f"written: {json_path}")


def training_pictures(extra: Path | None) -> tuple[np.ndarray, str]:
    """Training pictures [P, 3, 32, 32] uint8 and a sentence that says where they are from."""
    planes = cifar10.load_training()
    data = f"CIFAR-10 training set, {len(planes)} pictures from the original files"
    if extra is None:
        return planes, data
    files = sorted(p for p in extra.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"--pictures {extra}: no PNG or JPEG below it")
    read = np.stack([read_picture(path).pixels for path in files]).transpose(0, 3, 1, 2)
    if read.shape[2:] != (32, 32):
        raise DataError(f"--pictures {extra}: pictures of {read.shape[3]} x {read.shape[2]}, CIFAR-10 has 32 x 32")
    both = np.unique(np.concatenate([planes, read]).reshape(-1, 3 * 32 * 32), axis=0).reshape(-1, 3, 32, 32)
    return both, f"CIFAR-10 training set, {len(both)} different pictures from the original files and --pictures"


def train_deepjscc(
    name: str, work: Path, out: Path | None, pictures: Path | None, epochs: int | None, threads: int
) -> None:
    """Train a DeepJSCC pair, go on where an interrupted training stopped, export ONNX and card, measure it."""
    require_extra("semtb train deepjscc", TRAINING)
    import torch

    from testbed.codec.train.export import export
    from testbed.codec.train.loop import NUMBERS, RECIPES, train

    if name not in RECIPES:
        raise CodecError(f"--recipe {name}: allowed: {', '.join(RECIPES)}")
    planes, data = training_pictures(pictures)
    recipe = RECIPES[name] if epochs is None else msgspec.structs.replace(RECIPES[name], epochs=epochs)
    torch.set_num_threads(threads)
    ensure_folder(work)
    console = Console(markup=False)
    console.print(f"{data}. Checkpoints go to {work}; the same command goes on from the last one after Ctrl-C.")
    with progress_bar(Console(markup=False, stderr=True)) as bar:
        task = bar.add_task("training", total=None)

        def on_step(step: int, steps: int, loss_db: float) -> None:
            bar.update(task, total=steps, completed=step, description=f"PSNR {-loss_db:5.2f} dB over all links")

        pair = train(planes, recipe, work / f"{name}.pt", on_step)
    folder = out or work
    path = export(pair, recipe, name, NUMBERS[name], data, folder)
    score_card(path)
    console.print(f"written: {path}. To run with it: semtb run two-users --set codec.name={path}")
    if folder.resolve() == zoo_folder().resolve():
        console.print("the zoo's codec was replaced: commit the two ONNX files and the card together")


def score_card(path: Path, snr_db: Sequence[float] = (0, 5, 10, 15, 20)) -> None:
    """Measure a codec on the CIFAR-10 test set and write the curve into its card."""
    from testbed.codec.train.export import write_card

    scores = awgn_curve(Task(str(path), 10_000, EVAL_SEED), snr_db)
    curve = Curve(
        data="CIFAR-10 test set, 10000 pictures, AWGN",
        command="semtb eval deepjscc " + " ".join(f"--snr-db {s:g}" for s in snr_db),
        snr_db=[s.snr_db for s in scores],
        psnr_of_mean_mse_db=[round(s.psnr_of_mean_mse_db, 3) for s in scores],
        mean_psnr_db=[round(s.mean_psnr_db, 3) for s in scores],
    )
    card, _, _ = read_card(path)
    write_card(msgspec.structs.replace(card, curves=[curve]), path.parent)
