"""Tables show whole numbers on a terminal of any width."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from testbed.experiments.federate.table import show as show_federated
from testbed.experiments.learn.estimator import table_of
from testbed.experiments.run import show as show_run
from testbed.experiments.tables import print_table
from testbed.record.federated import Comparison, FederatedResult, Round
from testbed.record.schema import Metrics, Result, User

WIDTHS = (20, 40, 41, 55, 80, 200)


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, markup=False)


def words(shown: Console) -> list[str]:
    return re.split(r"[\s│┃:]+", shown.file.getvalue())


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_is_cut_and_nothing_is_wider_than_the_terminal(width):
    """A table that fits keeps its form within the width; one that does not becomes lines."""
    table = Table(title="figures")
    for head in ("seed", "PSNR dB", "single-user bound dB", "SINR of each user dB"):
        table.add_column(head, justify="right")
    table.add_row("1", "32.775336", "33.72", "13.04 13.11")
    table.add_row("4294967295", "-3.25", "-", "[bold]")
    shown = console(width)
    print_table(shown, table)
    text = shown.file.getvalue()
    for word in ("32.775336", "33.72", "13.04", "13.11", "4294967295", "-3.25", "[bold]"):
        assert word in words(shown)
    assert "…" not in text
    if "┃" in text:
        assert max(map(len, text.splitlines())) <= width
    assert ("┃" in text) == (width >= 55)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_path_folds_and_numbers_beside_it_do_not(width):
    table = Table("radio", "port")
    table.add_column("file", overflow="fold")
    table.add_row("edge-1", "54321", "/a/very/long/path/" + "x" * 60)
    shown = console(width)
    print_table(shown, table)
    assert "54321" in words(shown)
    assert shown.file.getvalue().count("x") == 60


@pytest.mark.parametrize("width", WIDTHS)
def test_every_table_of_the_commands_shows_whole_numbers(width):
    """run, federate, eval estimator: each figure stands there as one word."""
    user = User(
        user=0,
        node="edge-1",
        images=1234,
        psnr_db=32.775,
        ssim=0.9876,
        evm_percent=1.0,
        sinr_db_estimated=13.0,
        sinr_db_true=13.04,
        frames_sent=60000,
        frames_detected=59999,
        channel_uses=1,
        single_user_psnr_db=33.724,
        single_user_sinr_db=14.0,
    )
    shown = console(width)
    show_run(Result(scenario="two-users", seed=1, complete=True, metrics=Metrics(users=[user])), shown)
    for word in ("1234", "32.77", "33.72", "0.988", "13.0", "59999/60000"):
        assert word in words(shown), shown.file.getvalue()
    found = {
        "nmse_db": {"ls": [-12.341], "lmmse-estimated": [-23.456], "dnn": [-34.567]},
        "dnn_over": {"lmmse-estimated": {"db": [-1.934], "ci95_db": [[-3.161, -1.072]]}},
        "reported_over_measured_db": {"dnn": [-0.14]},
    }
    shown = console(width)
    print_table(shown, table_of("TDL-A", [0.0], found, 400))
    for word in ("-12.34", "-23.46", "-34.57", "-1.93", "-0.14"):
        assert word in words(shown), shown.file.getvalue()
    shown = console(width)
    result = FederatedResult(
        name="federate-digits-evidence",
        task="UCI digits",
        complete=True,
        rounds=[Round(round=1, accuracy=0.98765, validation_accuracy=0.9, epsilon=3.9876, uploads=10, refused=0)],
        comparisons={"pooled": Comparison(accuracy=0.91234, validation_accuracy=0.9, note="all data in one place")},
    )
    show_federated(result, shown)
    for word in ("98.8", "91.2", "10"):
        assert word in words(shown), shown.file.getvalue()
