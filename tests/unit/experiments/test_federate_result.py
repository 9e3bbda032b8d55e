"""Ledgers that outlive a run, what the result says was spent on them, each edge's own noise, edges that refuse."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy.optimize import brentq
from scipy.stats import norm
from typer.testing import CliRunner

from tests.requirements import TRAINING

pytest.importorskip("torch", reason=TRAINING)
pytest.importorskip("dp_accounting", reason=TRAINING)

from edge.learner import noise_source
from testbed.cli.main import app
from testbed.experiments.federate import result as federate_result
from testbed.experiments.federate import run as federate
from testbed.experiments.federate.baselines import Score
from testbed.experiments.federate.plan import Options, Plan, plan
from testbed.experiments.federate.result import judged_rounds, silence, warnings
from testbed.experiments.federate.table import show
from testbed.experiments.federate.tasks import open_task
from testbed.privacy.ledger import Budget, Ledger, read_entries
from testbed.record.federated import Client, read_federated
from testbed.record.folder import DIARY, EVENTS, RunFolder
from testbed.report.make import make_report
from tests.unit.report.html_page import Page
from tests.unit.report.synthetic_federated import make_federated

DIGITS = open_task("digits")
CLIENTS = 10


def exact_epsilon(multipliers: list[float], delta: float = 1e-5) -> float:
    """Of Gaussian releases, in closed form: Balle and Wang, ICML 2018, theorem 8."""
    mu = math.sqrt(sum(1 / z**2 for z in multipliers))

    def excess(epsilon: float) -> float:
        return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - delta

    return brentq(excess, 0.0, 30.0)


def test_ledgers_lie_where_the_person_says_one_for_each_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Below --ledgers and outside the run folder, so that the next run finds them; without it, inside."""
    monkeypatch.setenv("HOME", str(tmp_path))
    run = RunFolder.create(tmp_path, "run")
    for given in (tmp_path / "kept", Path("~/kept")):
        configs = plan(Options(epsilon=math.inf, ledgers=given), DIGITS, run)
        found = [Path(edge.privacy.ledger) for edge in configs.edges]
        assert found == [tmp_path / "kept" / edge.name / "ledger.jsonl" for edge in configs.edges]
        assert len(set(found)) == CLIENTS
    for edge in plan(Options(epsilon=math.inf), DIGITS, run).edges:
        assert Path(edge.privacy.ledger).is_relative_to(run.path / "edges" / edge.name)


def test_the_command_hands_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is typed is what is run: no option is dropped on the way."""
    configs = []
    monkeypatch.setattr(federate, "federate", lambda options, *_: configs.append(options) or 0)
    typed = "--epsilon 3 --rounds 5 --releases 2 --strategy mean-logits --seed 4 --noise-seed 6 --mechanism laplace "
    typed += "--clients 4 --slices 3 --quorum 2 --deadline-s 7.5 --symbols 9 --no-compare --ledgers"
    done = CliRunner().invoke(app, ["federate", "mnist", *typed.split(), str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert configs == [
        Options(
            epsilon=3.0,
            task="mnist",
            clients=4,
            slices=3,
            rounds=5,
            releases=2,
            strategy="mean-logits",
            mechanism="laplace",
            quorum=2,
            deadline_s=7.5,
            seed=4,
            symbols=9,
            noise_seed=6,
            ledgers=tmp_path,
            compare=False,
        )
    ]


def charged(configs: Plan, *multipliers: float, edges: slice = slice(None)) -> None:
    for edge in configs.edges[edges]:
        for z in multipliers:
            event = {"kind": "GaussianDpEvent", "noise_multiplier": z}
            Ledger(Path(edge.privacy.ledger), Budget(100.0, 1e-5), lambda *_: 1.0).charge("evidence", event, 1.0, 4000)


def installed(configs: Plan, number: int, edges: slice = slice(None)) -> None:
    """What edges write into their diaries when they install the pair of a round."""
    for edge in configs.edges[edges]:
        Path(edge.state).mkdir(parents=True, exist_ok=True)
        line = {"round": number, "releases": len(read_entries(Path(edge.privacy.ledger)))}
        RunFolder(Path(edge.state)).append_line(DIARY, line)


def round_line(number: int, **why: dict[str, str]) -> dict:
    line = {"event": "round", "round": number, "refused": {}, "rejected": {}, "missing": {}, "lost": {}} | why
    return line | {"uploads": 10 - sum(len(line[key]) for key in ("refused", "rejected", "missing"))}


def test_epsilon_in_the_result_counts_what_earlier_runs_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Edges 2 to 10 come with two releases, edge 1 with three; in round 2 edge 1 refuses. The largest, round by round.

    Against the closed form, to 0.2 %: before the run what edge 1 had, in the end what the others have or edge 1 has.
    """
    monkeypatch.setattr(federate_result, "Classifier", lambda *halves: halves)
    folder = RunFolder.create(tmp_path, "run")
    configs = plan(Options(epsilon=math.inf, rounds=2, ledgers=tmp_path / "kept"), DIGITS, folder)
    charged(configs, 3.0, 3.0)
    charged(configs, 3.0, edges=slice(1))
    installed(configs, 0)
    charged(configs, 1.5)
    installed(configs, 1)
    charged(configs, 1.5, edges=slice(1, None))
    installed(configs, 2)
    for number in (0, 1, 2):
        for half in ("encoder", "decoder"):
            folder.write_bytes(f"rounds/{number:02d}/{half}.onnx", b"")
    folder.append_line(EVENTS, round_line(1))
    folder.append_line(EVENTS, round_line(2, refused={"edge-1": "spent"}))
    rounds = judged_rounds(configs, folder, lambda pair: Score(0.5, 0.5))
    expected = [[3.0] * 3, [3.0] * 3 + [1.5], [3.0] * 2 + [1.5] * 2]
    assert [r.epsilon for r in rounds] == [pytest.approx(exact_epsilon(z), rel=2e-3) for z in expected]
    assert [(r.uploads, r.refused) for r in rounds] == [(0, 0), (10, 0), (9, 1)]


def test_what_a_lost_edge_was_charged_for_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Edge 1 is charged in round 2 and gone before it installs: its last release counts from then on."""
    monkeypatch.setattr(federate_result, "Classifier", lambda *halves: halves)
    folder = RunFolder.create(tmp_path, "run")
    configs = plan(Options(epsilon=math.inf, rounds=3), DIGITS, folder)
    installed(configs, 0)
    charged(configs, 4.0)
    installed(configs, 1)
    charged(configs, 4.0, edges=slice(1))
    for number in (2, 3):
        installed(configs, number, edges=slice(1, None))
    for number in range(4):
        for half in ("encoder", "decoder"):
            folder.write_bytes(f"rounds/{number:02d}/{half}.onnx", b"")
    folder.append_line(EVENTS, round_line(1))
    for number in (2, 3):
        folder.append_line(EVENTS, round_line(number, missing={"edge-1": "its connection ended"}))
    rounds = judged_rounds(configs, folder, lambda pair: Score(0.5, 0.5))
    assert [r.epsilon for r in rounds[:2]] == [0.0, pytest.approx(exact_epsilon([4.0]), rel=2e-3)]
    assert [r.epsilon for r in rounds[2:]] == [pytest.approx(exact_epsilon([4.0] * 2), rel=2e-3)] * 2
    assert [(r.uploads, r.missing) for r in rounds] == [(0, 0), (10, 0), (9, 1), (9, 1)]


def test_each_edges_seeded_noise_is_its_own(tmp_path: Path):
    """Ten edges under two seeds: 20 sources, no two of them correlated (5 sigma); alike noise would cancel in sums."""
    n = 20_000
    drawn = []
    for seed in (1, 2):
        configs = plan(Options(epsilon=math.inf, noise_seed=seed), DIGITS, RunFolder(tmp_path))
        drawn += [noise_source(edge.privacy.noise_seed).normal((n,)) for edge in configs.edges]
    correlation = np.corrcoef(drawn) - np.eye(2 * CLIENTS)
    assert np.abs(correlation).max() < 5 / math.sqrt(n)


def client(number: int, refused: int) -> Client:
    return Client(
        name=f"edge-{number}", channel="AWGN", snr_db=6.0, labels=[0] * 10, releases=0, refused=refused, epsilon=0.0
    )


def test_who_gave_nothing_is_named():
    """In no round at all; an edge that refused the last one only has given."""
    assert silence([client(1, 0), client(2, 2)], 3) == []
    assert silence([client(1, 3), client(2, 2), client(3, 3)], 3) == [
        "Refused in every round, so nothing was learned from it: edge-1, edge-3."
    ]
    (all_silent,) = silence([client(1, 3), client(2, 3)], 3)
    assert all_silent.startswith("No edge gave anything in any round")


def test_who_was_lost_late_or_not_used_is_named(tmp_path: Path):
    """Each by name and why; nothing where nothing happened."""
    folder = RunFolder.create(tmp_path, "run")
    folder.append_line(EVENTS, round_line(1))
    assert warnings([client(1, 0), client(2, 0)], 2, folder) == []
    folder.append_line(EVENTS, round_line(2, rejected={"edge-1": "edge-1 claims noise of 1e+06; agreed: 1.5"}))
    lost, late = client(2, 0), client(3, 0)
    lost.lost, lost.missing, late.missing = "its connection ended", 2, 1
    assert warnings([client(1, 0), lost, late], 2, folder) == [
        "edge-2 was lost: its connection ended. The run went on without it.",
        "Round 2: an upload was not used: edge-1 claims noise of 1e+06; agreed: 1.5.",
        "edge-3 did not answer in time in 1 of 2 rounds.",
    ]


def test_a_warning_ends_the_table_and_stands_on_the_page(tmp_path: Path):
    """Whatever is in `warnings`; and the finding does not praise edges that gave nothing."""
    folder = make_federated(tmp_path, warnings=["No edge gave anything [at all]."])
    result = read_federated(folder)
    shown = io.StringIO()
    show(result, Console(file=shown, markup=False, width=80))
    assert shown.getvalue().splitlines()[-1] == "warning: No edge gave anything [at all]."
    assert "No edge gave anything [at all]." in Page(make_report(folder.path).read_text(encoding="utf-8")).text
    silent = [{"round": 1, "accuracy": 0.089, "validation_accuracy": 0.09, "epsilon": 4.0, "uploads": 0, "refused": 4}]
    page = Page(make_report(make_federated(tmp_path, rounds=silent).path).read_text(encoding="utf-8"))
    assert "a classifier that was taught nothing names 92.3" in page.text
    assert "teach one classifier" not in page.text
