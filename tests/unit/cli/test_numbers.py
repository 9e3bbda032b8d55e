"""Every option that takes a number, of every command: what lies outside its limits, or is no number, is refused."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator

import pytest
import typer
from typer.testing import CliRunner

from testbed.cli.main import app

COMMANDS = [
    "eval deepjscc --snr-db nan",
    "eval deepjscc --snr-db inf",
    "eval deepjscc --snr-db -1001",
    "eval deepjscc --seed -1",
    "eval deepjscc --pictures 0",
    "eval estimator --spread-ns nan",
    "eval estimator --doppler-hz inf",
    "eval estimator --snr-db 10 --snr-db -inf",
    "eval estimator --frames 99999999999",
    "train estimator --seed -1",
    "train deepjscc --threads 99999999999",
    "run two-users --seed 99999999999999999999",
    "sweep two-users --first-seed -1",
    "switch --codec a --control b --at-frame 99999999999",
    "federate digits --noise-seed -3",
    "air --pluto 127.0.0.2 --channels 3",
]


def commands(group: typer.Typer, path: str = "") -> Iterator[tuple[str, Callable[..., object]]]:
    """Each command's name and function, those of groups in groups, too."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{path} {command.name or command.callback.__name__}".strip(), command.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{path} {inner.name}".strip())


def numeric_options() -> dict[str, typing.Any]:
    """By command and argument: what typer is given for it."""
    found = {}
    for path, function in commands(app):
        for name, hint in typing.get_type_hints(function, include_extras=True).items():
            if typing.get_origin(hint) is not typing.Annotated:
                continue
            kind, given = typing.get_args(hint)
            kinds = {kind, *typing.get_args(kind)}
            kinds |= {inner for outer in kinds for inner in typing.get_args(outer)}
            if kinds & {int, float}:
                found[f"{path}: {name}"] = given
    return found


@pytest.mark.parametrize("option", numeric_options())
def test_every_number_has_limits_which_refuse_what_is_none(option: str):
    """nan, infinities, 10^40 both ways and words, by the option's own parser; its limits are in its help."""
    given = numeric_options()[option]
    for text in ("nan", "inf", "-inf", "1e40", "-1" + 40 * "0", "many", ""):
        with pytest.raises(typer.BadParameter, match="allowed: "):
            given.parser(text)
    assert given.metavar == given.parser.allowed


def test_there_are_such_options():
    assert len(numeric_options()) > 20


@pytest.mark.parametrize("line", COMMANDS)
def test_a_number_out_of_range_is_refused_with_what_is_allowed(line: str):
    """As typed: status 2, and the option, the value and the limits are named."""
    words = line.split()
    done = CliRunner().invoke(app, words)
    message = " ".join(done.output.split())
    assert done.exit_code == 2, message
    assert words[-2] in message and words[-1] in message and "allowed: " in message


def test_a_number_in_range_arrives_as_one():
    """Both limits and what lies between, as the type that the function asks for."""
    given = numeric_options()["eval estimator: doppler_hz"]
    assert [given.parser(text) for text in ("0", "2e3", "7.5")] == [0.0, 2000.0, 7.5]
    seed = numeric_options()["eval deepjscc: seed"].parser
    assert [seed(text) for text in ("0", str(2**32 - 1))] == [0, 2**32 - 1]
