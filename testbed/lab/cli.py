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

from testbed.errors import PeerLost, RunIncomplete, ScenarioError, SemtbError
from testbed.lab.deploy_commands import deploy_app
from testbed.lab.stopping import ONE_THREAD, StopRequest

DEBUG = "SEMTB_DEBUG"

EPILOG_RUN = (
    "Examples:  semtb run two-users --seed 7  |  semtb run two-users --images ~/photos --set air.snr_db=10  |  "
    "semtb run my.toml --set edges.edge-1.images=/data/kodak --out results/first"
)
EPILOG_AIR = (
    "Examples:  semtb air --pluto 127.0.0.2  then  iio_info -u ip:127.0.0.2  |  "
    "semtb air --pluto 127.0.0.2 --pluto 127.0.0.3 --scenario two-users --set air.snr_db=15"
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
train_app = typer.Typer(no_args_is_help=True, help="Train a codec or an estimator (needs the extra `train`).")
radio_app = typer.Typer(no_args_is_help=True, help="Radios that are there.")
eval_app = typer.Typer(no_args_is_help=True, help="Measure a codec on a data set, or estimators on channels.")
app.add_typer(train_app, name="train")
app.add_typer(eval_app, name="eval")
app.add_typer(deploy_app, name="deploy")
app.add_typer(radio_app, name="radio")
federate_app = typer.Typer(no_args_is_help=True, help="Learn one codec from many edges' data without seeing it.")
app.add_typer(federate_app, name="federate")

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
Radios = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--radio",
        metavar="NODE=URI",
        help="A node's radio, for example edge-1=pluto:ip:192.168.2.1; a Pluto at 127.0.0.2 and up is made here.",
    ),
]
Remotes = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--remote",
        metavar="EDGE=USER@HOST[:PORT]",
        help="This edge runs where `semtb deploy` put it, reached over SSH.",
    ),
]
SshOptions = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--ssh-option", metavar="KEY=VALUE", help="As ssh -o takes it; may be repeated."),
]
RemoteDir = Annotated[str, typer.Option("--remote-dir", metavar="DIR", help="The --dir that it was deployed with.")]
Switches = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--switch",
        metavar="[EDGE:]CODEC@FRAME",
        help="While the run goes on, send EDGE, or every edge, another codec for what it sends from FRAME on.",
    ),
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
    radio: Radios = None,
    switch: Switches = None,
    remote: Remotes = None,
    ssh_options: SshOptions = None,
    remote_dir: RemoteDir = "",
) -> None:
    """Run a scenario on this machine: one process for each node, then figures and a report.

    Ctrl-C ends it within 3 s; what was received until then is kept and marked incomplete.
    """
    keep_to_one_thread()
    from testbed.lab.plutos import radio_settings
    from testbed.lab.run import run_scenario
    from testbed.lab.switch import switch_settings

    settings = [*(settings or []), *radio_settings(scenario, radio or []), *switch_settings(switch or [])]
    stop = StopRequest()
    if not remote:
        raise typer.Exit(run_scenario(scenario, settings, seed, out, images, stop, debugging()))
    from testbed.lab.remote import RemoteEdges, parse_remotes

    with RemoteEdges(parse_remotes(remote, ssh_options or [], remote_dir)) as away:
        status = run_scenario(scenario, settings, seed, out, images, stop, debugging(), away)
    raise typer.Exit(status)


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
    radio: Radios = None,
    switch: Switches = None,
) -> None:
    """Write each node's own configuration, and print the commands that start the nodes by hand."""
    from testbed.lab import resolve as resolving
    from testbed.lab.plutos import radio_settings
    from testbed.lab.switch import switch_settings

    settings = [*(settings or []), *radio_settings(scenario, radio or []), *switch_settings(switch or [])]
    opened = resolving.open_scenario(scenario, settings, seed, images)
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
    from testbed.config import ServerConfig
    from testbed.config_federation import TeacherConfig, load_node_or_federated
    from testbed.record.folder import RunFolder

    told = load_node_or_federated(config, ServerConfig, TeacherConfig)
    if isinstance(told, TeacherConfig):
        folder = out if out is not None else RunFolder.create("runs", told.name).path
        with NodeProcess(told.name, lambda: RunFolder(folder).discard_partials()) as should_stop:
            from server.federation.rounds import run_rounds

            run_rounds(told, folder, should_stop, lambda line: print(line, flush=True))
        return
    folder = out if out is not None else RunFolder.create("runs", told.server.name).path
    with NodeProcess(told.server.name, lambda: RunFolder(folder).discard_partials()) as should_stop:
        from server.node import run_server

        run_server(told, folder, should_stop, lambda line: print(line, flush=True))
    if out is None:
        typer.echo(f"received: {folder}")


@app.command(epilog=EPILOG_AIR)
def air(
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(help="The air's own file, as `semtb resolve` writes it; or give --pluto instead."),
    ] = None,
    pluto: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--pluto", metavar="ADDRESS", help="Present a virtual Pluto there; may be repeated."),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=2, help="1 as a Pluto is sold, 2 for 2R2T.")] = 1,
    scenario: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scenario", help="Whose [air] lies between the Plutos; left out, a cable with 40 dB of SNR."),
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Start the emulated air: of a run (CONFIG), or virtual Plutos for any client of libiio (--pluto), until Ctrl-C."""
    from testbed.config import AirConfig, load_node

    if (config is None) == (not pluto):
        raise ScenarioError("semtb air: give either CONFIG or --pluto ADDRESS, for example --pluto 127.0.0.2")
    if pluto:
        with NodeProcess("air") as should_stop:
            from testbed.lab.plutos import present_until

            present_until(pluto, channels, scenario, settings or [], seed, should_stop, typer.echo)
        return
    assert config is not None
    told = load_node(config, AirConfig)
    with NodeProcess(told.air.name) as should_stop:
        from testbed.control.bus import await_server

        await_server(told.control, told.air.name, should_stop)
        from testbed.air.node import run_air

        run_air(told, should_stop)


@radio_app.command("list")
def list_radios() -> None:
    """Plutos that answer: on USB, on the network, and virtual ones of this machine."""
    from testbed.lab.plutos import found

    answers = found()
    table = Table("radio", "what it says of itself")
    for uri, what in answers.items():
        table.add_row(uri, what)
    Console().print(table if answers else "no Pluto answers; without hardware: semtb air --pluto 127.0.0.2")


@app.command()
def edge(
    config: ConfigFile,
    keep: Annotated[
        bool, typer.Option("--keep", help="Wait for a server as long as it takes, and after each run for the next.")
    ] = False,
) -> None:
    """Start one edge: it transmits its pictures when the server says so or, in a federated run, learns and releases."""
    from testbed.config import EdgeConfig
    from testbed.config_federation import LearnerConfig, load_node_or_federated

    told = load_node_or_federated(config, EdgeConfig, LearnerConfig)
    name = told.name if isinstance(told, LearnerConfig) else told.edge.name
    with NodeProcess(name) as should_stop:
        if keep and isinstance(told, EdgeConfig):
            from edge.standing import stand_by

            stand_by(told, should_stop)
            return
        from testbed.control.bus import await_server

        await_server(told.control, name, should_stop)
        if isinstance(told, LearnerConfig):
            from edge.learner import run_learner

            run_learner(told, should_stop)
            return
        from edge.node import run_edge

        run_edge(told, should_stop, config.absolute().with_name(f"{name}-codecs"))


@app.command(epilog="Example:  semtb switch --control tcp://127.0.0.1:21000 --codec new/card.json --edge edge-1")
def switch(
    codec: Annotated[str, typer.Option(help="A name in the zoo, or the path of a card.")],
    control: Annotated[str, typer.Option(help="The server's control bus: `control` in each node's file.")],
    edge: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--edge", help="Which edge; may be repeated. Left out: all."),
    ] = None,
    at_frame: Annotated[int, typer.Option("--at-frame", min=0, help="Not before this frame of the edge.")] = 0,
) -> None:
    """While a run goes on, give edges another encoder and the server its decoder; both change at an agreed frame."""
    with NodeProcess("switch") as should_stop:
        from testbed.lab.switch import offer_switch

        if not offer_switch(control, codec, edge or [], at_frame, should_stop, typer.echo):
            raise typer.Exit(1)


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


@federate_app.command("digits", epilog="Example:  semtb federate digits --epsilon 4 --rounds 4 --releases 3")
def federate_digits(
    epsilon: Annotated[str, typer.Option(help="Each edge's budget, composed; inf: no noise, no promise.")] = "4",
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often the server asks every edge.")] = 3,
    releases: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="For how many rounds the budget is laid out; edges refuse the rest. Else all."),
    ] = None,
    strategy: Annotated[str, typer.Option(help="evidence, or mean-logits (which does not work, and shows it).")] = (
        "evidence"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Decides split, channels and training.")] = 1,
    noise_seed: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Repeatable privacy noise, which protects from nobody who knows it."),
    ] = None,
    ledgers: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Ledgers that outlive the run; else each run begins new ones."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The run folder itself, new or empty; else one below runs/ is made."),
    ] = None,
) -> None:
    """Ten edges with two labels each teach one classifier over the air's channels, under differential privacy."""
    from testbed.lab.federate import Options, parse_epsilon
    from testbed.lab.federate import federate_digits as federate
    from testbed.lab.stopping import StopRequest

    options = Options(
        epsilon=parse_epsilon(epsilon),
        rounds=rounds,
        releases=releases,
        strategy=strategy,
        seed=seed,
        noise_seed=noise_seed,
        ledgers=ledgers,
    )
    raise typer.Exit(federate(options, out, StopRequest(), debugging()))


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


@train_app.command("twin", epilog="Then:  semtb run two-users --set repeat=3 --switch edge-1:build/twin/twin.json@30")
def train_twin(
    out: Annotated[Path, typer.Option(help="Where its card and ONNX files go.")] = Path("build/twin"),
    codec: Annotated[str, typer.Option(help="Whose: a name in the zoo, or the path of a card.")] = "deepjscc-cifar10",
) -> None:
    """Make a codec's twin, as good as it and garbage when mixed with it, to try `semtb run --switch` with."""
    from testbed.lab.switch import write_twin

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
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Else as the recipe has it.")] = None,  # noqa: UP045
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = os.cpu_count() or 1,
) -> None:
    """Train a DeepJSCC pair on CIFAR-10, export it as ONNX with its card, and measure it."""
    from testbed.lab import codec_commands

    codec_commands.train_deepjscc(recipe, work, out, pictures, epochs, threads)


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


@train_app.command("estimator", epilog="Example:  semtb train estimator --work build/estimator")
def train_estimator(
    work: Annotated[Path, typer.Option(help="Where checkpoints go and are taken up.")] = Path("build/estimator"),
    out: Annotated[Optional[Path], typer.Option(help="Where ONNX file and card go; else WORK.")] = None,  # noqa: UP045
    epochs: Annotated[Optional[int], typer.Option(min=1, help="Else as the recipe has it.")] = None,  # noqa: UP045
    blocks: Annotated[Optional[int], typer.Option(min=1, help="Of 128 channels each; likewise.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Of channels and weights.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
) -> None:
    """Train the network of the estimator `dnn` on the air's channels, export it as ONNX with its card, measure it."""
    keep_to_one_thread()
    from testbed.lab import estimator_commands

    estimator_commands.train_estimator(work, out, epochs, blocks, seed, threads)


@eval_app.command("estimator", epilog="Example:  semtb eval estimator --frames 100 --json nmse.json --svg nmse.svg")
def eval_estimator(
    name: Annotated[str, typer.Option("--estimator", help="dnn, or the path of another card.")] = "dnn",
    snr_db: Annotated[Optional[list[float]], typer.Option("--snr-db", help="May be repeated.")] = None,  # noqa: UP045
    frames: Annotated[int, typer.Option(min=2, help="Of each channel, each received at every SNR.")] = 400,
    seed: Annotated[Optional[int], typer.Option(help="Of channels and noise.")] = None,  # noqa: UP045
    profile: Annotated[str, typer.Option(help="Of the waveform.")] = "ota",
    spread_ns: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--spread-ns", min=0, help="Delay spread of all frames; else drawn."),
    ] = None,
    doppler_hz: Annotated[Optional[float], typer.Option(min=0, help="Likewise.")] = None,  # noqa: UP045
    json_path: JsonFile = None,
    svg_path: Annotated[Optional[Path], typer.Option("--svg", metavar="FILE", help="Draw it.")] = None,  # noqa: UP045
) -> None:
    """NMSE of channel estimators on TDL-A, -B and -C: LS, LMMSE with a robust prior, with estimated statistics, DNN."""
    keep_to_one_thread()
    from testbed.lab import estimator_commands as body

    chosen = body.EVAL_SEED if seed is None else seed
    points = snr_db or body.SNR_DB
    body.eval_estimator(name, points, frames, chosen, profile, spread_ns, doppler_hz, json_path, svg_path)


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
