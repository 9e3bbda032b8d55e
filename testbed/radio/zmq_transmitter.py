"""The transmitting half of the ZeroMQ radio: a bounded queue, and the thread that owns the sockets behind it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
import zmq

from testbed.errors import RadioError, SemtbError
from testbed.radio.base import RadioSettings
from testbed.radio.responder import Responder
from testbed.radio.sockets import CLOSE_S, FLUSH_MS, POLL_MS

log = logging.getLogger(__name__)

QUEUE_SAMPLES = 200_000  # waiting to leave, 0.1 s at 1.92 MS/s; `put` blocks beyond
REPLY_SAMPLES = 1_000_000  # in one answer, whatever a foreign peer asks for
SLICE_S = 1e-3  # an answer to srsRAN's request of one byte carries at most so much, as its own radio does


class Transmitter:
    """Answers requests for samples, every antenna at its own pace; see `testbed.radio.zmq.ZmqRadio`."""

    def __init__(self, context: zmq.Context, endpoints: list[str], settings: RadioSettings, wait_s: float) -> None:
        self._where = endpoints[0]
        self._changed = threading.Condition()
        self._queue: deque[np.ndarray] = deque()
        self._first = 0  # index of the first sample in the queue
        self._end = 0  # index behind the last
        self._sent = [0] * len(endpoints)
        self._reported: set[str] = set()
        self._waiting = self._finished = self._closing = False
        self._failure: SemtbError | None = None
        self._links: list[Responder] = []
        self._wake_in, self._wake_out = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._wake_out.bind(f"inproc://wake-{id(self)}")
        self._wake_in.connect(f"inproc://wake-{id(self)}")
        try:
            for endpoint in endpoints:
                slice_samples = max(1, round(settings.sample_rate_hz * SLICE_S))
                name, timeout_s = "the peer of tx_port", settings.timeout_s
                self._links.append(Responder(context, endpoint, name, timeout_s, slice_samples, self._tell))
                self._links[-1].stall_s = max(self._links[-1].stall_s, wait_s)
        except BaseException:
            self._free()
            raise
        self._thread = threading.Thread(target=self._run, name="zmq-radio-tx", daemon=True)
        self._thread.start()

    def put(self, samples: np.ndarray) -> None:
        """Queue [antenna, n]; blocks while the queue is full."""
        with self._changed:
            if self._finished:
                raise RadioError(f"{self._where}: send after finish: open the radio anew to send more")
            for begin in range(0, samples.shape[1], QUEUE_SAMPLES):
                part = samples[:, begin : begin + QUEUE_SAMPLES]
                self._wait(partial(self._has_room, QUEUE_SAMPLES - part.shape[1]))
                self._queue.append(part)
                self._end += part.shape[1]
                self._wake_in.send(b"")

    def finish(self) -> None:
        """Wait until the queue is empty; from then on requests are answered with zeros."""
        with self._changed:
            self._wait(lambda: self._first == self._end)
            self._finished = True
            self._wake_in.send(b"")

    def close(self) -> bool:
        """End the thread, which frees its sockets; whether it did."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)
        return not self._thread.is_alive()

    def _has_room(self, room: int) -> bool:
        return self._end - self._first <= room

    def _wait(self, until: Callable[[], bool]) -> None:
        """Hold the caller until the thread has made it true; the thread says who keeps it from that."""
        self._waiting = True
        while True:
            if self._failure is not None:
                raise self._failure
            if self._closing:
                raise RadioError(f"{self._where}: send: the radio is closed")
            if until():
                break
            self._changed.wait()
        self._waiting = False

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._wake_out, *(link.socket for link in self._links)):
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._closing and self._failure is None:
                ready = dict(poller.poll(POLL_MS))
                while self._wake_out.poll(0):
                    self._wake_out.recv()
                for link in self._links:
                    if link.socket in ready:
                        link.accept()
                with self._changed:
                    for i, link in enumerate(self._links):
                        self._answer(i, link)
        except SemtbError as error:
            self._fail(error)
        except zmq.ZMQError as error:
            self._fail(RadioError(f"{self._where}: {error}"))
        finally:
            self._free()

    def _fail(self, error: SemtbError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _tell(self, line: str) -> None:
        """Log what a foreign peer did, once."""
        if line not in self._reported:
            self._reported.add(line)
            log.warning("%s", line)

    def _answer(self, i: int, link: Responder) -> None:
        """Answer what is pending as far as there are samples; watch over a peer that keeps the caller waiting."""
        link.watch()
        first = self._sent[i]
        if link.pending is None:
            if self._waiting and first < self._end:
                link.check()
            else:
                link.progressed()
            return
        count = min(link.pending, REPLY_SAMPLES)
        if first < self._end and count:
            samples = self._at(i, first)[:count]
            if link.answer(samples):
                self._sent[i] += len(samples)
                self._drop_sent()
        elif self._finished or not count:
            link.answer(np.zeros(count, dtype=np.complex64))

    def _at(self, channel: int, sample: int) -> np.ndarray:
        """What the queue holds of a channel from ``sample`` to the end of the part that holds it."""
        begin = self._first
        for part in self._queue:
            if sample < begin + part.shape[1]:
                return part[channel, sample - begin :]
            begin += part.shape[1]
        raise AssertionError("asked beyond the end of the queue")

    def _drop_sent(self) -> None:
        """Forget the parts that every antenna has sent."""
        while self._queue and self._first + self._queue[0].shape[1] <= min(self._sent):
            self._first += self._queue.popleft().shape[1]
            self._changed.notify_all()

    def _free(self) -> None:
        for link in self._links:
            link.close(FLUSH_MS)
        self._wake_in.close(linger=0)
        self._wake_out.close(linger=0)
