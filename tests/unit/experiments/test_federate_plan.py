"""What each process of a federated run is told, and what it is not."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.requirements import TRAINING

pytest.importorskip("dp_accounting", reason=TRAINING)


from testbed.config import EdgeConfig, ServerConfig
from testbed.control.messages import AnyMessage
from testbed.data.digits import split
from testbed.errors import ScenarioError
from testbed.experiments.federate.plan import Options, parse_epsilon, plan, write_parts
from testbed.experiments.federate.tasks import open_task
from testbed.federation.config import LearnerConfig, TeacherConfig, load_node_or_federated
from testbed.record.folder import RunFolder

DIGITS = open_task("digits")


def laid_out(folder: Path, **options: object) -> RunFolder:
    folder.mkdir()
    run = RunFolder(folder)
    write_parts(plan(Options(epsilon=math.inf, **options), DIGITS, run), split(1), run)
    return run


def test_the_public_labels_reach_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All that nodes are given is the same, byte by byte, whatever the labels of public, validation and test pictures.

    And the server's file of pictures holds pictures alone.
    """
    monkeypatch.setattr("testbed.experiments.federate.plan.free_base", lambda host, count: 20_000)
    parts = split(1)
    false = msgspec.structs.replace(
        parts,
        public_labels=9 - parts.public_labels,
        validation=type(parts.validation)(parts.validation.pictures, 9 - parts.validation.labels),
        test=type(parts.test)(parts.test.pictures, 9 - parts.test.labels),
    )
    given = []
    for known in (parts, false):
        folder = RunFolder(tmp_path)
        write_parts(plan(Options(epsilon=math.inf), DIGITS, folder), known, folder)
        given.append({p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()})
    assert given[0] == given[1]
    with np.load(tmp_path / "server" / "public.npz") as archive:
        assert archive.files == ["pictures"]
        assert np.array_equal(archive["pictures"], parts.public.pictures)


def test_no_message_to_an_edge_has_a_field_for_labels():
    """The only pictures that are ever sent go without labels; no message knows the word."""
    fields = {f.name for kind in AnyMessage.__args__ for f in msgspec.structs.fields(kind)}
    assert not {name for name in fields if "label" in name}


def test_each_edge_gets_its_own_records_and_nobody_elses(tmp_path: Path):
    run = laid_out(tmp_path / "run")
    seen = []
    for number in range(1, 11):
        config = load_node_or_federated(run.path / "nodes" / f"edge-{number}.toml", EdgeConfig, LearnerConfig)
        assert isinstance(config, LearnerConfig)
        assert config.name in config.records
        assert config.privacy.noise_seed is None
        with np.load(config.records) as archive:
            seen.append(archive["pictures"])
    assert len(np.unique(np.concatenate(seen), axis=0)) == sum(map(len, seen)) == 800
    server = load_node_or_federated(run.path / "nodes" / "server.toml", ServerConfig, TeacherConfig)
    assert isinstance(server, TeacherConfig)


def test_a_file_that_is_no_federated_nodes_is_read_as_before(tmp_path: Path):
    (tmp_path / "edge.toml").write_text("seed = 1\n")
    with pytest.raises(ScenarioError, match=r"edge\.toml"):
        load_node_or_federated(tmp_path / "edge.toml", EdgeConfig, LearnerConfig)
    (tmp_path / "edge.toml").write_text('role = "federation"\nnoise = 1\n')
    with pytest.raises(ScenarioError, match="unknown key"):
        load_node_or_federated(tmp_path / "edge.toml", EdgeConfig, LearnerConfig)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "four"])
def test_an_epsilon_that_promises_nonsense_is_refused(text: str):
    with pytest.raises(ScenarioError, match=r"--epsilon .*0\.01\.\.50, or inf"):
        parse_epsilon(text)


def test_options_out_of_range_are_refused_before_anything_starts(tmp_path: Path):
    wrong = [{"releases": 4}, {"releases": 0}, {"strategy": "records"}, {"rounds": 101}, {"mechanism": "uniform"}]
    wrong += [{"clients": 0}, {"clients": 1001}, {"quorum": 11}, {"quorum": 0}, {"deadline_s": 0.0}, {"symbols": 33}]
    for options in wrong:
        with pytest.raises(ScenarioError, match="allowed"):
            plan(Options(epsilon=math.inf, **options), DIGITS, RunFolder(tmp_path))
    with pytest.raises(ScenarioError, match="allowed: digits, mnist"):
        open_task("records")
    with pytest.raises(ScenarioError, match="at most 800 slices"):
        DIGITS.split(1, 401, 2)


@pytest.mark.parametrize(("clients", "slices"), [(10, 2), (4, 3), (7, 5), (1, 1)])
def test_no_edge_holds_more_records_than_are_agreed(clients: int, slices: int, tmp_path: Path):
    """The agreed number follows from public numbers alone, and one edge at least comes within a slice's rounding."""
    configs = plan(Options(epsilon=math.inf, clients=clients, slices=slices), DIGITS, RunFolder(tmp_path))
    held = [len(records) for records in DIGITS.split(3, clients, slices).clients]
    assert [edge.records_at_most for edge in configs.edges] == [configs.server.records_at_most] * clients
    assert max(held) <= configs.server.records_at_most < max(held) + slices
    assert configs.server.quorum == clients // 2 + 1


@pytest.mark.parametrize("name", [pytest.param("mnist", marks=pytest.mark.needs("data")), "digits"])
def test_a_task_has_the_parts_that_it_states(name: str):
    """Sizes, pixels in 0..1, labels in range, clients with few labels; the same seed deals the same, another not."""
    task = open_task(name)
    first, again, other = (task.split(seed, 4, 2) for seed in (1, 1, 2))
    assert np.array_equal(first.test.pictures, again.test.pictures)
    assert not np.array_equal(first.test.pictures, other.test.pictures)
    assert first.public.pictures.shape[1] == task.side**2
    assert (len(first.test), len(first.validation)) == (task.test, task.validation)
    assert sum(map(len, first.clients)) == task.private
    assert all(0 <= c.labels.min() <= c.labels.max() < task.classes for c in first.clients)
    assert 0.0 <= first.public.pictures.min() < first.public.pictures.max() <= 1.0
    assert np.mean([len(np.unique(c.labels)) for c in first.clients]) < task.classes / 1.5
