"""What goes wrong in a run of four processes, and what happens: it ends, says why, and keeps what had come."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from testbed.codec.card import find_card, read_card
from testbed.experiments.resolve import resolve, write_configs
from testbed.experiments.scenario_files import open_scenario
from testbed.record.events import Bound
from tests.waiting import await_event

Run = Any  # of conftest.py, which pytest loads and nobody imports
Nodes = dict[str, psutil.Process]
NODES = ("server", "air", "edge-1", "edge-2")
END_S = 3.0  # the limit
MARGIN_S = 3.0  # for a machine that does much else meanwhile
# A run whose air time lasts, at little cost of encoding: small blocks make many round trips of the lock step.
LASTING = ("--set", "air.block_samples=64")

pytestmark = pytest.mark.timeout(180)


def on_the_air(
    start_run: Callable[..., Run], photographs: Path, *arguments: str
) -> tuple[Run, dict[str, psutil.Process]]:
    """A run that has received frames and is far from done."""
    run = start_run("--images", str(photographs), *LASTING, *arguments)
    run.wait_until(lambda: len(run.lines()) >= 2)
    nodes = run.nodes()
    assert sorted(nodes) == sorted(NODES)
    return run, nodes


def all_gone(processes: Nodes) -> bool:
    """Whether none of these processes lives; one that is gone already has no status."""
    return not psutil.wait_procs(list(processes.values()), timeout=END_S + MARGIN_S)[1]


def check_what_is_left(run: Run, reason: str) -> None:
    """Kept and marked incomplete; nothing half written; every line of the log is whole."""
    left = [p for p in run.folder.rglob("*") if p.is_file()]
    assert not [p for p in left if p.suffix == ".tmp"]
    result = json.loads((run.folder / "result.json").read_text())
    assert result["complete"] is False
    assert reason in result["reason"]
    text = (run.folder / "events.jsonl").read_text()
    assert text.endswith("\n")
    frames = [line for line in map(json.loads, text.splitlines()) if line["event"] == "frame"]
    assert len(frames) >= 2
    for line in frames:  # a frame is written before its line, so that every line has its file
        assert (run.folder / "received" / f"frame-{line['frame']:05d}.npz").exists()


@pytest.mark.parametrize("victim", NODES)
def test_the_death_of_any_process_ends_the_run(start_run: Callable[..., Run], photographs: Path, victim: str):
    """SIGKILL to each of the four while frames arrive: status 1, the dead one named, no process left."""
    run, nodes = on_the_air(start_run, photographs)
    began = time.monotonic()
    nodes[victim].send_signal(signal.SIGKILL)
    assert run.finish() == 1
    assert time.monotonic() - began < END_S + MARGIN_S
    assert run.errors.strip() == f"RunIncomplete: {victim} was ended by SIGKILL"
    assert all_gone(nodes)
    check_what_is_left(run, f"{victim} was ended by SIGKILL")


@pytest.mark.parametrize("victim", ["server", "edge-2"])
def test_a_death_before_anything_is_sent_ends_the_run_too(
    start_run: Callable[..., Run], photographs: Path, victim: str
):
    """SIGKILL while nodes start: named, within the limit, nobody waits for last words that cannot come."""
    run = start_run("--images", str(photographs))
    run.wait_until(lambda: sorted(run.nodes()) == sorted(NODES))
    nodes = run.nodes()
    began = time.monotonic()
    nodes[victim].send_signal(signal.SIGKILL)
    assert run.finish() == 1
    assert time.monotonic() - began < END_S + MARGIN_S
    assert run.errors.strip() == f"RunIncomplete: {victim} was ended by SIGKILL"
    assert all_gone(nodes)


def test_ctrl_c_ends_the_run_and_a_second_run_on_its_ports_is_refused(start_run: Callable[..., Run], photographs: Path):
    """Status 130 for Ctrl-C; status 2 and one line for who comes second, which does not disturb the first."""
    base = 20_000 + psutil.Process().pid % 10_000
    run, nodes = on_the_air(start_run, photographs, "--set", f"net.port_base={base}")
    second = start_run("--images", str(photographs), "--set", f"net.port_base={base}")
    assert second.finish() == 2
    assert second.errors.startswith(f"AddressInUse: tcp://127.0.0.1:{base}: this port is taken")
    assert len(second.errors.strip().splitlines()) == 1
    assert run.process.poll() is None
    began = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.finish() == 130
    assert time.monotonic() - began < END_S + MARGIN_S
    assert all_gone(nodes)
    check_what_is_left(run, "Ctrl-C")


def test_the_nodes_end_when_semtb_run_is_killed(start_run: Callable[..., Run], photographs: Path):
    """SIGKILL to the one that watches: nobody is left to end the nodes, so they end themselves."""
    run, nodes = on_the_air(start_run, photographs)
    run.process.send_signal(signal.SIGKILL)
    run.finish()
    assert all_gone(nodes)


def test_a_stopped_process_ends_the_run_too(start_run: Callable[..., Run], photographs: Path):
    """SIGSTOP: the process is there and silent. Whoever notices names it, within the limits for silence."""
    run, nodes = on_the_air(start_run, photographs)
    nodes["edge-1"].suspend()
    try:
        assert run.finish() in (1, 2)
        assert "edge-1" in run.errors
        assert all_gone(nodes)
        check_what_is_left(run, "edge-1")
    finally:
        if nodes["edge-1"].is_running():
            nodes["edge-1"].resume()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--images", "{bad}"], "DataError: "),
        (["--images", "/no/such/folder"], "DataError: "),
        (["--set", "codec.name={bad}/card.json"], "CodecError: "),
        (["--set", "server.detector=unheard-of"], "detector"),
    ],
    ids=["photograph", "folder", "codec", "detector"],
)
def test_what_the_user_can_put_right_ends_with_one_line(
    start_run: Callable[..., Run], tmp_path: Path, arguments: list[str], says: str
):
    """Found by a node, said by `semtb run`: status 2, one line, no folder left. The codec's two halves are swapped."""
    bad = tmp_path / "bad"
    bad.mkdir()
    for name in ("a.png", "b.jpg"):
        (bad / name).write_bytes(b"not a picture at all")
    shipped = find_card("deepjscc-cifar10")
    card = read_card(shipped)[0]
    (bad / "card.json").write_bytes(shipped.read_bytes())
    (bad / card.encoder).write_bytes((shipped.parent / card.decoder).read_bytes())
    (bad / card.decoder).write_bytes((shipped.parent / card.encoder).read_bytes())
    run = start_run(*(argument.format(bad=bad) for argument in arguments))
    assert run.finish() == 2
    lines = run.errors.strip().splitlines()
    assert len(lines) == 1, lines
    assert says in lines[0]
    assert not run.folder.exists()


def test_a_codec_that_the_server_does_not_have_is_refused_on_the_air(tmp_path: Path, photographs: Path):
    """Nodes by hand, one edge with another codec of the same kind: the server names it; all others end and say why."""
    shipped = find_card("deepjscc-cifar10")
    card, encoder, decoder = read_card(shipped)
    other = tmp_path / "other.json"
    other.write_bytes(msgspec.json.encode(msgspec.structs.replace(card, number=card.number + 1)))
    (tmp_path / card.encoder).write_bytes(encoder)
    (tmp_path / card.decoder).write_bytes(decoder)
    scenario = open_scenario("two-users", ["max_pixels=4000"], None, str(photographs))
    nodes = resolve(scenario)
    files = write_configs(tmp_path / "run", scenario, nodes)
    text = files["edge-2"].read_text()
    assert text.count('codec = "deepjscc-cifar10"') == 1
    files["edge-2"].write_text(text.replace('codec = "deepjscc-cifar10"', f'codec = "{other}"'))
    processes = {}
    for node in nodes:
        more = ["--out", str(tmp_path / "run")] if node.kind == "server" else []
        command = [sys.executable, "-m", "testbed.cli.main", node.kind, str(files[node.name]), *more]
        processes[node.name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if node.kind == "server":
            await_event(tmp_path / "run", Bound, processes[node.name])
    try:
        output = {
            name: process.communicate(timeout=90)[1].strip().splitlines()[-1] for name, process in processes.items()
        }
    finally:
        for process in processes.values():
            process.kill()
    assert output["server"].startswith(f"CodecError: user 1 sends with codec {card.number + 1}")
    assert processes["server"].returncode == 2
    for name in ("air", "edge-1", "edge-2"):
        assert processes[name].returncode == 1
        assert "user 1 sends with codec" in output[name]
