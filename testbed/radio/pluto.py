"""An ADALM-Pluto (or a virtual one) as a radio: pyadi-iio sets it up, libiio's buffers carry the samples."""

from __future__ import annotations

import errno
import logging
import threading

import msgspec
import numpy as np

from testbed.config.lab import require_permission
from testbed.errors import PeerLost, RadioError
from testbed.radio.base import RadioEvent, RadioIdentity, RadioSettings, RxBlock, Tuning
from testbed.radio.pluto_device import TX_DEVICE, PlutoDevice, open_device
from testbed.radio.pluto_libraries import require_libraries
from testbed.radio.pluto_receiver import Receiver
from testbed.radio.pluto_uri import Choice, in_ranges, parse
from testbed.radio.pluto_watch import Watch
from testbed.radio.pluto_watchdog import Watchdog
from testbed.radio.zmq import in_range

BLOCK_SAMPLES = 9_600  # of a buffer, 5 ms at 1.92 MS/s; at any rate far below the 2.5 s that a buffer may last
KERNEL_BUFFERS = 4  # blocks of a TX buffer that wait in the device: 20 ms that a late sender may miss without a gap
TX_FULL_SCALE = 1 << 14
CLOSE_S = 0.1  # for a block on its way
WOKEN_S = 2.0  # for a thread whose wait in libiio was cancelled

log = logging.getLogger(__name__)


class PlutoRadio:
    """``pluto:ip:192.168.2.1,lo_hz=2.45e9,tx_gain_db=-20,rx_gain_db=40`` or ``pluto:usb:1.4.5``

    Behind the address stand, if wanted, ``lo_hz``, ``tx_gain_db`` (-89.75..0), ``rx_gain_db`` (integer) and ``lead_s``
    (silence before the first sample); what is left out is as the settings say. One channel needs a Pluto as it is sold,
    two a Pluto with 2R2T. Transmit and receive of one Pluto may be opened by two processes (by ``ip:``, not ``usb:``).

    Full scale 1.0 is 2^14 of the DAC's 16 bits and 2^11 of the ADC's 12. The TX buffer is opened at once, so that a
    virtual Pluto's time waits for it; the transmitter is muted (highest attenuation, LO off) until then and again when
    it closes; should this process end without closing it, a watchdog mutes it. The RX buffer is opened by the first
    `receive`, after all settings, so that no block from before is in it; a thread reads it from then on, up to two
    seconds ahead. What the device lost meanwhile comes as zeros, with an
    event that says how many samples: a virtual Pluto counts them, of hardware they are told from this machine's clock.
    Underflows are not reported: some firmware has that bit always set. A Pluto on the network that no longer answers is
    found out within `settings.timeout_s` and a second, whatever waits for it.

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
    def require() -> None:
        """See `testbed.radio.registry.require_driver`."""
        require_libraries()

    def __init__(self, uri: str, settings: RadioSettings) -> None:
        self.uri = uri
        self.settings = settings
        self._choice: Choice = parse(uri, settings)
        self._closed = threading.Event()
        self._sending = threading.RLock()
        self._held = np.zeros((settings.tx_channels, 0), dtype=np.complex64)
        self._finished = False
        self._txbuf = None
        self._receiver: Receiver | None = None
        self._received = 0
        self._retuned = False  # since the last sample
        self._device: PlutoDevice | None = open_device(uri, self._choice, settings)
        self._watch = Watch(self._choice.address, settings.timeout_s)
        self._watchdog: Watchdog | None = None
        try:
            self._identity = self._device.identity
            self._paced = self._device.pace == "lock-step"
            if settings.tx_channels:
                self._require_permission(self._choice)
                self._watchdog = Watchdog(self._choice.address)
                self._watchdog.await_ready()
                self._txbuf = self._device.open_buffer(TX_DEVICE, settings.tx_channels, BLOCK_SAMPLES, KERNEL_BUFFERS)
                self._device.unmute()
                lead = round(self._choice.lead_s * settings.sample_rate_hz)
                self._held = np.zeros((settings.tx_channels, lead), dtype=np.complex64)
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
    def tuning(self) -> Tuning:
        """As the device has it."""
        return self._open_device("tuning").tuning

    def retune(self, tuning: Tuning) -> Tuning:
        """See `testbed.radio.base.Radio.retune`. The RX buffer is opened anew, since it holds samples from before."""
        device = self._open_device("retune")
        changed = {name: value for name, value in msgspec.structs.asdict(tuning).items() if value is not None}
        choice = in_ranges(self.uri, msgspec.structs.replace(self._choice, **changed))
        if self.settings.tx_channels:
            self._require_permission(choice)
        device.retune(choice)
        self._choice = choice
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
            self._retuned = True
        return device.tuning

    def send(self, samples: np.ndarray) -> None:
        """See `testbed.radio.base.Radio.send`. What does not fill a block waits for more, or for `finish`."""
        if not self.settings.tx_channels:
            raise RadioError(f"{self.uri}: send: opened without a transmit channel")
        x = in_range(samples, self.settings.tx_channels, self.uri)
        with self._sending:
            self._may_send()
            if self._finished:
                raise RadioError(f"{self.uri}: send after finish: open the radio anew to send more")
            x = np.concatenate([self._held, x], axis=1)
            whole = x.shape[1] // BLOCK_SAMPLES * BLOCK_SAMPLES
            self._held = x[:, whole:]
            for begin in range(0, whole, BLOCK_SAMPLES):
                self._push(x[:, begin : begin + BLOCK_SAMPLES])

    def finish(self) -> None:
        """See `testbed.radio.base.Radio.finish`: so many blocks of silence go after the last that it has left."""
        if not self.settings.tx_channels:
            return
        with self._sending:
            if self._finished:
                return
            self._may_send()
            silence = np.zeros((self.settings.tx_channels, BLOCK_SAMPLES), dtype=np.complex64)
            if self._held.shape[1]:
                self._push(np.concatenate([self._held, silence], axis=1)[:, :BLOCK_SAMPLES])
            for _ in range(KERNEL_BUFFERS + 1):
                self._push(silence)
            self._finished = True
            self._txbuf = None  # destroys it: from here on the device sends zeros

    def receive(self, count: int) -> RxBlock:
        """See `testbed.radio.base.Radio.receive`."""
        if not self.settings.rx_channels:
            raise RadioError(f"{self.uri}: receive: opened without a receive channel")
        if self._closed.is_set():
            raise RadioError(f"{self.uri}: receive: the radio is closed")
        if self._receiver is None:
            assert self._device is not None
            self._receiver = Receiver(
                self._device, self.settings.rx_channels, BLOCK_SAMPLES, self._explained, self._watch
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
        idle = self._sending.acquire(timeout=CLOSE_S)
        gone = not self._watch.answers()
        self._watch.close()
        if (gone or not idle) and self._txbuf is not None:
            self._txbuf.cancel()  # wakes who waits in it; libiio then complains on standard error
            idle = idle or self._sending.acquire(timeout=WOKEN_S)  # nobody may be in a buffer that is destroyed
        if idle:
            self._sending.release()
        if self._receiver is not None:
            self._receiver.close(gone)
        device, self._device = self._device, None
        if gone:
            log.warning("%s: not muted: %s", self.uri, self._watch.reason)
        muted = not gone and device is not None and (not self.settings.tx_channels or device.mute())
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.dismiss() if muted else watchdog.release()
        self._txbuf = self._receiver = None  # buffers before their context, or libiio may crash
        del device

    def _require_permission(self, choice: Choice) -> None:
        """What is mute radiates nothing."""
        if not choice.mute:
            virtual = self._open_device("transmit").virtual
            rate_hz = self.settings.sample_rate_hz
            require_permission(self.uri, choice.lo_hz, rate_hz, choice.tx_gain_db, virtual)

    def _open_device(self, what: str) -> PlutoDevice:
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

    def _push(self, x: np.ndarray) -> None:
        """One block of [channel, n] within full scale."""
        codes = np.ascontiguousarray(x.T).view(np.float32) * np.float32(TX_FULL_SCALE)
        self._may_send()
        failure = self._write(bytearray(np.rint(codes).astype("<i2").tobytes()))
        if failure is not None:
            raise failure

    def _write(self, block: bytearray) -> RadioError | PeerLost | None:
        """Hand one block to libiio. What failed is returned: raised from here, it would keep the buffer alive."""
        buffer = self._txbuf
        if buffer is None:
            return RadioError(f"{self.uri}: closed while waiting")
        try:
            buffer.write(block)
            with self._watch.over(buffer):
                buffer.push()
        except OSError as error:
            return self._explained(error, "takes no samples")
        return None

    def _explained(self, error: OSError, what: str) -> RadioError | PeerLost:
        """What an error of libiio means here."""
        if self._closed.is_set():
            return RadioError(f"{self.uri}: closed while waiting")
        if self._watch.reason:
            return PeerLost(f"{self._choice.address}: the Pluto no longer answers ({self._watch.reason})")
        if error.errno in (errno.ETIMEDOUT, errno.EAGAIN):
            return PeerLost(f"{self._choice.address}: the Pluto is connected but {what}")
        return PeerLost(f"{self._choice.address}: the Pluto went away ({error.strerror or error})")
