"""`semtb train`, `eval`: what learns and what is measured by itself, without a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from testbed.cli.options import MAX_SEED, Jobs, JsonFile, number
from testbed.cli.process import keep_to_one_thread

SNR_DB = (-30.0, 80.0)  # as air.snr_db

train_app = typer.Typer(no_args_is_help=True, help="Train a codec or an estimator (needs the extra `train`).")
eval_app = typer.Typer(no_args_is_help=True, help="Measure a codec on a data set, or estimators on channels.")


@eval_app.command("deepjscc", epilog="Example:  semtb eval deepjscc --snr-db 10 --json result.json")
def eval_deepjscc(
    snr_db: Annotated[list[float], number(float, *SNR_DB, "--snr-db", help="May be repeated.")] = [10.0],  # noqa: B006
    json_path: JsonFile = None,
    codec: Annotated[str, typer.Option(help="A name in the zoo, or the path of a card.")] = "deepjscc-cifar10",
    pictures: Annotated[int, number(int, 1, 10_000, help="How many of the test set's pictures.")] = 10_000,
    seed: Annotated[Optional[int], number(int, 0, MAX_SEED, help="Of the noise.")] = None,  # noqa: UP045
    jobs: Jobs = 1,
) -> None:
    """PSNR of a DeepJSCC codec on the CIFAR-10 test set over AWGN. SEMTB_DATA names the folder of data sets."""
    from testbed.experiments.learn import codec as codec_commands

    chosen = codec_commands.EVAL_SEED if seed is None else seed
    codec_commands.eval_deepjscc(codec, snr_db, json_path, pictures, chosen, jobs)


@train_app.command("twin", epilog="Then:  semtb run two-users --set repeat=3 --switch edge-1:build/twin/twin.json@30")
def train_twin(
    out: Annotated[Path, typer.Option(help="Where its card and ONNX files go.")] = Path("build/twin"),
    codec: Annotated[str, typer.Option(help="Whose: a name in the zoo, or the path of a card.")] = "deepjscc-cifar10",
) -> None:
    """Make a codec's twin, as good as it and garbage when mixed with it, to try `semtb run --switch` with."""
    from testbed.experiments.switch import write_twin

    typer.echo(write_twin(codec, out))


@train_app.command("deepjscc", epilog="Example:  semtb train deepjscc --work build/deepjscc --threads 4")
def train_deepjscc(
    recipe: Annotated[str, typer.Option(help="deepjscc-cifar10, or deepjscc-cifar10-small.")] = "deepjscc-cifar10",
    work: Annotated[Path, typer.Option(help="Where checkpoints go and are taken up.")] = Path("build/deepjscc"),
    out: Annotated[Optional[Path], typer.Option(help="Where ONNX files and card go; else WORK.")] = None,  # noqa: UP045
    pictures: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder of more 32 x 32 pictures."),
    ] = None,
    epochs: Annotated[Optional[int], number(int, 1, 1_000_000, help="Else as the recipe has it.")] = None,  # noqa: UP045
    threads: Annotated[int, number(int, 1, 1024, help="Of torch.")] = os.cpu_count() or 1,
) -> None:
    """Train a DeepJSCC pair on CIFAR-10, export it as ONNX with its card, and measure it."""
    from testbed.experiments.learn import codec as codec_commands

    codec_commands.train_deepjscc(recipe, work, out, pictures, epochs, threads)


@train_app.command("digits", epilog="Then:  semtb run digits --set codec.name=build/digits/classifier-digits.json")
def train_digits(
    out: Annotated[Path, typer.Option(help="Where its card and ONNX files go.")] = Path("build/digits"),
    seed: Annotated[int, number(int, 0, MAX_SEED, help="Of weights, batches and noise.")] = 1,
) -> None:
    """Train a classifier codec on UCI digits, some seconds on one core, and measure it on digits that it never saw."""
    keep_to_one_thread()
    from testbed.experiments.learn import digits

    digits.train_digits(out, seed)


@train_app.command("estimator", epilog="Example:  semtb train estimator --work build/estimator")
def train_estimator(
    work: Annotated[Path, typer.Option(help="Where checkpoints go and are taken up.")] = Path("build/estimator"),
    out: Annotated[Optional[Path], typer.Option(help="Where ONNX file and card go; else WORK.")] = None,  # noqa: UP045
    epochs: Annotated[Optional[int], number(int, 1, 1_000_000, help="Else as the recipe has it.")] = None,  # noqa: UP045
    blocks: Annotated[Optional[int], number(int, 1, 100, help="Of 128 channels each; likewise.")] = None,  # noqa: UP045
    seed: Annotated[int, number(int, 0, MAX_SEED, help="Of channels and weights.")] = 1,
    threads: Annotated[int, number(int, 1, 1024, help="Of torch.")] = 1,
) -> None:
    """Train the network of the estimator `dnn` on the air's channels, export it as ONNX with its card, measure it."""
    keep_to_one_thread()
    from testbed.experiments.learn import estimator as estimator_commands

    estimator_commands.train_estimator(work, out, epochs, blocks, seed, threads)


@eval_app.command("estimator", epilog="Example:  semtb eval estimator --frames 100 --json nmse.json --svg nmse.svg")
def eval_estimator(
    name: Annotated[str, typer.Option("--estimator", help="dnn, or the path of another card.")] = "dnn",
    snr_db: Annotated[Optional[list[float]], number(float, *SNR_DB, "--snr-db", help="May be repeated.")] = None,  # noqa: UP045
    frames: Annotated[int, number(int, 2, 100_000, help="Of each channel, each received at every SNR.")] = 400,
    seed: Annotated[Optional[int], number(int, 0, MAX_SEED, help="Of channels and noise.")] = None,  # noqa: UP045
    profile: Annotated[str, typer.Option(help="Of the waveform.")] = "ota",
    spread_ns: Annotated[
        Optional[float],  # noqa: UP045
        number(float, 0.0, 10_000.0, "--spread-ns", help="Delay spread of all frames; else drawn."),
    ] = None,
    doppler_hz: Annotated[Optional[float], number(float, 0.0, 2000.0, help="Likewise.")] = None,  # noqa: UP045
    json_path: JsonFile = None,
    svg_path: Annotated[Optional[Path], typer.Option("--svg", metavar="FILE", help="Draw it.")] = None,  # noqa: UP045
    jobs: Jobs = 1,
) -> None:
    """NMSE of channel estimators on TDL-A, -B and -C: LS, LMMSE by likeliest prior, by estimated statistics, DNN."""
    keep_to_one_thread()
    from testbed.experiments.learn import estimator as body

    chosen = body.EVAL_SEED if seed is None else seed
    points = snr_db or body.SNR_DB
    body.eval_estimator(name, points, frames, chosen, profile, spread_ns, doppler_hz, json_path, svg_path, jobs)


@eval_app.command("fading", epilog="Example:  semtb eval fading --draws 4 --json fading.json --svg fading.svg")
def eval_fading(
    snr_db: Annotated[Optional[list[float]], number(float, *SNR_DB, "--snr-db", help="May be repeated.")] = None,  # noqa: UP045
    draws: Annotated[int, number(int, 2, 100_000, help="Of each channel, delay spread and Doppler shift.")] = 12,
    seed: Annotated[Optional[int], number(int, 0, MAX_SEED, help="Of channels and noise.")] = None,  # noqa: UP045
    json_path: JsonFile = None,
    svg_path: Annotated[Optional[Path], typer.Option("--svg", metavar="FILE", help="Draw it.")] = None,  # noqa: UP045
    jobs: Jobs = 1,
) -> None:
    """PSNR of pictures by channel estimator, TDL-A to -E, 30 to 450 ns, 0 to 300 Hz: how far each is below the best."""
    keep_to_one_thread()
    from testbed.experiments.learn import estimator, fading_command

    chosen = estimator.EVAL_SEED if seed is None else seed
    fading_command.eval_fading(snr_db or estimator.SNR_DB, draws, chosen, jobs, json_path, svg_path)
