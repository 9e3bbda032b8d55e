"""`semtb federate`: one classifier learned from many edges' data without seeing it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from testbed.cli.options import MAX_SEED, number
from testbed.cli.process import debugging

EXAMPLE = "Example:  semtb federate digits --epsilon 4 --rounds 4 --releases 3"


def federate(
    task: Annotated[str, typer.Argument(help="digits, or mnist (of which SEMTB_DATA names the folder).")],
    epsilon: Annotated[str, typer.Option(help="Each edge's budget, composed; inf: no noise, no promise.")] = "4",
    rounds: Annotated[int, number(int, 1, 100, help="How often the server asks every edge.")] = 3,
    releases: Annotated[
        Optional[int],  # noqa: UP045
        number(int, 1, 100, help="For how many rounds the budget is laid out; edges refuse the rest. Else all."),
    ] = None,
    strategy: Annotated[
        str, typer.Option(help="evidence; mean-logits (which does not work, and shows it); fedavg.")
    ] = "evidence",
    mechanism: Annotated[str, typer.Option(help="Of the noise: gaussian, or laplace.")] = "gaussian",
    clients: Annotated[int, number(int, 1, 1000, help="How many edges.")] = 10,
    slices: Annotated[
        int, number(int, 1, 1000, help="Of the records sorted by label, for each edge: so many labels, seldom more.")
    ] = 2,
    quorum: Annotated[
        Optional[int],  # noqa: UP045
        number(int, 1, 1000, help="With fewer answers in a round the run ends. Else more than half of the edges."),
    ] = None,
    deadline_s: Annotated[
        float, number(float, 1, 86400, "--deadline-s", help="How long a round waits for who does not answer.")
    ] = 180.0,
    symbols: Annotated[
        Optional[int],  # noqa: UP045
        number(int, 1, 32, help="Complex channel uses of a picture. Else as the task has it."),
    ] = None,
    seed: Annotated[int, number(int, 0, MAX_SEED, help="Decides split, channels and training.")] = 1,
    noise_seed: Annotated[
        Optional[int],  # noqa: UP045
        number(int, 0, MAX_SEED, help="Repeatable privacy noise, which protects from nobody who knows it."),
    ] = None,
    ledgers: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Ledgers that outlive the run; else each run begins new ones."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare/--no-compare", help="Also compute what it is compared with, which is not private."),
    ] = True,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The run folder itself, new or empty; else one below runs/ is made."),
    ] = None,
) -> None:
    """Edges with a few labels each teach one classifier over the air's channels, under differential privacy."""
    from testbed.experiments.federate.plan import Options, parse_epsilon
    from testbed.experiments.federate.run import federate as run
    from testbed.experiments.stopping import StopRequest

    options = Options(
        epsilon=parse_epsilon(epsilon),
        task=task,
        clients=clients,
        slices=slices,
        rounds=rounds,
        releases=releases,
        strategy=strategy,
        mechanism=mechanism,
        quorum=quorum,
        deadline_s=deadline_s,
        symbols=symbols,
        seed=seed,
        noise_seed=noise_seed,
        ledgers=ledgers,
        compare=compare,
    )
    raise typer.Exit(run(options, out, StopRequest(), debugging()))
