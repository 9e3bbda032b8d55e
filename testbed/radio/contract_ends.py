"""The two ends of a link, as the checks of `testbed.radio.contract` see them, and how a check fails."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from testbed.errors import RadioError
from testbed.radio.base import Radio, RxBlock, Tuning

BEGIN_S = 10.0  # for the first sample to arrive where time does not wait


class Broken(AssertionError):
    """A radio does not do what every radio must."""


class SamplesLost(Broken):
    """Samples were lost, and the radio said so: the machine was busy, or the link is too slow."""


class Ends(Protocol):
    """Two radios, opened on demand: what the sender sends, the receiver receives."""

    channels: int
    waits: bool  # time waits for both: the first sample that is sent is the first that is received
    blocks: bool  # the sender hands over whole blocks, so that the last of it leaves with `finish`
    hears: bool  # over the air or an emulation of it: another frequency is not heard
    gain: float  # from what is sent to what is received
    step: float  # of the receiver's converter, which ends one step below full scale
    refused: tuple[Tuning, ...]  # what the receiver does not take

    def sender(self) -> Radio:
        """Open the one that sends."""
        ...

    def receiver(self) -> Radio:
        """Open the one that receives."""
        ...


def require(ok: object, what: str) -> None:
    """Raise Broken unless it is so."""
    if not ok:
        raise Broken(what)


def noise(rng: np.random.Generator, channels: int, count: int) -> np.ndarray:
    """[channels, count] complex64, uniform in steps that 11 bits and a sign hold exactly; the first is not zero."""
    re, im = np.round(rng.uniform(-1023, 1023, (2, channels, count)))
    re[:, 0] = 512.0
    return ((re + 1j * im) / 1024).astype(np.complex64)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """A thread that does not outlive its process."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def listen(ends: Ends, receiver: Radio) -> None:
    """Where time does not wait, a receiver hears nothing of what was sent before it began."""
    if not ends.waits:
        receiver.receive(1)


def flush(ends: Ends, sender: Radio) -> None:
    """See to it that what was sent leaves; a radio of blocks needs its receiver at work meanwhile."""
    if ends.blocks:
        in_thread(lambda: _finish_unless_closed(sender))


def arrived(ends: Ends, receiver: Radio, count: int) -> np.ndarray:
    """The first ``count`` samples that were sent, of which the first is not zero."""
    if ends.waits:
        return receiver.receive(count).samples
    blocks: list[RxBlock] = []
    end_s = time.monotonic() + BEGIN_S
    while (begin := first_of(blocks)) is None or samples_of(blocks) < begin + count:
        require(time.monotonic() < end_s, f"nothing arrives within {BEGIN_S:.0f} s")
        blocks.append(receiver.receive(9600))
    return np.concatenate([block.samples for block in blocks], axis=1)[:, begin : begin + count]


def first_of(blocks: list[RxBlock]) -> int | None:
    """Index of the first sample that is not zero."""
    passed = 0
    for block in blocks:
        found = np.flatnonzero(block.samples.any(axis=0))
        if len(found):
            return passed + int(found[0])
        passed += block.samples.shape[1]
    return None


def samples_of(blocks: list[RxBlock]) -> int:
    """How many there are."""
    return sum(block.samples.shape[1] for block in blocks)


@contextlib.contextmanager
def refusal(kind: type[Exception], *words: str) -> Iterator[None]:
    """Around a call that must raise ``kind`` with one of ``words`` in its message."""
    try:
        yield
    except kind as error:
        require(any(word in str(error) for word in words), f"it says {error}; wanted: {' or '.join(words)}")
        return
    raise Broken(f"nothing is refused; wanted: {kind.__name__}, {' or '.join(words)}")


def _finish_unless_closed(sender: Radio) -> None:
    """Who has seen enough closes the radios, also while one still sends its last blocks."""
    try:
        sender.finish()
    except RadioError as error:
        if "closed" not in str(error):
            raise
