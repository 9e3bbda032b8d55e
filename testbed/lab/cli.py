"""The command line `semtb`: each command is a few lines that call into the house. Errors become one line, a status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer
from rich.console import Console
from rich.table import Table

from testbed.errors import PeerLost, RunIncomplete, SemtbError
from testbed.lab.stopping import ONE_THREAD, StopRequest

DEBUG = "SEMTB_DEBUG"

EPILOG_RUN = (
    "Examples:  semtb run two-users --seed 7  |  semtb run two-users --images ~/photos --set air.snr_db=10  |  "
    "semtb run my.toml --set edges.edge-1.images=/data/kodak --out results/first"
)

app = typer.Typer(
    name="semtb",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Semantic communication over real or emulated radios: pictures in, one shared channel, pictures out.",
    epilog="Begin with:  semtb run two-users    What this machine can do:  semtb doctor",
)
train_app = typer.Typer(no_args_is_help=True, help="Train a codec (needs the extra `train`).")
eval_app = typer.Typer(no_args_is_help=True, help="Measure a codec on a data set.")
app.add_typer(train_app, name="train")
app.add_typer(eval_app, name="eval")

# typer reads these at runtime, and Python 3.10's typer wants Optional for options that may be left out.
ScenarioName = Annotated[str, typer.Argument(help="A shipped scenario (`semtb scenarios` lists them) or a .toml file.")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, for example air.snr_db=10; may be repeated."),
]
Seed = Annotated[Optional[int], typer.Option("--seed", help="Decides the channel, noise and offsets.")]  # noqa: UP045
Images = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--images", metavar="DIR", help="A folder of PNG or JPEG files, dealt to the edges in turn."),
]
ConfigFile = Annotated[Path, typer.Argument(help="This node's own file, as `semtb resolve` writes it.")]
JsonFile = Annotated[Optional[Path], typer.Option("--json", metavar="FILE", help="Write a result file.")]  # noqa: UP045


def say_version(wanted: bool) -> None:
    """--version."""
    if wanted:
        typer.echo(f"semtb {metadata.version('semcom-testbed')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Say it and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and keep all logs.")] = False,
) -> None:
    """Options of every command."""
    if debug:
        os.environ[DEBUG] = "1"


@app.command(epilog=EPILOG_RUN)
def run(
    scenario: ScenarioName,
    settings: Settings = None,
    seed: Seed = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The run folder itself, new or empty; else one below runs/ is made."),
    ] = None,
    images: Images = None,
) -> None:
    """Run a scenario on this machine: one process for each node, then figures and a report.

    Ctrl-C ends it within 3 s; what was received until then is kept and marked incomplete.
    """
    keep_to_one_thread()
    from testbed.lab.run import run_scenario

    raise typer.Exit(run_scenario(scenario, settings or [], seed, out, images, StopRequest(), debugging()))


@app.command()
def scenarios() -> None:
    """List the scenarios that come with the package."""
    from testbed.lab.resolve import purpose, shipped_scenarios

    table = Table("scenario", "what it does")
    table.add_column("file", overflow="fold")
    for name, path in shipped_scenarios().items():
        table.add_row(name, purpose(path), str(path))
    Console().print(table)


@app.command()
def resolve(
    scenario: ScenarioName,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where scenario.toml and nodes/*.toml are written.")
    ],
    settings: Settings = None,
    seed: Seed = None,
    images: Images = None,
) -> None:
    """Write each node's own configuration, and print the commands that start the nodes by hand."""
    from testbed.lab import resolve as resolving

    opened = resolving.open_scenario(scenario, settings or [], seed, images)
    nodes = resolving.resolve(opened)
    files = resolving.write_configs(out, opened, nodes)
    for line in resolving.by_hand(nodes, files, out):
        typer.echo(line)


@app.command()
def server(
    config: ConfigFile,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The run folder; left out, one below runs/ is made."),
    ] = None,
) -> None:
    """Start the server of a run. It waits for the other nodes, receives, decodes and ends."""
    from testbed.config import ServerConfig, load_node
    from testbed.record.folder import RunFolder

    told = load_node(config, ServerConfig)
    folder = out if out is not None else RunFolder.create("runs", told.server.name).path
    with NodeProcess(told.server.name, lambda: RunFolder(folder).discard_partials()) as should_stop:
        from server.node import run_server

        run_server(told, folder, should_stop, lambda line: print(line, flush=True))
    if out is None:
        typer.echo(f"received: {folder}")


@app.command()
def air(config: ConfigFile) -> None:
    """Start the emulated air of a run: it asks the edges' radios for samples and serves the server's antennas."""
    from testbed.config import AirConfig, load_node

    told = load_node(config, AirConfig)
    with NodeProcess(told.air.name) as should_stop:
        from testbed.control.bus import await_server

        await_server(told.control, told.air.name, should_stop)
        from testbed.air.node import run_air

        run_air(told, should_stop)


@app.command()
def edge(config: ConfigFile) -> None:
    """Start one edge of a run: it reads its pictures, encodes them, and transmits when the server says so."""
    from testbed.config import EdgeConfig, load_node

    told = load_node(config, EdgeConfig)
    with NodeProcess(told.edge.name) as should_stop:
        from testbed.control.bus import await_server

        await_server(told.control, told.edge.name, should_stop)
        from edge.node import run_edge

        run_edge(told, should_stop)


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(help="A run folder, complete or not.")]) -> None:
    """Draw the figures of a run folder and write its report.html, which needs no network."""
    keep_to_one_thread()
    from testbed.lab.run import report as draw

    draw(run_dir, Console())


@app.command()
def sweep(
    scenario: ScenarioName,
    seeds: Annotated[int, typer.Option(min=1, help="How many channel seeds.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at once; the result does not depend on it.")] = 1,
    settings: Settings = None,
    images: Images = None,
    json_path: JsonFile = None,
) -> None:
    """Simulate a scenario over many channel seeds, without sockets, and show mean, percentiles and the median seed."""
    keep_to_one_thread()
    from testbed.lab import sweep as sweeping
    from testbed.lab.resolve import open_scenario

    sweeping.sweep(open_scenario(scenario, settings or [], None, images), seeds, first_seed, jobs, json_path)


@app.command()
def doctor() -> None:
    """Tell what this machine can do, with the command that installs each missing part."""
    from testbed.lab.doctor import doctor as examine

    examine()


@eval_app.command("deepjscc", epilog="Example:  semtb eval deepjscc --snr-db 10 --json result.json")
def eval_deepjscc(
    snr_db: Annotated[list[float], typer.Option("--snr-db", help="May be repeated.")] = [10.0],  # noqa: B006
    json_path: JsonFile = None,
    codec: Annotated[str, typer.Option(help="A name in the zoo, or the path of a card.")] = "deepjscc-cifar10",
    pictures: Annotated[int, typer.Option(min=1, help="How many of the test set's pictures.")] = 10_000,
    seed: Annotated[Optional[int], typer.Option(help="Of the noise.")] = None,  # noqa: UP045
) -> None:
    """PSNR of a DeepJSCC codec on the CIFAR-10 test set over AWGN. SEMTB_DATA names the folder of data sets."""
    from testbed.lab import codec_commands

    chosen = codec_commands.EVAL_SEED if seed is None else seed
    codec_commands.eval_deepjscc(codec, snr_db, json_path, pictures, chosen)


@train_app.command("deepjscc", epilog="Example:  semtb train deepjscc --work build/deepjscc --threads 4")
def train_deepjscc(
    work: Annotated[Path, typer.Option(help="Where checkpoints go and are taken up.")] = Path("build/deepjscc"),
    out: Annotated[Optional[Path], typer.Option(help="Where ONNX files and card go; else WORK.")] = None,  # noqa: UP045
    pictures: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder of more 32 x 32 pictures."),
    ] = None,
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Else as the recipe has it.")] = None,  # noqa: UP045
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = os.cpu_count() or 1,
) -> None:
    """Train a DeepJSCC pair on CIFAR-10, export it as ONNX with its card, and measure it."""
    from testbed.lab import codec_commands

    codec_commands.train_deepjscc(work, out, pictures, epochs, threads)


@app.command(epilog="Example:  semtb plot docs/results/*.json --out psnr.svg")
def plot(
    files: Annotated[list[Path], typer.Argument(help="Result files, ours or quoted.")],
    out: Annotated[Path, typer.Option(help="The SVG to write.")],
) -> None:
    """Draw PSNR against SNR from result files."""
    from testbed.files import write_aside
    from testbed.record.curves import psnr_against_snr, read_curve

    write_aside(out, psnr_against_snr([read_curve(path) for path in files]).encode())
    typer.echo(f"written: {out}")


class NodeProcess:
    """Surroundings of a node: one thread for numerics, a log on standard error, and an end that is sure."""

    def __init__(self, name: str, last_resort: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.last_resort = last_resort

    def __enter__(self) -> Callable[[], bool]:
        keep_to_one_thread()
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s {self.name}: %(message)s")
        self.stop = StopRequest(self.last_resort)
        return self.stop

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SemtbError) and self.stop():
            tell(error)
            raise typer.Exit(self.stop.exit_status)


def keep_to_one_thread() -> None:
    """Call before NumPy is loaded: more threads make results depend on the machine, and nodes fight for cores."""
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return bool(os.environ.get(DEBUG))


def tell(error: SemtbError) -> None:
    """One line for the person; the traceback before it where it is wanted."""
    if debugging():
        import traceback

        traceback.print_exception(error)
    print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)


def main() -> NoReturn:
    """Entry point. Status 0 done, 1 incomplete, 2 something that the user can put right, 130 Ctrl-C."""
    try:
        status = app(standalone_mode=False)
    except (PeerLost, RunIncomplete) as error:
        tell(error)
        status = 1
    except SemtbError as error:
        tell(error)
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except Exception as error:  # a usage error; its class is click's or typer's own, as the version has it
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        error.show()
        status = error.exit_code
    sys.stdout.flush()
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
