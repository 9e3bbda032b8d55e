"""`semtb air` without the name of a command, and with one."""

from typer.testing import CliRunner

from testbed.cli.main import app


def test_what_names_no_command_goes_to_the_first():
    """The same error from both, so the same command read it."""
    for arguments in (["air", "serve", "none.toml"], ["air", "none.toml"]):
        result = CliRunner().invoke(app, arguments)
        assert "none.toml" in str(result.exception)
        assert "semtb resolve" in str(result.exception)


def test_a_command_that_is_there_is_not_taken_for_a_file():
    result = CliRunner().invoke(app, ["air", "serve"])
    assert "give either CONFIG, --pluto ADDRESS or --zmq" in str(result.exception)
