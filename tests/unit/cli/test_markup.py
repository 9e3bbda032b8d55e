"""No text is read as markup: help is shown as it is written, and what comes from outside is printed as it is."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import testbed
from testbed.cli.main import app

PACKAGES = [Path(testbed.__file__).parents[1] / name for name in ("testbed", "edge", "server", "calibration")]
TAKES_MARKUP = ("Console", "TextColumn")  # unless told otherwise


def commands(command: Any, path: tuple[str, ...] = ()):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


def packed(text: str) -> str:
    """Without white space, which help lays out anew."""
    return "".join(text.split())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_shows_every_word_of_docstring_options_and_epilog(path):
    command = ALL[path]
    shown = packed(CliRunner().invoke(app, [*path, "--help"], prog_name="semtb").output)
    texts = [parameter.help for parameter in command.params if getattr(parameter, "help", None)]
    described = inspect.cleandoc(command.help or "")
    assert described, "a command says what it does"
    for text in [described, *texts, command.epilog or ""]:
        assert packed(text) in shown


def test_the_airs_help_names_its_table():
    assert "[air]" in CliRunner().invoke(app, ["air", "--help"]).output


def test_a_wrong_word_in_brackets_is_shown_as_it_was_typed():
    for arguments in (["[bold]run"], ["run", "two-users", "--[red]"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert arguments[-1] in result.output


def called(node: ast.Call) -> tuple[str, str]:
    """What a call is made on, and its name: ("console", "status"); ("", "Console")."""
    on = getattr(getattr(node.func, "value", None), "id", "")
    return on, getattr(node.func, "id", getattr(node.func, "attr", ""))


def is_plain(node: ast.expr) -> bool:
    """A fixed word, or a Text, which is never read as markup."""
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Call) and called(node) == ("", "Text"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_nothing_that_prints_reads_markup(package):
    """Every Console and every text column of a progress bar is made with markup=False; a status line, which always
    reads it, is a fixed word or a Text."""
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            on, name = called(node)
            where = f"{file.name}:{node.lineno}"
            if name in TAKES_MARKUP:
                given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
                assert given.get("markup") is False, where
            elif (on in ("console", "errors") and name == "status") or (on == "status" and name == "update"):
                assert is_plain(node.args[0]), where
            assert name not in ("from_markup", "render_markup"), where
