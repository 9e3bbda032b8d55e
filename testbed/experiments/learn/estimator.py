"""Bodies of `semtb train estimator` and `semtb eval estimator`: progress shown, files out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from server.estimation import Estimator, find_estimator
from server.estimation.card import SHIPPED, Nmse, read_card, zoo_folder
from testbed.experiments.extras import TRAINING, require_extra
from testbed.experiments.learn.scores import CHANNELS, FrameErrors, Scores, collect, score_frame, summary
from testbed.experiments.progress import progress_bar
from testbed.experiments.sweep.axes import Axis, Point, product
from testbed.experiments.sweep.identity import identity_of
from testbed.experiments.sweep.shown import run_shown
from testbed.experiments.tables import print_table
from testbed.files import ensure_folder, require_writable, write_aside
from testbed.phy.waveform import Waveform
from testbed.record import provenance
from testbed.report.estimators import nmse

EVAL_SEED = 20_261_122
SNR_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
CARD_FRAMES = 100
ANTENNAS = 2
CONVENTIONS = {
    "snr": "Es/N0 per occupied resource element, per user, per receive antenna, with E|h|^2 = 1",
    "nmse": "10 log10 of mean |h_hat - h|^2 over mean |h|^2, over a body's elements, 2 antennas, 2 users and frames",
    "frames": "each has its own channel, offsets and delays and is received at every SNR; delay spread log-uniform in "
    "30..400 ns, Doppler uniform in 0..100 Hz, unless fixed by options; the estimators see the same grids",
    "lmmse": "of each user the likeliest of a set of delay and Doppler profiles",
    "lmmse-estimated": "maximum-likelihood delay and Doppler profiles (16 steps) of the very frame, antennas together",
    "lmmse-true": "told the true delays, powers and Doppler spectrum; the bound for linear estimation from one frame",
    "ci95": "bootstrap over frames; of differences, paired",
    "frames_lost": "frames whose carrier offset the synchronisation missed by more than pilots can tell: left out",
}


class Task(msgspec.Struct, frozen=True):
    """Estimators on one frame of one channel: a task of `testbed.experiments.sweep.engine.run_points`.

    Attributes
    ----------
    estimators : dict
        Label to what `find_estimator` takes.
    """

    waveform: Waveform
    estimators: dict[str, str]
    snr_db: list[float]
    seed: int
    spread_s: float | None = None
    doppler_hz: float | None = None

    def __call__(self, point: Point) -> FrameErrors:
        """The errors at ``point``, a channel and the number of a frame."""
        found = opened(self.waveform, tuple(self.estimators.items()))
        channel, frame = point.at["channel"], point.at["frame"]
        return score_frame(self.waveform, channel, found, self.snr_db, frame, self.seed, self.spread_s, self.doppler_hz)


@cache
def opened(waveform: Waveform, names: tuple[tuple[str, str], ...]) -> dict[str, Estimator]:
    """Estimators of two antennas by label, each opened once in a process."""
    return {label: find_estimator(name)(waveform, ANTENNAS) for label, name in names}


def score_all(task: Task, frames: int, jobs: int = 1, json_path: Path | None = None) -> dict[str, Scores]:
    """Every channel's scores, with a bar.

    Parameters
    ----------
    task : Task
    frames : int
        Of each channel.
    jobs : int
        Processes; no figure depends on it.
    json_path : Path, optional
        Finished frames lie beside it, and the same call goes on from them.

    Returns
    -------
    dict
        Channel to scores.
    """
    coordinates = product([Axis("channel", CHANNELS), Axis("frame", tuple(range(frames)))])
    points = [Point(at, identity_of("estimator", [task, at]) if json_path else "") for at in coordinates]
    figures = run_shown(task, points, "frames", jobs, json_path)
    made = [msgspec.convert(f, FrameErrors) for f in figures]
    return {c: collect(task.snr_db, made[i * frames : (i + 1) * frames]) for i, c in enumerate(CHANNELS)}


def eval_estimator(
    name: str,
    snr_db: Sequence[float],
    frames: int,
    seed: int,
    profile: str,
    spread_ns: float | None,
    doppler_hz: float | None,
    json_path: Path | None,
    svg_path: Path | None,
    jobs: int = 1,
) -> None:
    """NMSE of the network beside the others on the air's channels; a table, a result file and a figure if asked."""
    require_writable(json_path)
    require_writable(svg_path)
    estimators = {n: n for n in ("ls", "lmmse", "lmmse-estimated")} | {"dnn": name}
    card, _ = read_card(zoo_folder() / f"{SHIPPED}.json" if name == SHIPPED else Path(name))
    spread_s = None if spread_ns is None else spread_ns * 1e-9
    waveform = Waveform(profile=profile)
    task = Task(waveform, estimators, list(snr_db), seed, spread_s, doppler_hz)
    scores = score_all(task, frames, jobs, json_path)
    channels = {channel: summary(s, seed) for channel, s in scores.items()}
    console = Console(markup=False)
    for channel, found in channels.items():
        print_table(console, table_of(channel, list(snr_db), found, frames))
    conventions = CONVENTIONS | {"frames_per_point": str(frames), "seed": str(seed), "profile": profile}
    if spread_ns is not None:
        conventions["delay_spread"] = f"{spread_ns:g} ns"
    if doppler_hz is not None:
        conventions["doppler"] = f"{doppler_hz:g} Hz"
    result = {
        "name": "estimator-nmse",
        "task": "channel estimation",
        "command": provenance.command(),
        "commit": provenance.git_commit(),
        "machine": provenance.machine(),
        "conventions": conventions,
        "estimator_sha256": card.sha256,
        "results": {"snr_db": list(snr_db), "channels": channels},
    }
    if json_path is not None:
        write_aside(json_path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        console.print(f"written: {json_path}")
    if svg_path is not None:
        write_aside(svg_path, nmse(msgspec.json.decode(msgspec.json.encode(result["results"]))).encode())
        console.print(f"written: {svg_path}")


def table_of(channel: str, snr_db: list[float], found: dict, frames: int) -> Table:
    """NMSE of each estimator; the network over LMMSE with estimated statistics; its reported over its true error."""
    table = Table(
        title=f"{channel}: NMSE in dB, {frames} frames a point",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("SNR", justify="right", no_wrap=True)
    for name in found["nmse_db"]:
        table.add_column(name.replace("-", "\n"), justify="right", no_wrap=True, min_width=6)
    table.add_column("dnn over estimated\n(95 %)", justify="right", no_wrap=True)
    table.add_column("dnn:\nreport", justify="right", no_wrap=True)
    over = found["dnn_over"]["lmmse-estimated"]
    for i, snr in enumerate(snr_db):
        low, high = over["ci95_db"][i]
        table.add_row(
            f"{snr:g}",
            *(f"{values[i]:.2f}" for values in found["nmse_db"].values()),
            f"{over['db'][i]:+.2f} ({low:+.2f}, {high:+.2f})",
            f"{found['reported_over_measured_db']['dnn'][i]:+.2f}",
        )
    return table


def train_estimator(
    work: Path, out: Path | None, epochs: int | None, blocks: int | None, seed: int, threads: int
) -> None:
    """Train the network, go on where an interrupted training stopped, export ONNX and card, measure it."""
    require_extra("semtb train estimator", TRAINING)
    import torch

    from server.estimation.train.export import export, write_card
    from server.estimation.train.loop import Recipe, train

    usual = Recipe(seed=seed)
    recipe = Recipe(seed=seed, epochs=epochs or usual.epochs, blocks=blocks or usual.blocks)
    torch.set_num_threads(threads)
    ensure_folder(work)
    console = Console(markup=False)
    console.print(f"Checkpoints go to {work}; the same command goes on from the last one after Ctrl-C.")
    with progress_bar(Console(markup=False, stderr=True)) as bar:
        drawing = bar.add_task("drawing channels", total=recipe.blocks)
        task = bar.add_task("training", total=None)

        def on_step(step: int, steps: int, error_db: float) -> None:
            bar.update(task, total=steps, completed=step, description=f"error {error_db:6.2f} dB over one pilot's")

        def on_draw(block: int, blocks: int) -> None:
            bar.update(drawing, completed=block)

        net = train(Waveform(), recipe, work / "checkpoint.pt", on_draw, on_step)
    folder = out or work
    path = export(net, recipe, SHIPPED, provenance.command(), folder)
    scores = score_all(Task(Waveform(), {"dnn": str(path)}, list(SNR_DB), EVAL_SEED), CARD_FRAMES)
    table = {channel: summary(s, EVAL_SEED)["nmse_db"]["dnn"] for channel, s in scores.items()}  # type: ignore[index]
    card, _ = read_card(path)
    command = f"semtb eval estimator --frames {CARD_FRAMES}"
    write_card(msgspec.structs.replace(card, nmse=Nmse(command, CARD_FRAMES, list(SNR_DB), table)), folder)
    console.print(f"written: {path}. To run with it: semtb run two-users --set server.estimator={path}")
    if folder.resolve() == zoo_folder().resolve():
        console.print("the shipped estimator was replaced: commit the ONNX file and the card together")
