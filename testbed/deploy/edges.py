"""`semtb deploy`: one edge of a scenario onto a board, checked there before it takes the place of the one before."""

from __future__ import annotations

import base64
import binascii
import contextlib
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.text import Text

from testbed.config import EdgeConfig, Scenario
from testbed.deploy.boards import HINTS, ask
from testbed.deploy.bundle import archive, carry_wheels, edge_requirements, lay_release, make_wheel
from testbed.deploy.ssh import Target
from testbed.deploy.wheelhouse import fill, needs
from testbed.errors import BoardError, ScenarioError
from testbed.experiments.resolve import resolve
from testbed.record import provenance

PORT_BASE = 24_700  # where a standing edge looks for its server, unless the scenario names net.port_base
LARGEST_DIFFERENCE = 1e-4  # of an encoder's symbols of unit mean power, between two processors
INSTALL_S = 3600.0  # an index behind a slow line, unpacked on a slow card
RESERVE_BYTES = 600e6  # what the packages take once they are unpacked
STOPPED = "stopped; `semtb deploy start {name} --to {host}` starts it"


class Wishes(msgspec.Struct, frozen=True):
    """What the command line says about the installation."""

    reuse: str = ""  # a Python on the board whose packages the edge sees
    wheelhouse: Path | None = None
    download: bool = False
    more: tuple[str, ...] = ()  # requirements
    board_images: str = ""
    start: bool = True


class Check(msgspec.Struct, frozen=True):
    """The board's encoder beside this machine's."""

    largest_difference: float
    identical: bool

    @property
    def words(self) -> str:
        """For the person."""
        return "bit-identical" if self.identical else f"largest difference {self.largest_difference:.1e}"


def edge_of(scenario: Scenario, name: str) -> EdgeConfig:
    """What the edge ``name`` is told by this machine, at ports that both sides can know beforehand.

    Raises
    ------
    ScenarioError
        If the scenario has no such edge.
    """
    names = [edge.name for edge in scenario.edges]
    if name not in names:
        raise ScenarioError(f"{name}: scenario {scenario.name} has no such edge. Its edges: {', '.join(names)}")
    if not scenario.net.port_base:
        net = msgspec.structs.replace(scenario.net, port_base=PORT_BASE)
        scenario = msgspec.structs.replace(scenario, net=net)
    (config,) = [node.config for node in resolve(scenario) if node.name == name]
    assert isinstance(config, EdgeConfig)
    return config


def deploy(scenario: Scenario, name: str, target: Target, wishes: Wishes, console: Console) -> None:
    """Pack, copy, install, check, switch and start; whatever goes wrong, the board keeps what it had.

    Raises
    ------
    ScenarioError, DataError, CodecError
        If this machine cannot make it.
    BoardError
        If the board cannot be reached or does not take it; one line with what to do.
    """
    config = edge_of(scenario, name)
    board = ask(target, name, "probe")
    require_fit(target, board, wishes)
    root = f"{board['base']}/{name}"
    release = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    with tempfile.TemporaryDirectory(prefix="semtb-deploy-") as scratch, console.status("packing") as status:
        folder = Path(scratch) / "release"
        folder.mkdir()

        def say(words: str) -> None:
            status.update(Text(f"{target.host}: {words}"))

        manifest = lay_release(folder, config, root, release, wishes.board_images)
        wheel = make_wheel(Path(scratch))
        requirements = edge_requirements(needs(wheel), config.radio) + list(wishes.more)
        carry_wheels(folder / "wheels", [wheel, *wheels_of(wishes, requirements, board, say)])
        packed = archive(folder)
        size = packed.stat().st_size
        say(f"copying {size / 1e6:.1f} MB")
        answer = ask(
            target,
            name,
            "install",
            packed,
            say,
            INSTALL_S,
            release=release,
            wheel=wheel.name,
            requires=requirements,
            reuse=wishes.reuse,
            wheelhouse=wishes.wheelhouse is not None,
        )
        try:
            check = compare(answer, config.codec, target)
            manifest |= {
                "scenario": scenario.name,
                "control": config.control,
                "radio": config.radio,
                "made": provenance.versions().get("semcom-testbed", ""),
                "git_commit": provenance.git_commit(),
                "check": msgspec.to_builtins(check),
                "board": {key: answer[key] for key in ("python", "machine", "numpy", "onnxruntime", "pictures")},
                "reuse": wishes.reuse,
            }
            say("starting it" if wishes.start else "switching to it")
            state = ask(target, name, "activate", release=release, manifest=manifest, start=wishes.start)
        except BaseException:  # Ctrl-C among them
            with contextlib.suppress(BoardError):
                ask(target, name, "discard", release=release)
            raise
    console.print(
        f"{name} on {target.host}: {answer['machine']}, Python {answer['python']}, "
        f"ONNX Runtime {answer['onnxruntime']}, {size / 1e6:.1f} MB copied to {root}",
        soft_wrap=True,
        highlight=False,
    )
    console.print(f"encoder beside this machine's: {check.words}", highlight=False)
    console.print(state_words(state, name, target), soft_wrap=True, highlight=False)
    remote = target.host + (f":{target.port}" if target.port else "")
    console.print(f"a run with it: semtb run {scenario.name} --remote {name}={remote}", soft_wrap=True, highlight=False)


def require_fit(target: Target, board: dict[str, Any], wishes: Wishes) -> None:
    """Raise BoardError, before anything is copied, if this board cannot take it."""
    version = board["environment"]["python_version"]
    if not board["venv"]:
        raise BoardError(f"{target.host}: {target.python} ({version}) has no module venv. {HINTS['venv']}")
    if not board["writable"]:
        raise BoardError(f"{target.host}: {board['nearest']} is not a folder to write in; --dir DIR names another")
    if not wishes.reuse and board["free_bytes"] < RESERVE_BYTES:
        raise BoardError(
            f"{target.host}: {board['free_bytes'] / 1e6:.0f} MB are free below {board['nearest']}, "
            f"some {RESERVE_BYTES / 1e6:.0f} MB are needed: free some, or choose another place there with --dir DIR"
        )


def wheels_of(
    wishes: Wishes, requirements: list[str], board: dict[str, Any], say: Callable[[str], object]
) -> list[Path]:
    """The wheels that travel along: none, those of the wheelhouse, or those fetched into it now."""
    if wishes.wheelhouse is None:
        return []
    if wishes.download:
        say(f"fetching wheels into {wishes.wheelhouse}")
        return fill(wishes.wheelhouse, requirements, board["environment"], board["glibc"])
    wheels = sorted(wishes.wheelhouse.glob("*.whl"))
    if not wheels:
        raise BoardError(f"--wheelhouse {wishes.wheelhouse}: no wheels there; --download-wheels fetches them")
    return wheels


def compare(answer: dict[str, Any], codec: str, target: Target) -> Check:
    """The encoder's output on the board against this machine's, for the same picture.

    Raises
    ------
    BoardError
        If they differ by more than 1e-4, or not even in number alone.
    """
    from edge.selfcheck import fixed_symbols

    ours = fixed_symbols(codec)
    try:
        theirs = np.frombuffer(base64.b64decode(answer["symbols"], validate=True), "<c8")
    except (binascii.Error, ValueError, TypeError):
        theirs = np.empty(0, np.complex64)
    if theirs.shape != ours.shape:
        raise BoardError(
            f"{target.host}: its encoder gives {len(theirs)} symbols, this machine's {len(ours)}. {HINTS['check']}"
        )
    difference = float(np.max(np.abs(theirs - ours)))
    if not difference <= LARGEST_DIFFERENCE:  # a NaN is refused, too
        raise BoardError(
            f"{target.host}: its encoder's symbols differ from this machine's by {difference:.1e}, at most "
            f"{LARGEST_DIFFERENCE:.0e} is allowed (ONNX Runtime {answer['onnxruntime']} on {answer['machine']}): "
            f"try another version with --with 'onnxruntime==...'. {HINTS['check']}"
        )
    return Check(difference, theirs.tobytes() == ours.tobytes())


def state_words(state: dict[str, Any], name: str, target: Target) -> str:
    """How the standing edge is, for the person."""
    if not state["running"]:
        return STOPPED.format(name=name, host=target.host)
    how = f"systemd user service semtb-{name}" if state["kind"] == "systemd" else "process"
    words = f"running as {how}, pid {state['pid']}"
    if not state["lingers"]:
        words += "; it ends with your last session there unless you allow it to stay: sudo loginctl enable-linger USER"
    return words


def start(name: str, target: Target, console: Console) -> None:
    """`semtb deploy start`."""
    console.print(state_words(ask(target, name, "start"), name, target), soft_wrap=True, highlight=False)


def stop(name: str, target: Target, console: Console) -> None:
    """`semtb deploy stop`."""
    was = ask(target, name, "stop")
    console.print(f"{name}: {'stopped' if was['running'] else 'it was not running'}", highlight=False)


def remove(name: str, target: Target, console: Console) -> None:
    """`semtb deploy remove`."""
    ask(target, name, "remove")
    console.print(f"{name}: nothing of it is left on {target.host}", soft_wrap=True, highlight=False)


def status(name: str, target: Target, console: Console) -> None:
    """`semtb deploy status`."""
    status = ask(target, name, "status", size=True)
    manifest = status["manifest"]
    board, check = manifest["board"], msgspec.convert(manifest["check"], Check)
    lines = [
        f"{name} on {target.host}: {state_words(status['state'], name, target)}",
        f"deployed   {manifest['release']} of {manifest['scenario']}, semcom-testbed {manifest['made']} "
        f"{manifest['git_commit'][:12]}, {status['bytes'] / 1e6:.0f} MB in {status['root']}",
        f"board      {board['machine']}, Python {board['python']}, ONNX Runtime {board['onnxruntime']}, "
        f"NumPy {board['numpy']}" + (f", packages of {manifest['reuse']}" if manifest["reuse"] else ""),
        f"codec      {manifest['codec']['name']} {manifest['codec']['sha256'][:8]}, "
        f"beside the machine's that deployed it: {check.words}",
        f"pictures   {board['pictures']}" + (f" in {manifest['board_images']}" if manifest["board_images"] else ""),
        f"server     {manifest['control']}; radio {manifest['radio']}",
    ]
    lines += [f"runs       {', '.join(status['runs'])}"] if status["runs"] else []
    lines += [f"log        {status['last']}"] if status["last"] else []
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
