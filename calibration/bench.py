"""What a procedure measures with: a receiver, and a transmitter that it hears. No mathematics here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec
import numpy as np

from calibration.plan import TonePlan
from calibration.record import Conditions
from calibration.tones import find_tone
from testbed.config.strict import Strict
from testbed.errors import RadioError, SemtbError
from testbed.radio.base import Radio, RadioIdentity, RadioSettings, Tuning
from testbed.radio.registry import open_radio

CHUNK_SAMPLES = 9_600  # sent at a time; whole periods of the plan of tones
SETTLE_S = 0.12  # received and thrown away when the signal changes: 80 ms wait in a device, and what is on the way
REFERENCE_SAMPLES = 960_000  # of the tone that two oscillators are compared by: half a second at 1.92 MS/s
MIDDLE_HZ = 1e9  # between 325 MHz and 3.8 GHz, the ends of the least of them
ASIDE_HZ = 100e3  # from the LO of a capture, between captures: another LO has the receiver begin anew
CLIPPED = 0.998  # |re| or |im|, of full scale: the last code of 12 bits, nearly
CLOSE_CHUNKS = 10  # received while the last of what is sent finds room
PAUSE_SAMPLES, PAUSED = 240, 0.5  # whole periods of the tones; noise alone comes to 0.7 in a million of them
TRIES = 5  # for a capture of which no sample was lost


class ReceiverClips(RadioError):
    """What arrives is beyond the converter's full scale."""


class SamplesLost(RadioError):
    """What was captured is not whole."""


def paused(y: np.ndarray) -> bool:
    """Whether a periodic signal was interrupted for more than a hundred samples: its power falls to half of itself.

    Parameters
    ----------
    y : [n] complex64

    Returns
    -------
    bool
    """
    parts = y[: len(y) // PAUSE_SAMPLES * PAUSE_SAMPLES].reshape(-1, PAUSE_SAMPLES)
    power = np.mean(parts.real**2 + parts.imag**2, axis=1)
    return bool(np.min(power) < PAUSED * np.median(power))


class Player:
    """Sends one period again and again from a thread, until it is given another; silence to begin with."""

    def __init__(self, radio: Radio) -> None:
        self._radio = radio
        self._failure: SemtbError | None = None
        self._closing = False
        self._first = threading.Event()
        self._chunk = np.zeros((radio.settings.tx_channels, CHUNK_SAMPLES), dtype=np.complex64)
        self._thread = threading.Thread(target=self._run, name="calibration-tx", daemon=True)

    def play(self, period: np.ndarray) -> bool:
        """From the next chunk on; [channel, n] or [n] complex64, on the first channel then. Whether it is another."""
        rows = np.zeros((self._radio.settings.tx_channels, np.shape(period)[-1]), dtype=np.complex64)
        rows[: np.atleast_2d(period).shape[0]] = period
        chunk = np.tile(rows, (1, max(1, CHUNK_SAMPLES // rows.shape[1])))
        changed = not np.array_equal(chunk, self._chunk)
        self._chunk = chunk
        if not self._thread.ident:
            self._thread.start()
        return changed

    def raise_failure(self) -> None:
        """What ended the thread."""
        if self._failure is not None:
            raise self._failure

    def wait_for_first(self) -> None:
        """Until the first chunk is with the radio, or could not be."""
        self._first.wait(self._radio.settings.timeout_s)

    def end(self) -> None:
        """No further chunk."""
        self._closing = True

    @property
    def sending(self) -> bool:
        """Whether a chunk is on its way."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._closing:
                self._radio.send(self._chunk)
                self._first.set()
        except SemtbError as error:
            if not self._closing:
                self._failure = error


class Bench:
    """A receiver and, perhaps, a transmitter that it hears: another radio, or itself over a cable.

    Parameters
    ----------
    receiver : Radio
    transmitter : Radio, optional
        Opened to transmit only, so that its oscillator can be tuned apart from the receiver's.
    """

    def __init__(self, receiver: Radio, transmitter: Radio | None) -> None:
        self.receiver, self.transmitter = receiver, transmitter
        tuning = receiver.tuning
        self.lo_hz = tuning.lo_hz if tuning is not None and tuning.lo_hz is not None else receiver.settings.lo_hz
        self.rate_hz = receiver.settings.sample_rate_hz
        self._player = Player(transmitter) if transmitter is not None else None

    @property
    def alone(self) -> bool:
        """Whether transmitter and receiver are one radio, with one reference oscillator."""
        return self.transmitter is not None and self.transmitter.identity.serial == self.receiver.identity.serial

    def capture(
        self, period: np.ndarray | None, count: int, *, receive: Tuning | None = None, transmit: Tuning | None = None
    ) -> np.ndarray:
        """What the receiver hears of a period that is sent again and again.

        Parameters
        ----------
        period : [n] or [channel, n] complex64, optional
            n divides `CHUNK_SAMPLES`, or exceeds it; None: the transmitter, if there is one, is silent.
        count : int
        receive, transmit : Tuning, optional
            Set before; what they leave out stays, but for the receiver's LO, which is the bench's then.

        Returns
        -------
        [antenna, count] complex64

        Raises
        ------
        ReceiverClips
        SamplesLost
            If samples are lost, on either side, again and again.
        RadioError
            As the radios say.
        """
        if period is not None and self._player is None:
            raise RadioError("there is no transmitter to hear: name one with --transmitter URI")
        changed = False
        if self._player is not None:
            assert self.transmitter is not None
            if transmit is not None:
                self.transmitter.retune(transmit)
            changed = self._player.play(np.zeros(1, np.complex64) if period is None else period)
        wanted = self._wanted(receive or Tuning())
        for _ in range(TRIES):
            self.receiver.retune(wanted)
            self.receiver.receive(round(SETTLE_S * self.rate_hz) if changed else CHUNK_SAMPLES)
            block = self.receiver.receive(count)
            self.receiver.retune(Tuning(lo_hz=self._aside_hz(wanted)))  # what is read ahead is thrown away
            if self._player is not None:
                self._player.raise_failure()
            whole = not [event for event in block.events if event.kind != "retuned"]
            if whole and (period is None or not paused(block.samples[0])):
                return self._not_clipped(block.samples)
            changed = True  # what was queued is of before
        raise SamplesLost(
            f"{self.receiver.uri}: samples were lost in each of {TRIES} captures at {self.rate_hz:g} S/s: lower --rate"
        )

    def _wanted(self, receive: Tuning) -> Tuning:
        """With the LO that is meant where it says nothing of it: between captures another is set."""
        return receive if receive.lo_hz is not None else msgspec.structs.replace(receive, lo_hz=self.lo_hz)

    def _aside_hz(self, wanted: Tuning) -> float:
        """Another LO, towards the middle of what devices have."""
        lo_hz = wanted.lo_hz or self.lo_hz
        return lo_hz + (ASIDE_HZ if lo_hz < MIDDLE_HZ else -ASIDE_HZ)

    def from_start(self, period: np.ndarray, count: int) -> np.ndarray:
        """The first samples that the receiver hears of a period that the transmitter has sent from its first sample on.

        Once a bench, before anything else: sample 0 is that of both streams.

        Parameters
        ----------
        period : [n] complex64
        count : int

        Returns
        -------
        [antenna, count] complex64

        Raises
        ------
        ReceiverClips
        SamplesLost
            If samples are lost, on either side.
        RadioError
            As the radios say.
        """
        assert self._player is not None
        self._player.play(period)
        self._player.wait_for_first()
        block = self.receiver.receive(count)
        self._player.raise_failure()
        if block.events or paused(block.samples[0][2 * CHUNK_SAMPLES :]):
            raise SamplesLost(f"{self.receiver.uri}: samples were lost at {self.rate_hz:g} S/s: lower --rate")
        return self._not_clipped(block.samples)

    def _not_clipped(self, samples: np.ndarray) -> np.ndarray:
        if max(np.max(np.abs(samples.real)), np.max(np.abs(samples.imag))) >= CLIPPED:
            raise ReceiverClips(
                f"{self.receiver.uri}: the receiver clips: lower its rx_gain_db or the transmitter's tx_gain_db, or "
                "put an attenuator between them"
            )
        return samples

    def tones(
        self,
        plan: TonePlan,
        count: int,
        receive_gain_db: float | None = None,
        transmit_gain_db: float | None = None,
        channel: int = 0,
    ) -> np.ndarray:
        """[antenna, count] complex64: the plan's tones, the receiver tuned a quarter of a step off as it wants it.

        Parameters
        ----------
        plan : TonePlan
        count : int
        receive_gain_db, transmit_gain_db : float, optional
        channel : int
            Of the transmitter.

        Returns
        -------
        [antenna, count] complex64
        """
        rows = np.zeros((channel + 1, len(plan.waveform())), dtype=np.complex64)
        rows[channel] = plan.waveform()
        return self.capture(
            rows,
            count,
            receive=Tuning(lo_hz=self.lo_hz - plan.shift_hz, rx_gain_db=receive_gain_db),
            transmit=Tuning(lo_hz=self.lo_hz, tx_gain_db=transmit_gain_db),
        )

    def reference_ratio(self) -> tuple[float, float]:
        """The transmitter's reference oscillator over the receiver's, and its standard error; exactly 1 for one radio.

        Returns
        -------
        ratio, standard_error : float
        """
        if self.alone:
            return 1.0, 0.0
        plan = TonePlan(self.rate_hz, level=0.5, bins=(2,))
        heard = self.tones(plan, REFERENCE_SAMPLES)[0]
        sent_hz = self.lo_hz + 2 * plan.step_hz
        nominal = (sent_hz - (self.lo_hz - plan.shift_hz)) / self.rate_hz
        found, error = find_tone(heard, nominal, 0.2, avoid=np.zeros(1))
        ratio = (self.lo_hz - plan.shift_hz + found * self.rate_hz) / sent_hz
        return ratio, error * self.rate_hz / sent_hz

    def close(self) -> None:
        """End the thread that sends, which may wait for room; the radios are closed by who opened them."""
        if self._player is not None:
            self._player.end()
            with suppress(SemtbError):  # of a radio that is gone, which was said already
                for _ in range(CLOSE_CHUNKS):
                    if not self._player.sending:
                        return
                    self.receiver.receive(CHUNK_SAMPLES)


class Given(Strict, frozen=True):
    """What is known from outside, by an instrument; None: not known.

    Attributes
    ----------
    reference_hz : float, optional
        Frequency of a tone at the antenna, from a generator.
    beacon : bool
        Whether a server of this testbed sends its beacon at the radio's LO.
    transmitter_ppm : float, optional
        By how much the reference oscillator of the other transmitter, or of the server, is high.
    source_dbm : float, optional
        Level at the receive antenna of the tone from that generator or, without it, of the transmitter's tones.
    output_dbm : float, optional
        Level at the transmit antenna of the tones of the procedure that asks for it.
    """

    reference_hz: float | None = None
    beacon: bool = False
    transmitter_ppm: float | None = None
    source_dbm: float | None = None
    output_dbm: float | None = None


class Station:
    """The radios that a procedure may open, and what is known from outside.

    Parameters
    ----------
    uri : str
        The radio to be calibrated, which receives.
    sample_rate_hz : float
    transmitter : str, optional
        URI of another radio, that it hears; left out, it hears itself over a cable.
    given : Given
    antennas : int
        Of the receiver that hear the transmitter.
    """

    def __init__(
        self,
        uri: str,
        sample_rate_hz: float,
        transmitter: str | None = None,
        given: Given | None = None,
        antennas: int = 1,
    ) -> None:
        self.uri, self.transmitter, self.rate_hz, self.antennas = uri, transmitter, sample_rate_hz, antennas
        self.given = given or Given()
        self.identity: RadioIdentity | None = None
        self.conditions: Conditions | None = None

    @contextmanager
    def open(self, rx_channels: int = 1, transmits: bool = True) -> Iterator[Bench]:
        """Open the radios, and close them; who was calibrated, under which conditions, is kept.

        Parameters
        ----------
        rx_channels : int
        transmits : bool
            Whether a transmitter is needed.

        Yields
        ------
        Bench
        """
        with ExitStack() as stack:
            sender: Radio | None = None
            if transmits:
                settings = RadioSettings(self.rate_hz, tx_channels=1)
                sender = stack.enter_context(open_radio(self.transmitter or self.uri, settings))
            receiver = stack.enter_context(open_radio(self.uri, RadioSettings(self.rate_hz, rx_channels=rx_channels)))
            bench = Bench(receiver, sender)
            self.identity, self.conditions = receiver.identity, conditions_of(receiver, sender)
            try:
                yield bench
            finally:
                bench.close()


def conditions_of(receiver: Radio | None, transmitter: Radio | None) -> Conditions:
    """Under which conditions radios work at this moment.

    Parameters
    ----------
    receiver, transmitter : Radio, optional

    Returns
    -------
    Conditions
    """
    one = receiver or transmitter
    assert one is not None
    tuning = one.tuning or Tuning()
    sent = transmitter.tuning if transmitter is not None else None
    return Conditions(
        sample_rate_hz=one.settings.sample_rate_hz,
        lo_hz=tuning.lo_hz,
        tx_gain_db=sent.tx_gain_db if sent is not None else None,
        rx_gain_db=tuning.rx_gain_db,
        temperature_c=getattr(one, "temperature_c", None),
    )
