"""Brings the users of a run onto one grid of time and one carrier, and keeps them there. No radio and no network.

The grid is that of the server's own samples: frames begin at multiples of a frame's period. A user who is not known yet
sends access bursts; where they arrive says how much later its stream is to leave. A user who sends frames is measured
in each of them.
"""

from __future__ import annotations

import msgspec
import numpy as np

from server.headers import HELD_FRAMES
from server.received import ReceivedFrame
from testbed.phy.access import AccessFound, burst_samples, find_access
from testbed.phy.stream import SampleStream
from testbed.phy.waveform import Waveform

ALIKE_SAMPLES = 1.0  # by which two bursts in a row may differ: then neither was a false alarm
CLOSE_SAMPLES = 2.0  # of a burst from the grid: frames may follow, they are measured more finely
FRAMES_MEASURED = 24  # 0.2 s, of which a mean is taken before the next order
GAIN = 0.5  # share of what was measured that an order corrects: fading moves a user's mean delay, too
WORTH_SAMPLES, WORTH_HZ = 0.25, 5.0  # less is not worth an order
# Frame periods without a frame that could be read, after which a user is asked for access bursts; where another is
# absent, frames are told of up to HELD_FRAMES late.
LOST_FRAMES = 2 * HELD_FRAMES + 16
ANSWER_S = 2.0  # without an answer to an order: it is given again


class Command(msgspec.Struct, frozen=True):
    """An order to a user, see `testbed.control.messages.Align`."""

    user: int
    number: int
    frames: bool
    delay_samples: float
    trim_hz: float


class UserState(msgspec.Struct):
    """What is known of one user.

    ``first_frame`` is the first that obeys the last command, None until its answer has come. Samples are received later
    than answers, by up to seconds where the server is slow: until a frame was read, ``seen``, bursts of the command
    before it show that the user is there.
    """

    number: int = 0
    frames: bool = False
    delay_samples: float = 0.0
    trim_hz: float = 0.0
    last_burst: AccessFound | None = None
    first_frame: int | None = None
    seen: bool = False
    heard_at: int = 0  # sample of the last frame or burst, or of the answer to the last command
    errors: list[tuple[float, float]] = []  # (samples, Hz) of frames since


class Alignment:
    """Measures users, and commands their time of departure and their carrier.

    What it commands depends on samples, frames and answers alone.

    Parameters
    ----------
    waveform : Waveform
    antennas : int
    """

    def __init__(self, waveform: Waveform, antennas: int) -> None:
        self.waveform = waveform
        self.users: dict[int, UserState] = {}
        self._stream = SampleStream(antennas)
        self._next = 0  # position up to which bursts were searched for
        self._period = waveform.frame_period_samples
        self._commands: list[Command] = []

    @property
    def now(self) -> int:
        """Position behind the last sample."""
        return self._stream.end

    def join(self, user: int) -> None:
        """A user begins, or begins anew: its stream is where it is, and it sends access bursts when it is told to."""
        self.users[user] = UserState(heard_at=self.now)
        self._command(user)

    def leave(self, user: int) -> None:
        """A user has sent all, or is gone."""
        self.users.pop(user, None)

    def answer(self, user: int, number: int, frame: int) -> None:
        """A user obeys a command from a frame on."""
        state = self.users.get(user)
        if state is not None and number == state.number:
            state.first_frame, state.heard_at = frame, self.now

    def commands(self) -> list[Command]:
        """Those that are to be given now, each once."""
        commands, self._commands = self._commands, []
        return commands

    def error_samples(self, arrival: float) -> float:
        """How far from the grid something arrives.

        Parameters
        ----------
        arrival : float
            Position in samples.

        Returns
        -------
        float
            In samples, from minus half a frame's period to half of it.
        """
        return float((arrival + self._period / 2) % self._period - self._period / 2)

    def push(self, samples: np.ndarray) -> None:
        """Search [A, n] complex64, what was received next, for the bursts of users who are to send some."""
        self._stream.append(samples)
        margin = 2 * self.waveform.cp_samples
        wanted = self._period + burst_samples(self.waveform) + margin
        while self._stream.end >= self._next + wanted:
            for user, state in self.users.items():
                if state.first_frame is not None and not state.seen:
                    self._search(user, state, self._stream.view(self._next, wanted))
            self._next += self._period
            self._stream.drop_before(self._next)
        lost = LOST_FRAMES * self._period
        for user, state in self.users.items():
            silent_s = (self.now - state.heard_at) / self.waveform.sample_rate_hz
            if state.first_frame is None and silent_s > ANSWER_S:
                self._again(user, state)
            elif state.frames and state.first_frame is not None and self.now - state.heard_at > lost:
                state.frames = state.seen = False
                self._renew(user, state)

    def take(self, frame: ReceivedFrame) -> None:
        """Measure the users of a received frame that could be read."""
        for part in frame.users:
            state = self.users.get(part.user)
            if state is None or not state.frames or state.first_frame is None or part.header is None:
                continue
            state.seen, state.heard_at = True, max(state.heard_at, frame.first_sample)
            if part.header.frame < state.first_frame:
                continue
            arrival = frame.first_sample + part.delay_samples
            state.errors.append((self.error_samples(arrival), part.cfo_hz))
            if len(state.errors) >= FRAMES_MEASURED:
                self._correct(part.user, state)

    def _search(self, user: int, state: UserState, samples: np.ndarray) -> None:
        if state.frames:
            if find_access(samples, self.waveform, user, state.number - 1) is not None:
                state.heard_at = self._next
            return
        found = find_access(samples, self.waveform, user, state.number)
        before, state.last_burst = state.last_burst, None
        if found is None:
            return
        found = msgspec.structs.replace(found, arrival=self._next + found.arrival)
        state.last_burst = found
        if before is None or abs(self.error_samples(found.arrival - before.arrival)) > ALIKE_SAMPLES:
            return
        error = self.error_samples(found.arrival)
        state.frames, state.seen = abs(error) <= CLOSE_SAMPLES, False
        state.delay_samples -= error if state.frames else error % self._period - self._period
        self._renew(user, state)

    def _correct(self, user: int, state: UserState) -> None:
        """Command what the last frames say, if it is worth one."""
        error, cfo_hz = np.median(state.errors, axis=0)
        state.errors = []
        if abs(error) > WORTH_SAMPLES or abs(cfo_hz) > WORTH_HZ:
            state.delay_samples -= GAIN * float(error)
            state.trim_hz += GAIN * float(cfo_hz)
            self._renew(user, state)

    def _renew(self, user: int, state: UserState) -> None:
        """A new command; nothing is measured until it is answered."""
        state.number += 1
        self._again(user, state)

    def _again(self, user: int, state: UserState) -> None:
        state.first_frame, state.last_burst, state.errors = None, None, []
        state.heard_at = self.now
        self._command(user)

    def _command(self, user: int) -> None:
        state = self.users[user]
        self._commands.append(Command(user, state.number, state.frames, state.delay_samples, state.trim_hz))
