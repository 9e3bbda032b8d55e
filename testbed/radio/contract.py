"""What every radio must do: checks that tests run on emulated radios and `semtb radio selftest` on real ones.

Each check is one function whose docstring is its title; it opens what it needs from `Ends`, and raises `Broken` with
what was found. Nothing here knows which kind of radio it is.
"""

from __future__ import annotations

import contextlib
import time

import numpy as np

from testbed.errors import RadioError, ShapeError
from testbed.radio.base import Radio, RxBlock, Tuning
from testbed.radio.contract_ends import (
    BEGIN_S,
    Broken,
    Ends,
    SamplesLost,
    arrived,
    first_of,
    flush,
    in_thread,
    listen,
    noise,
    refusal,
    require,
    samples_of,
)

PIECE = 77_777  # odd on purpose: no block's size
ENDED_S = 10.0  # for a thread that should have ended


def arrives_bit_for_bit(ends: Ends, rng: np.random.Generator, count: int = 500_000) -> None:
    """What is sent arrives bit for bit, and then silence."""
    sender, receiver = ends.sender(), ends.receiver()
    require(isinstance(sender, Radio), "it does not have all that a radio has")
    listen(ends, receiver)
    x = noise(rng, ends.channels, count)

    def feed() -> None:
        for begin in range(0, count, PIECE):
            sender.send(x[:, begin : begin + PIECE])
        sender.finish()

    feeder = in_thread(feed)
    counts = [1, 0, count // 500 - 1, count // 2, count - count // 2 - count // 500, 5000]
    blocks = [receiver.receive(n) for n in counts]
    begin, end_s = first_of(blocks), time.monotonic() + BEGIN_S
    while not ends.waits and (begin is None or samples_of(blocks) < begin + count + 5000):
        require(begin is not None or time.monotonic() < end_s, f"nothing arrives within {BEGIN_S:.0f} s")
        blocks.append(receiver.receive(50_000))
        begin = first_of(blocks) if begin is None else begin
    feeder.join(ENDED_S)
    require(not feeder.is_alive(), "finish does not return though all was received")
    _well_formed(blocks, ends, receiver)
    events = [event for block in blocks for event in block.events] + list(sender.sent_events())
    if events:
        raise (Broken if ends.waits else SamplesLost)(f"{len(events)} events, the first: {events[0]}")
    got = np.concatenate([block.samples for block in blocks], axis=1)[:, 0 if ends.waits else begin :]
    wrong = np.flatnonzero((got[:, :count] != x * np.float32(ends.gain)).any(axis=0))
    require(not len(wrong), f"{len(wrong)} of {count} samples differ, the first at {wrong[:1]}")
    require(not got[:, count:].any(), "after the last sample something else arrives")


def arrives_as_it_was(ends: Ends, rng: np.random.Generator) -> None:
    """The sender's array may change afterwards."""
    sender, receiver = ends.sender(), ends.receiver()
    listen(ends, receiver)
    x = noise(rng, ends.channels, 100)
    kept = x.copy()
    sender.send(x)
    flush(ends, sender)
    x[:] = 0
    require(np.array_equal(arrived(ends, receiver, 100), kept * np.float32(ends.gain)), "another array arrives")


def beyond_full_scale_is_refused(ends: Ends, bad: complex = 1.001) -> None:
    """More than full scale is refused, and nothing of it is sent; exactly full scale is allowed."""
    sender, receiver = ends.sender(), ends.receiver()
    listen(ends, receiver)
    x = np.zeros((ends.channels, 10), np.complex64)
    x[0, 3] = bad
    with refusal(RadioError, "full scale"):
        sender.send(x)
    full = np.full((ends.channels, 4), 1 - 1j, np.complex64)
    sender.send(full)
    flush(ends, sender)
    got = arrived(ends, receiver, 4)
    require(np.allclose(got, full * ends.gain, rtol=0, atol=ends.step), f"full scale arrives as {got.tolist()}")


def wrong_shapes_are_refused(ends: Ends, shape: tuple[int, ...] | None = None) -> None:
    """An array that is not [antenna, n] is refused, and the message says what is allowed."""
    with ends.sender() as sender:
        for wrong in [shape] if shape is not None else [(10,), (ends.channels + 1, 10), (1, ends.channels, 10)]:
            with refusal(ShapeError, f"allowed: [{ends.channels}, n]"):
                sender.send(np.zeros(wrong, np.complex64))


def no_channel_is_said(ends: Ends) -> None:
    """A radio that was opened without a channel says so."""
    with refusal(RadioError, "without a receive channel"), ends.sender() as sender:
        sender.receive(1)
    with refusal(RadioError, "without a transmit channel"), ends.receiver() as receiver:
        receiver.send(np.zeros((1, 1), np.complex64))


def nothing_after_finish(ends: Ends) -> None:
    """Nothing is sent after finish."""
    sender, receiver = ends.sender(), ends.receiver()
    listen(ends, receiver)
    finishing = in_thread(sender.finish)
    if ends.blocks:
        receiver.receive(1)
    finishing.join(ENDED_S)
    with refusal(RadioError, "send after finish"):
        sender.send(np.zeros((ends.channels, 1), np.complex64))


def close_ends_a_wait(ends: Ends, end: str) -> None:
    """Close, from another thread, ends a call that waits."""
    sender, receiver = ends.sender(), ends.receiver()
    listen(ends, receiver)
    if not ends.blocks:
        sender.send(np.zeros((ends.channels, 10), np.complex64))
        receiver.receive(10)
    ended: list[Exception] = []

    def wait() -> None:
        try:
            while True:
                if end == "receiver":
                    receiver.receive(1)
                else:
                    sender.send(np.zeros((ends.channels, 100_000), np.complex64))
        except RadioError as error:
            ended.append(error)

    waiting = in_thread(wait)
    time.sleep(0.2)
    (receiver if end == "receiver" else sender).close()
    waiting.join(ENDED_S)
    require(not waiting.is_alive(), f"the {end} waits on after close")
    require("closed" in str(ended[0]), f"the {end} says {ended[0]}")


def close_frees_the_address(ends: Ends, rng: np.random.Generator) -> None:
    """Close is idempotent and frees the address; a closed radio says that it is."""
    for _ in range(3):
        x = noise(rng, ends.channels, 50)
        with ends.sender() as sender, ends.receiver() as receiver:
            listen(ends, receiver)
            sender.send(x)
            flush(ends, sender)
            require(np.array_equal(arrived(ends, receiver, 50), x * np.float32(ends.gain)), "another array arrives")
        sender.close()
        receiver.close()
    with refusal(RadioError, "closed"):
        sender.send(x)
    with refusal(RadioError, "closed"):
        receiver.receive(1)
    require(sender.uri and receiver.uri, "a closed radio has no URI")


def says_who_it_is(ends: Ends) -> None:
    """A radio says who it is, by its own address, and whether its peer waits."""
    with ends.sender() as sender, ends.receiver() as receiver:
        for radio in (sender, receiver):
            scheme, _, address = radio.uri.partition(",")[0].partition(":")
            require(radio.identity.scheme == scheme, f"scheme {radio.identity.scheme}")
            require(radio.identity.address.startswith(address), f"address {radio.identity.address}")
            require(radio.paced is ends.waits, f"paced is {radio.paced}")


def is_retuned_or_cannot_be(ends: Ends) -> None:
    """A radio is retuned, or says that it cannot be; what it does not take changes nothing."""
    sender, receiver = ends.sender(), ends.receiver()
    before = receiver.tuning
    if before is None:
        require(sender.tuning is None, f"the sender has {sender.tuning}")
        with refusal(RadioError, "no frequency and no gains"):
            sender.retune(Tuning(lo_hz=2.4e9))
        return
    assert before.lo_hz is not None
    in_thread(lambda: _send_until_closed(sender, ends.channels))
    other = before.lo_hz + 100e6
    for lo_hz, kinds, level in ((before.lo_hz, [], 0.5), (other, ["retuned"], 0.0), (before.lo_hz, ["retuned"], 0.5)):
        moved, wanted = receiver.retune(Tuning(lo_hz=lo_hz)), Tuning(lo_hz=lo_hz, rx_gain_db=before.rx_gain_db)
        require(moved == receiver.tuning == wanted, f"tuned to {moved}, wanted {wanted}")
        block = receiver.receive(9600)
        found = [event.kind for event in block.events if event.kind != "overflow"]
        require(found == kinds, f"events {found}, wanted {kinds}")
        if ends.hears:
            require((block.samples == np.float32(level)).all(), f"at {lo_hz:g} Hz something else is heard")
    for wrong in ends.refused:
        with refusal(RadioError, "allowed: ", "the Pluto refuses"):
            receiver.retune(wrong)
        require(receiver.tuning == before, f"refused, and yet {receiver.tuning}")
    tuning = sender.retune(Tuning(tx_gain_db=-10.25))
    require(tuning.tx_gain_db == -10.25, f"tx_gain_db {tuning.tx_gain_db}")


def _well_formed(blocks: list[RxBlock], ends: Ends, receiver: Radio) -> None:
    position = blocks[0].first_sample
    require(position == (0 if ends.waits else 1), f"the first sample has index {position}")
    for block in blocks:
        require(block.first_sample == position, f"index {block.first_sample}, wanted {position}")
        require(block.samples.shape[0] == receiver.settings.rx_channels, f"shape {block.samples.shape}")
        require(block.samples.dtype == np.complex64, f"dtype {block.samples.dtype}")
        position += block.samples.shape[1]


def _send_until_closed(sender: Radio, channels: int) -> None:
    """Half of full scale, without end."""
    with contextlib.suppress(RadioError):
        while True:
            sender.send(np.full((channels, 9600), 0.5, np.complex64))
