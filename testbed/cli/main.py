"""The command line `semtb`: each command is a few lines that call into the layers below. Errors become one line."""

from __future__ import annotations

import io
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn, Optional

import typer
from rich.console import Console
from rich.table import Table

from testbed.cli.air import air_app
from testbed.cli.caches import tell_of_caches
from testbed.cli.calibrate import EPILOG as EPILOG_CALIBRATE
from testbed.cli.calibrate import calibrate
from testbed.cli.deploy import deploy_app
from testbed.cli.federate import EXAMPLE, federate
from testbed.cli.firmware import firmware_app
from testbed.cli.frames import EPILOG_FRAMES, frames
from testbed.cli.learn import eval_app, train_app
from testbed.cli.node import edge, server
from testbed.cli.options import (
    MAX_SEED,
    Externals,
    Images,
    Jobs,
    JsonFile,
    Over,
    Radios,
    RemoteDir,
    Remotes,
    ScenarioName,
    Seed,
    Settings,
    SshOptions,
    Switches,
    number,
)
from testbed.cli.process import DEBUG, NodeProcess, debugging, keep_to_one_thread, require_working_directory, tell
from testbed.cli.radio import radio_app
from testbed.cli.record import EPILOG_RECORD
from testbed.cli.record import record as record_radio
from testbed.cli.replay import EPILOG_REPLAY, replay
from testbed.errors import PeerLost, RunIncomplete, SemtbError
from testbed.experiments.extras import EXTRAS, missing_extra
from testbed.experiments.stopping import StopRequest

EPILOG_RUN = (
    "Examples:  semtb run two-users --seed 7  |  semtb run two-users --images ~/photos --set air.snr_db=10  |  "
    "semtb run my.toml --set edges.edge-1.images=/data/kodak --out results/first"
)
WITHOUT_KERNELS = (
    "doctor",
    "scenarios",
    "resolve",
    "switch",
    "watch",
    "deploy",
    "firmware",
)  # they neither compute nor draw

EPILOG_SWEEP = (
    "Examples:  semtb sweep two-users --seeds 20  |  semtb sweep two-users --over air.snr_db=-10:25:5 "
    "--over server.estimator=ls,lmmse --seeds 10 --jobs 4 --json snr.json  then  semtb plot snr.json --out snr.svg"
)

app = typer.Typer(
    name="semtb",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # brackets in a help text are part of it
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Semantic communication over real or emulated radios: pictures in, one shared channel, pictures out.",
    epilog="Begin with:  semtb run two-users    What this machine can do:  semtb doctor",
)


def say_version(wanted: bool) -> None:
    """--version."""
    if wanted:
        typer.echo(f"semtb {metadata.version('semcom-testbed')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Say it and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and keep all logs.")] = False,
) -> None:
    """Options of every command."""
    if debug:
        os.environ[DEBUG] = "1"
    if context.invoked_subcommand not in WITHOUT_KERNELS:
        tell_of_caches()


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
    record: Annotated[
        bool, typer.Option("--record", help="Keep what the server receives as a SigMF recording in the run folder.")
    ] = False,
    external: Externals = None,
) -> None:
    """Run a scenario on this machine: one process for each node, then figures and a report.

    Ctrl-C ends it within 3 s; what was received until then is kept and marked incomplete.
    """
    keep_to_one_thread()
    from testbed.experiments.plutos import radio_settings
    from testbed.experiments.run import run_scenario
    from testbed.experiments.switch import switch_settings

    settings = [*(settings or []), *radio_settings(scenario, radio or []), *switch_settings(switch or [])]
    settings += ["record=true"] if record else []
    stop = StopRequest()
    if not remote:
        raise typer.Exit(run_scenario(scenario, settings, seed, out, images, stop, debugging(), None, external or []))
    from testbed.deploy.remote import RemoteEdges, parse_remotes

    with RemoteEdges(parse_remotes(remote, ssh_options or [], remote_dir)) as away:
        status = run_scenario(scenario, settings, seed, out, images, stop, debugging(), away, external or [])
    raise typer.Exit(status)


@app.command()
def scenarios() -> None:
    """List the scenarios that come with the package."""
    from testbed.experiments.scenario_files import purpose, shipped_scenarios
    from testbed.experiments.tables import print_table

    table = Table("scenario", "what it does")
    table.add_column("file", overflow="fold")
    for name, path in shipped_scenarios().items():
        table.add_row(name, purpose(path), str(path))
    print_table(Console(markup=False), table)


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
    external: Externals = None,
) -> None:
    """Write each node's own configuration, and print the commands that start the nodes by hand."""
    from testbed.experiments import resolve as resolving
    from testbed.experiments.external import parse_external, wiring
    from testbed.experiments.plutos import radio_settings
    from testbed.experiments.scenario_files import open_scenario
    from testbed.experiments.switch import switch_settings

    settings = [*(settings or []), *radio_settings(scenario, radio or []), *switch_settings(switch or [])]
    opened = open_scenario(scenario, settings, seed, images)
    left_out = parse_external(opened, external or [])
    nodes = resolving.resolve(opened, left_out)
    files = resolving.write_configs(out, opened, nodes)
    for line in resolving.by_hand(nodes, files, out):
        typer.echo(line)
    for line in wiring(opened, scenario, {node.name: node.config for node in nodes}, left_out):
        typer.echo(f"# {line}")


app.command(epilog=EPILOG_FRAMES)(frames)
app.command()(server)
app.add_typer(air_app, name="air")
app.command()(edge)
app.command("record", epilog=EPILOG_RECORD)(record_radio)
app.command(epilog=EPILOG_REPLAY)(replay)
app.add_typer(deploy_app, name="deploy")
app.add_typer(radio_app, name="radio")
app.command(no_args_is_help=True, epilog=EPILOG_CALIBRATE)(calibrate)
app.add_typer(firmware_app, name="firmware")


@app.command(epilog="Example:  semtb switch --control tcp://127.0.0.1:21000 --codec new/card.json --edge edge-1")
def switch(
    codec: Annotated[str, typer.Option(help="A name in the zoo, or the path of a card.")],
    control: Annotated[str, typer.Option(help="The server's control bus: `control` in each node's file.")],
    edge: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--edge", help="Which edge; may be repeated. Left out: all."),
    ] = None,
    at_frame: Annotated[int, number(int, 0, 2**31 - 1, "--at-frame", help="Not before this frame of the edge.")] = 0,
) -> None:
    """While a run goes on, give edges another encoder and the server its decoder; both change at an agreed frame."""
    with NodeProcess("switch") as should_stop:
        from testbed.experiments.switch import offer_switch

        if not offer_switch(control, codec, edge or [], at_frame, should_stop, typer.echo):
            raise typer.Exit(1)


@app.command(epilog="Example:  semtb watch runs/20261122T011500Z-two-users-3fa9c1 --json | jq .event")
def watch(
    run_dir: Annotated[Path, typer.Argument(help="The folder of a run that goes on, or of one that has ended.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One line of JSON for each event, as the folder has it.")
    ] = False,
) -> None:
    """Tell what happens in a run, from its first event to its last."""
    from testbed.record.events import in_words
    from testbed.record.events import watch as follow
    from testbed.record.folder import RunFolder, encode

    with NodeProcess("watch") as should_stop:
        for event in follow(RunFolder(run_dir), should_stop):
            print(encode(event).decode() if as_json else in_words(event), flush=True)


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="The folder of a run, federated or not, complete or not.")],
) -> None:
    """Draw the figures of a run folder and write its report.html, which needs no network."""
    keep_to_one_thread()
    from testbed.experiments.run import report as draw

    draw(run_dir, Console(markup=False))


@app.command(epilog=EPILOG_SWEEP)
def sweep(
    scenario: ScenarioName,
    over: Over = None,
    seeds: Annotated[
        Optional[int],  # noqa: UP045
        number(int, 1, 100_000, help="How many channel seeds at each point; 20 unless --over seed=... names them."),
    ] = None,
    first_seed: Annotated[int, number(int, 0, MAX_SEED, help="The first of them.")] = 1,
    jobs: Jobs = 1,
    settings: Settings = None,
    images: Images = None,
    json_path: JsonFile = None,
) -> None:
    """Simulate a scenario over many channel seeds, and over any of its keys, without sockets; means and intervals.

    With --json FILE, finished points are kept in FILE's .points.jsonl, and the same command goes on from there.
    """
    keep_to_one_thread()
    from testbed.experiments.sweep.scenario import axes_of
    from testbed.experiments.sweep.scenario import sweep as run_sweep

    run_sweep(scenario, settings or [], images, axes_of(over or [], seeds, first_seed), jobs, json_path)


@app.command()
def doctor() -> None:
    """Tell what this machine can do, with the command that installs each missing part."""
    from testbed.cli.doctor import doctor as examine

    examine()


@app.command(
    epilog="Examples:  semtb plot docs/results/*-awgn.json --out psnr.svg  |  "
    "semtb plot sweep.json --against air.doppler_hz --where air.snr_db=20 --out doppler.svg"
)
def plot(
    files: Annotated[list[Path], typer.Argument(help="Result files, ours or quoted.")],
    out: Annotated[Path, typer.Option(help="The SVG to write.")],
    against: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="KEY", help="The axis of a sweep to draw against; else its first."),
    ] = None,
    where: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="KEY=VALUE", help="Of a sweep, only where this axis has this value; may be repeated."),
    ] = None,
) -> None:
    """Draw PSNR against SNR, or against any axis of a sweep beside the single-user bound, from result files."""
    from testbed.files import require_writable, write_aside
    from testbed.report.curves import psnr_figure, read_curves

    require_writable(out)
    write_aside(out, psnr_figure([read_curves(path, against, where or []) for path in files]).encode())
    typer.echo(f"written: {out}")


app.add_typer(train_app, name="train")
app.add_typer(eval_app, name="eval")
app.command("federate", no_args_is_help=True, epilog=EXAMPLE)(federate)


def main() -> NoReturn:
    """Entry point. Status 0 done, 1 incomplete, 2 something that the user can put right, 130 Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold what no terminal shows
    try:
        require_working_directory()
        status = app(standalone_mode=False)
    except (PeerLost, RunIncomplete) as error:
        tell(error)
        status = 1
    except SemtbError as error:
        tell(error)
        status = 2
    except ModuleNotFoundError as error:  # of an extra; whatever else is not found is a fault of ours
        if error.name not in EXTRAS:
            raise
        tell(missing_extra("semtb " + " ".join(sys.argv[1:2]), [error.name]))
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
