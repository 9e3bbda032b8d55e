"""`semtb server`, `edge`, `radio`: one node of a run in this process, from its own file; the air is in `air.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from testbed.cli.options import ConfigFile
from testbed.cli.process import NodeProcess


def server(
    config: ConfigFile,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="The run folder; left out, one below runs/ is made."),
    ] = None,
) -> None:
    """Start the server of a run. It waits for the other nodes, receives, decodes and ends."""
    from testbed.config import ServerConfig
    from testbed.federation.config import TeacherConfig, load_node_or_federated
    from testbed.record.folder import RunFolder

    node = load_node_or_federated(config, ServerConfig, TeacherConfig)
    if isinstance(node, TeacherConfig):
        folder = out if out is not None else RunFolder.create("runs", node.name).path
        with NodeProcess(node.name, lambda: RunFolder(folder).discard_partials()) as should_stop:
            from server.federation.rounds import run_rounds

            run_rounds(node, folder, should_stop)
        return
    folder = out if out is not None else RunFolder.create("runs", node.server.name).path
    with NodeProcess(node.server.name, lambda: RunFolder(folder).discard_partials()) as should_stop:
        from server.node import run_server

        run_server(node, folder, should_stop)
    if out is None:
        typer.echo(f"received: {folder}")


def edge(
    config: ConfigFile,
    keep: Annotated[
        bool, typer.Option("--keep", help="Wait for a server as long as it takes, and after each run for the next.")
    ] = False,
) -> None:
    """Start one edge: it transmits its pictures when the server says so or, in a federated run, learns and releases."""
    from testbed.config import EdgeConfig
    from testbed.federation.config import LearnerConfig, load_node_or_federated

    node = load_node_or_federated(config, EdgeConfig, LearnerConfig)
    name = node.name if isinstance(node, LearnerConfig) else node.edge.name
    with NodeProcess(name) as should_stop:
        if keep and isinstance(node, EdgeConfig):
            from edge.standing import stand_by

            stand_by(node, should_stop)
            return
        from testbed.control.bus import await_server

        await_server(node.control, name, should_stop)
        if isinstance(node, LearnerConfig):
            from edge.learner import run_learner

            run_learner(node, should_stop)
            return
        from edge.node import run_edge

        run_edge(node, should_stop, config.absolute().with_name(f"{name}-codecs"))
