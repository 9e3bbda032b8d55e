"""Tasks: which codec serves them, what edges are dealt, and accuracy by hand."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.codec.base import CodecIdentity
from testbed.codec.card import find_card, read_card
from testbed.codec.registry import open_codec
from testbed.data import digits
from testbed.data.pictures import Picture
from testbed.errors import CodecError, DataError, ScenarioError
from testbed.experiments.resolve import require_usable
from testbed.experiments.scenario_files import open_scenario
from testbed.experiments.scoring import as_labels
from testbed.experiments.sent import Sent
from testbed.experiments.tasks import as_pictures, sources, truth

NAME = "classifier-digits"


class Named:
    identity = CodecIdentity("named", 0, 0)


def logits(label: int) -> np.ndarray:
    return np.eye(10, dtype=np.float32)[label]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["codec.name=deepjscc-cifar10"], "is of kind picture; task digits asks for kind label"),
        (["task=photographs"], "is of kind label; task photographs asks for kind picture"),
        (["codec.provider=cuda"], "provider = cuda: ONNX Runtime has cpu here"),
        (["codec.provider=npu"], "provider = npu: allowed: auto, tensorrt, cuda, cpu"),
    ],
)
def test_a_codec_that_a_task_has_no_use_for_is_refused_before_anything_starts(settings: list[str], says: str):
    with pytest.raises(CodecError, match=says):
        require_usable(open_scenario("digits", settings, None, None))


def test_a_task_that_is_not_known_is_refused():
    with pytest.raises(ScenarioError, match="task = smells: allowed: photographs, digits"):
        require_usable(open_scenario("digits", ["task=smells"], None, None))


def test_edges_are_dealt_digits_in_turn_that_no_training_saw():
    """Disjoint for two edges, in the order of the labels that the evaluator keeps, to half a step of 8 bits."""
    scenario = open_scenario("digits", ["samples=30", "repeat=2"], None, None)
    test = digits.split(1).test
    for index, edge in enumerate(scenario.edges):
        sent, labels = sources(scenario, edge, range(8, 9)), truth(scenario, edge)
        assert labels is not None and len(sent) == len(labels) == 60
        assert labels == test.labels[index : index + 60 : 2].tolist() * 2
        grey = np.stack([p.pixels[:, :, 0].reshape(-1) for p in sent[:30]]) / 255.0
        assert np.abs(grey - test.pictures[index : index + 60 : 2]).max() <= 0.5 / 255 + 1e-6


def test_accuracy_counts_every_picture_that_was_sent():
    """Four pictures: read rightly, wrongly, not at all, rightly: one half. Alone, three of four."""
    pictures = [Picture(str(k), np.zeros((8, 8, 3), np.uint8)) for k in range(4)]
    sent = Sent("edge-1", 5, pictures, [np.ones(8, np.complex64)] * 4, [Named()] * 4, [3, 1, 4, 1])
    received = {(5, 0): (logits(3), 0.0), (5, 1): (logits(7), 0.25), (5, 3): (logits(1), 0.0), (6, 2): (logits(4), 0.0)}
    measured, figures = as_labels(sent, received, [logits(3), logits(1), logits(4), logits(9)])
    assert (figures["accuracy"], figures["single_user_accuracy"]) == (0.5, 0.75)
    assert [(p.label, p.read_as, p.lost_share) for p in measured] == [
        (3, 3, 0),
        (1, 7, 0.25),
        (4, None, 1.0),
        (1, 1, 0),
    ]
    assert as_labels(sent, received, None)[1]["single_user_accuracy"] is None
    with pytest.raises(DataError, match="sent 4 pictures, its task dealt it 3"):
        as_labels(Sent("edge-1", 5, pictures, [], [Named()] * 4, [3, 1, 4]), received, None)


def test_the_classifier_that_ships_is_as_good_as_its_card_says():
    """400 test digits at 5 dB over AWGN, noise drawn here: within 4 standard errors of the card's share."""
    from testbed.codec.links import Link

    codec, test = open_codec(NAME), digits.split(1).test
    (curve,) = read_card(find_card(NAME))[0].curves
    stated = curve.accuracy[curve.snr_db.index(5.0)]
    sent = np.stack([codec.encode(picture) for picture in as_pictures(test)])
    assert np.mean(np.abs(sent) ** 2, axis=1) == pytest.approx(1.0, abs=1e-4)
    received, no_eff = Link("AWGN", 5.0).receive(sent, np.random.default_rng(11))
    right = [codec.decode(x, no, 8, 8).argmax() for x, no in zip(received, no_eff, strict=True)] == test.labels
    assert np.mean(right) == pytest.approx(stated, abs=4 * np.sqrt(stated * (1 - stated) / 400))
    assert stated > 0.95


def test_lost_symbols_are_erasures_whatever_their_value():
    codec = open_codec(NAME)
    sent = codec.encode(as_pictures(digits.split(1).test)[0])
    no_eff = np.full(8, 0.01, np.float32)
    no_eff[2:4] = np.inf
    zeroed, wild = sent.copy(), sent.copy()
    zeroed[2:4], wild[2:4] = 0, np.nan
    assert np.array_equal(codec.decode(zeroed, no_eff, 8, 8), codec.decode(wild, no_eff, 8, 8))
