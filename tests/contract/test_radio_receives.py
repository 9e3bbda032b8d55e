"""What every Radio that receives must do, also one that plays a recording and has no far end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from testbed.errors import RadioError
from testbed.radio.base import Radio, RadioSettings, RxBlock, Tuning
from testbed.radio.contract_ends import noise
from testbed.radio.registry import open_radio
from testbed.record.captures import Description
from testbed.record.recorder import Recorder
from tests.contract.test_radio import RATE, Pair

COUNT = 50_000
Feed = Callable[[np.ndarray], Radio]


@pytest.fixture(params=["zmq", "memory", "sigmf"])
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Feed]:
    """Makes a radio that receives these samples, [antenna, n]."""
    closing: list[Callable[[], None]] = []

    def make(samples: np.ndarray) -> Radio:
        if request.param == "sigmf":
            recorder = Recorder(tmp_path, Description(rate_hz=RATE, antennas=len(samples)), waits=True)
            recorder.put(RxBlock(samples, 0))
            recorder.close()
            radio = open_radio(f"sigmf:{tmp_path}", RadioSettings(RATE, rx_channels=len(samples)))
            closing.append(radio.close)
            return radio
        pair = Pair(request.param, len(samples), 5.0)
        closing.append(pair.close)
        sender, receiver = pair.sender(), pair.receiver()
        threading.Thread(target=sender.send, args=(samples,), daemon=True).start()
        return receiver

    yield make
    for close in closing:
        close()


@pytest.mark.parametrize("antennas", [1, 2])
def test_samples_come_exactly_as_asked(feed: Feed, antennas: int, rng: np.random.Generator):
    """Counted from 0, of all antennas, bit for bit, whatever the counts."""
    samples = noise(rng, antennas, COUNT)
    radio = feed(samples)
    assert isinstance(radio, Radio)
    counts = [1, 0, 999, 30_000, COUNT - 31_000]
    blocks = [radio.receive(count) for count in counts]
    assert [block.first_sample for block in blocks] == [0, 1, 1, 1000, 31_000]
    assert all(block.samples.dtype == np.complex64 and block.events == () for block in blocks)
    assert [block.samples.shape for block in blocks] == [(antennas, count) for count in counts]
    assert np.array_equal(np.concatenate([block.samples for block in blocks], axis=1), samples)


def test_what_was_received_stays_as_it_is(feed: Feed, rng: np.random.Generator):
    """The next samples do not overwrite it, and it may be changed."""
    samples = noise(rng, 1, 200)
    radio = feed(samples)
    first = radio.receive(100).samples
    kept = first.copy()
    second = radio.receive(100).samples
    assert np.array_equal(first, kept)
    first[:] = 0
    assert np.array_equal(second, samples[:, 100:])


def test_a_receiver_says_who_it_is_and_what_it_cannot(feed: Feed, rng: np.random.Generator):
    """Its scheme, that its peer waits, that it neither transmits nor is tuned; `finish` has nothing to wait for."""
    radio = feed(noise(rng, 1, 100))
    assert radio.identity.scheme == radio.uri.partition(":")[0]
    assert radio.paced is True
    with pytest.raises(RadioError, match="without a transmit channel"):
        radio.send(np.zeros((1, 1), np.complex64))
    assert radio.tuning is None
    with pytest.raises(RadioError, match="no frequency and no gains"):
        radio.retune(Tuning(lo_hz=1e9))
    radio.finish()


def test_a_receiver_that_is_closed_says_so(feed: Feed, rng: np.random.Generator):
    with feed(noise(rng, 1, 100)) as radio:
        radio.receive(10)
    radio.close()
    with pytest.raises(RadioError, match="closed"):
        radio.receive(1)
