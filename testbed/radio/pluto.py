"""An ADALM-Pluto (or a virtual one) as a radio: pyadi-iio sets it up, libiio's buffers carry the samples."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import threading
from weakref import WeakSet

import msgspec
import numpy as np

from testbed.config.lab import require_permission
from testbed.errors import PeerLost, RadioError
from testbed.radio.base import RadioEvent, RadioIdentity, RadioSettings, RxBlock, Tuning
from testbed.radio.pluto_buffers import layout
from testbed.radio.pluto_device import PlutoDevice, connect, open_device, waits
from testbed.radio.pluto_libraries import require_libraries
from testbed.radio.pluto_receiver import Receiver
from testbed.radio.pluto_sender import Sender
from testbed.radio.pluto_uri import Choice, hears_otherwise, in_ranges, parse
from testbed.radio.pluto_watch import Watch
from testbed.radio.pluto_watchdog import Watchdog
from testbed.radio.zmq import in_range

OPEN: WeakSet[PlutoRadio] = WeakSet()  # whose process is to close them before it ends

log = logging.getLogger(__name__)


class PlutoRadio:
    """``pluto:ip:192.168.2.1,lo_hz=2.45e9,tx_gain_db=-20,rx_gain_db=40`` or ``pluto:usb:1.4.5``

    Behind the address stand, if wanted, ``lo_hz``, ``tx_gain_db`` (-89.75..0), ``rx_gain_db`` (integer), ``lead_s``
    (silence before the first sample), ``fir`` (name of a filter that ships, or path of a file) and ``mute=1`` (nothing
    is radiated, as digital loopback wants it); what is left out is as the settings say. One channel needs a Pluto as it
    is sold, two a Pluto with 2R2T. Transmit and receive of one Pluto may be opened by two processes (by ``ip:``, not
    ``usb:``).

    Full scale 1.0 is 2^14 of the DAC's 16 bits and 2^11 of the ADC's 12. The TX buffer is opened at once, so that a
    virtual Pluto's time waits for it; the transmitter is muted (highest attenuation, LO off) until then and again when
    it closes; should this process end without closing it, a watchdog mutes it. The RX buffer is opened by the first
    `receive`, after all settings, and what it may hold from before is passed over; a thread reads it from then on, up
    to two seconds ahead. What the device lost meanwhile comes as zeros, with an event that says how many samples: a
    virtual Pluto counts them, of hardware they are told from this machine's clock. Underflows are told by
    `sent_events`, from that clock and the device's bit. What the device rounds or clamps is read back, logged and kept
    in `adjusted`. One thread may send while another receives. A Pluto on the network that no longer answers is found
    out within `settings.timeout_s` and a second, whatever waits for it.

    Raises
    ------
    MissingExtra
        If pyadi-iio or libiio is not installed.
    RadioNotFound
        If nothing answers at the address.
    RadioError
        If the URI is wrong, the device has too few channels, or it does not take a setting.
    """

    @staticmethod
    def check(uri: str, settings: RadioSettings) -> None:
        """See `testbed.radio.registry.check_uri`."""
        parse(uri, settings)

    @staticmethod
    def has_own_clock(uri: str, settings: RadioSettings) -> bool:
        """See `testbed.radio.registry.has_own_clock`: hardware, and virtual ones in real pace."""
        return not waits(connect(parse(uri, settings), settings.timeout_s))

    @staticmethod
    def require() -> None:
        """See `testbed.radio.registry.require_driver`."""
        require_libraries()

    def __init__(self, uri: str, settings: RadioSettings) -> None:
        self.uri = uri
        self.settings = settings
        self._choice: Choice = parse(uri, settings)
        self._closed = threading.Event()
        self._sender: Sender | None = None
        self._receiver: Receiver | None = None
        self._received = 0
        self._retuned = False  # since the last sample
        self._device: PlutoDevice | None = open_device(uri, self._choice, settings)
        self._watch = Watch(self._choice.address, settings.timeout_s)
        self._watchdog: Watchdog | None = None
        self._process = os.getpid()
        OPEN.add(self)
        try:
            self._identity = self._device.identity
            self._paced = self._device.pace == "lock-step"
            self._layout = layout(settings.sample_rate_hz, self._device.waits)
            if settings.tx_channels:
                self._require_permission(self._choice)
                self._watchdog = Watchdog(self._choice.address)
                self._watchdog.await_ready()
                lead = round(self._choice.lead_s * settings.sample_rate_hz)
                self._sender = Sender(
                    self._device,
                    settings.tx_channels,
                    self._layout,
                    lead,
                    self._may_send,
                    self._explained,
                    self._watch,
                )
                self._device.unmute()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PlutoRadio:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def paced(self) -> bool:
        """A virtual Pluto of a run, whose time waits for its clients; hardware goes by the wall clock."""
        return self._paced

    @property
    def identity(self) -> RadioIdentity:
        """As the device's context has it: model, serial number, firmware."""
        return self._identity

    @property
    def temperature_c(self) -> float | None:
        """Of the transceiver; None if it does not say."""
        return self.device("temperature").temperature_c

    @property
    def rate_before_hz(self) -> float:
        """At which the device was found."""
        return self.device("rate").rate_before_hz

    @property
    def adjusted(self) -> tuple[str, ...]:
        """What the device has otherwise than it was asked for, in words: rounded or clamped."""
        return tuple(self._device.adjusted.values()) if self._device is not None else ()

    @property
    def tuning(self) -> Tuning:
        """As the device has it."""
        return self.device("tuning").tuning

    def retune(self, tuning: Tuning) -> Tuning:
        """See `testbed.radio.base.Radio.retune`.

        Where it changes what is received, the RX buffer is opened anew, since it holds samples from before. A change of
        the transmit gain alone interrupts nothing.
        """
        device = self.device("retune")
        changed = {name: value for name, value in msgspec.structs.asdict(tuning).items() if value is not None}
        choice = in_ranges(self.uri, msgspec.structs.replace(self._choice, **changed))
        if self.settings.tx_channels:
            self._require_permission(choice)
        device.retune(choice)
        before, self._choice = self._choice, choice
        if self._receiver is not None and hears_otherwise(choice, before):
            self._receiver.close()
            self._receiver = None
            self._retuned = True
        return device.tuning

    def send(self, samples: np.ndarray) -> None:
        """See `testbed.radio.base.Radio.send`. What does not fill a block waits for more, or for `finish`."""
        if not self.settings.tx_channels:
            raise RadioError(f"{self.uri}: send: opened without a transmit channel")
        sender = self._sender
        if sender is None:
            raise RadioError(f"{self.uri}: send: the radio is closed")
        sender.send(in_range(samples, self.settings.tx_channels, self.uri))

    def finish(self) -> None:
        """See `testbed.radio.base.Radio.finish`."""
        if self._sender is not None:
            self._sender.finish()

    def sent_events(self) -> tuple[RadioEvent, ...]:
        """See `testbed.radio.base.Radio.sent_events`."""
        return self._sender.events() if self._sender is not None else ()

    def receive(self, count: int) -> RxBlock:
        """See `testbed.radio.base.Radio.receive`."""
        if not self.settings.rx_channels:
            raise RadioError(f"{self.uri}: receive: opened without a receive channel")
        if self._closed.is_set():
            raise RadioError(f"{self.uri}: receive: the radio is closed")
        if self._receiver is None:
            assert self._device is not None
            self._receiver = Receiver(
                self._device, self.settings.rx_channels, self._layout, self._explained, self._watch
            )
        samples, losses = self._receiver.take(count)
        first = self._received
        self._received += count
        events = [RadioEvent("overflow", first + where, lost, self._receiver.detail) for where, lost in losses]
        if self._retuned and count:
            self._retuned = False
            events.insert(0, RadioEvent("retuned", first, 0, "what passed meanwhile is not counted"))
        return RxBlock(samples, first, tuple(events))

    def close(self) -> None:
        """Mute the transmitter, then free buffers and device, in this order; idempotent, from any thread."""
        if self._closed.is_set() and self._device is None:
            return
        self._closed.set()
        idle = self._sender is None or self._sender.is_idle()
        gone = not self._watch.answers()
        self._watch.close()
        device, self._device = self._device, None
        self._mute(device, gone)
        if self._sender is not None and (gone or not idle):
            self._sender.wake()
        if self._receiver is not None:
            self._receiver.close(gone)
        if self._sender is not None:
            self._sender.drop()  # buffers before their context, or libiio may crash
        self._receiver = None
        del device

    def _mute(self, device: PlutoDevice | None, gone: bool) -> None:
        """No carrier; what this process cannot do is left to its watchdog."""
        watchdog, self._watchdog = self._watchdog, None
        if gone and self.settings.tx_channels:
            log.warning("%s: not muted: %s", self.uri, self._watch.reason)
        muted = not self.settings.tx_channels or (not gone and device is not None and device.mute())
        if watchdog is not None:
            watchdog.dismiss() if muted else watchdog.release()

    def _require_permission(self, choice: Choice) -> None:
        """What is mute radiates nothing."""
        if not choice.mute:
            virtual = self.device("transmit").virtual
            rate_hz = self.settings.sample_rate_hz
            lo_hz = choice.lo_hz + self.settings.tx_lo_offset_hz
            require_permission(self.uri, lo_hz, rate_hz, choice.tx_gain_db, virtual)

    def device(self, what: str) -> PlutoDevice:
        """The connection to it.

        Parameters
        ----------
        what : str
            It is wanted for, if it is closed.
        """
        if self._device is None or self._closed.is_set():
            raise RadioError(f"{self.uri}: {what}: the radio is closed")
        return self._device

    def _may_send(self) -> None:
        if self._closed.is_set():
            raise RadioError(f"{self.uri}: send: the radio is closed")
        if self._watchdog is None or not self._watchdog.watches:
            self.close()
            raise RadioError(
                f"{self.uri}: muted: the watchdog that would mute it after a crash was ended; open it anew"
            )

    def _explained(self, error: OSError, what: str) -> RadioError | PeerLost:
        """What an error of libiio means here."""
        if self._closed.is_set():
            return RadioError(f"{self.uri}: closed while waiting")
        if self._watch.reason:
            return PeerLost(f"{self._choice.address}: the Pluto no longer answers ({self._watch.reason})")
        if error.errno in (errno.ETIMEDOUT, errno.EAGAIN):
            return PeerLost(f"{self._choice.address}: the Pluto is connected but {what}")
        return PeerLost(f"{self._choice.address}: the Pluto went away ({error.strerror or error})")

    def close_at_exit(self) -> None:
        """Close what was left open; in a forked child it is its parent's."""
        if os.getpid() == self._process:
            self.close()


@atexit.register
def _close_all() -> None:
    """Mute, and destroy buffers before their context, or libiio may crash the interpreter as it ends."""
    for radio in list(OPEN):
        radio.close_at_exit()
