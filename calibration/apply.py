"""A radio whose known faults are corrected on the way in and out; the driver beneath is any."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np

from calibration.bench import conditions_of
from calibration.receive_iq import correct
from calibration.record import Conditions, Record
from calibration.registry import procedures
from calibration.store import find, records_of, store_folder
from calibration.transmit_iq import predistort
from testbed.radio.base import Radio, RadioEvent, RadioIdentity, RadioSettings, RxBlock, Tuning
from testbed.radio.registry import open_radio
from testbed.radio.zmq import in_range

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corrections:
    """What is known of a radio under its conditions, and far enough from nothing to be corrected.

    Attributes
    ----------
    ppm : float
        By which its reference oscillator is high.
    delay_samples : float
        From the transmit stream to the receive stream.
    receive, transmit : {int: (image, offset)}
        Of each antenna: as `calibration.receive_iq.correct` and `calibration.transmit_iq.predistort` take them.
    antennas : {int: complex}
        Factor of each antenna against the first.
    receive_gain_error_db, transmit_gain_error_db : list of (setting, error)
        By rising setting; between them, linear.
    full_scale_dbm : (float, float) or None
        At the antenna, of a tone at full scale; and the gain setting at which that was measured.
    names : list of str
        Of the records in use, each with what it is relative to if it is.
    warnings : list of str
    """

    ppm: float = 0.0
    delay_samples: float = 0.0
    receive: dict[int, tuple[complex, complex]] = field(default_factory=dict)
    transmit: dict[int, tuple[complex, complex]] = field(default_factory=dict)
    antennas: dict[int, complex] = field(default_factory=dict)
    receive_gain_error_db: list[tuple[float, float]] = field(default_factory=list)
    transmit_gain_error_db: list[tuple[float, float]] = field(default_factory=list)
    full_scale_dbm: tuple[float, float] | None = None
    names: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def corrections_from(
    records: Sequence[Record], conditions: Conditions, now: datetime, sides: Set[str] = frozenset({"rx", "tx"})
) -> Corrections:
    """What the nearest valid records of one radio say.

    Parameters
    ----------
    records : sequence of Record
    conditions : Conditions
    now : datetime
    sides : set of str
        "rx", "tx" or both: for what the radio is used.

    Returns
    -------
    Corrections
    """
    used: list[Record] = []
    warnings: list[str] = []
    for procedure in procedures().values():
        if not procedure.applies_to & sides:
            continue
        found, reason = find(records, procedure, conditions, now)
        warnings += [reason] if reason else []
        if found is not None:
            used.append(found.record)
            warnings += found.warnings

    def figures(name: str) -> dict[float, complex]:
        return {q.at or 0.0: q.complex for r in used for q in r.corrections(name)}

    def pairs(image: str, offset: str) -> dict[int, tuple[complex, complex]]:
        images, offsets = figures(image), figures(offset)
        return {int(a): (images.get(a, 0j), offsets.get(a, 0j)) for a in {*images, *offsets}}

    def table(name: str) -> list[tuple[float, float]]:
        """With the settings whose errors are nothing: between them it is linear."""
        known = {q.at or 0.0: q.value if q.significant else 0.0 for r in used for q in r.quantities if q.name == name}
        return sorted(known.items()) if any(known.values()) else []

    scales = [(q.value, q.at or 0.0) for r in used for q in r.quantities if q.name == "full_scale_dbm"]
    return Corrections(
        ppm=figures("ppm").get(0.0, 0j).real,
        delay_samples=figures("delay_samples").get(0.0, 0j).real,
        receive=pairs("receive_image", "receive_dc"),
        transmit=pairs("transmit_image", "transmit_leakage"),
        antennas={int(a): 1 + g for a, g in figures("antenna").items()},
        receive_gain_error_db=table("receive_gain_error_db"),
        transmit_gain_error_db=table("transmit_gain_error_db"),
        full_scale_dbm=scales[0] if scales else None,
        names=[record.name + ("" if record.absolute else f" (relative to {record.reference})") for record in used],
        warnings=warnings,
    )


class CalibratedRadio:
    """A radio as `testbed.radio.base.Radio` says, less the faults that records know of it.

    Received samples are freed of DC and image and brought to the phase and gain of antenna 0; sent ones are
    predistorted for leakage and image (what that drives beyond full scale is held there, and counted); the frequency
    that is set is the one that makes the true one what was asked for. A radio that sends *and* receives drops so many
    of its first received samples that one sample index is one moment of both streams, to half a sample. After `retune`
    the records that are nearest then are used.

    Parameters
    ----------
    radio : Radio
        Open. It belongs to this one from here on, which closes it.
    records : sequence of Record
        Of this radio.
    now : datetime, optional
        Against which records expire.
    """

    def __init__(self, radio: Radio, records: Sequence[Record], now: datetime | None = None) -> None:
        self.radio = radio
        self.uri, self.settings = radio.uri, radio.settings
        self.clipped_samples = 0
        self._records = list(records)
        self._now = now or datetime.now(timezone.utc)
        self._nominal_lo_hz = radio.tuning.lo_hz if radio.tuning is not None else None
        self._use()
        if self._nominal_lo_hz is not None and self.corrections.ppm:
            radio.retune(Tuning(lo_hz=self._coded(self._nominal_lo_hz)))
        both = radio.settings.tx_channels and radio.settings.rx_channels
        self._skipped = max(0, round(self.corrections.delay_samples)) if both else 0  # once, before the first
        self._begun = False

    def _use(self) -> None:
        radio = self.radio
        conditions = conditions_of(
            radio if radio.settings.rx_channels else None, radio if radio.settings.tx_channels else None
        )
        lo_hz = self._nominal_lo_hz
        sides = {side for side in ("rx", "tx") if getattr(radio.settings, f"{side}_channels")}
        self.corrections = corrections_from(
            self._records, msgspec.structs.replace(conditions, lo_hz=lo_hz), self._now, sides
        )
        for warning in self.corrections.warnings:
            log.warning("%s: calibration: %s", self.uri, warning)

    def _coded(self, lo_hz: float) -> float:
        """What to set for that frequency to come out, in whole Hz."""
        return round(lo_hz / (1 + self.corrections.ppm * 1e-6))

    def __enter__(self) -> CalibratedRadio:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def paced(self) -> bool:
        """As the radio beneath."""
        return self.radio.paced

    @property
    def identity(self) -> RadioIdentity:
        """As the radio beneath."""
        return self.radio.identity

    @property
    def adjusted(self) -> tuple[str, ...]:
        """See `testbed.radio.base.Radio.adjusted`."""
        return self.radio.adjusted

    @property
    def tuning(self) -> Tuning | None:
        """Gains as they are set, the frequency as it truly is."""
        tuning = self.radio.tuning
        if tuning is None or tuning.lo_hz is None:
            return tuning
        return msgspec.structs.replace(tuning, lo_hz=tuning.lo_hz * (1 + self.corrections.ppm * 1e-6))

    def retune(self, tuning: Tuning) -> Tuning:
        """See `testbed.radio.base.Radio.retune`."""
        lo_hz = tuning.lo_hz if tuning.lo_hz is not None else self._nominal_lo_hz
        coded = None if tuning.lo_hz is None else self._coded(tuning.lo_hz)
        got = self.radio.retune(msgspec.structs.replace(tuning, lo_hz=coded))
        self._nominal_lo_hz = lo_hz
        self._use()
        return self.tuning or got

    def send(self, samples: np.ndarray) -> None:
        """See `testbed.radio.base.Radio.send`."""
        if not self.corrections.transmit or not self.settings.tx_channels:
            return self.radio.send(samples)
        x = in_range(samples, self.settings.tx_channels, self.uri).copy()
        for antenna, (image, leakage) in self.corrections.transmit.items():
            if antenna < len(x):
                x[antenna] = predistort(x[antenna], image, leakage)
        parts = x.view(np.float32)
        beyond = np.abs(parts) > 1
        if np.any(beyond):
            self.clipped_samples += int(np.count_nonzero(beyond.reshape(*x.shape, 2).any(axis=-1)))
            np.clip(parts, -1, 1, out=parts)
        return self.radio.send(x)

    def finish(self) -> None:
        """See `testbed.radio.base.Radio.finish`."""
        self.radio.finish()

    def sent_events(self) -> tuple[RadioEvent, ...]:
        """See `testbed.radio.base.Radio.sent_events`."""
        return self.radio.sent_events()

    def receive(self, count: int) -> RxBlock:
        """See `testbed.radio.base.Radio.receive`. What was lost stays zero."""
        if self._skipped and not self._begun:
            self.radio.receive(self._skipped)
        self._begun = True
        block, known = self.radio.receive(count), self.corrections
        if not (known.receive or known.antennas):
            return _moved(block, self._skipped, block.samples) if self._skipped else block
        samples = block.samples.copy()
        for antenna, (image, dc) in known.receive.items():
            if antenna < len(samples):
                samples[antenna] = correct(samples[antenna], image, dc)
        for antenna, factor in known.antennas.items():
            if antenna < len(samples):
                samples[antenna] /= np.complex64(factor)
        for event in block.events:
            if event.kind in ("overflow", "lost"):
                begin = event.sample - block.first_sample
                samples[:, max(0, begin) : max(0, begin + event.count)] = 0
        return _moved(block, self._skipped, samples)

    def level_dbm(self, level_dbfs: float) -> float | None:
        """Level at the antenna of what is received at a level of the converter; None without an absolute record."""
        scale, tuning = self.corrections.full_scale_dbm, self.radio.tuning
        if scale is None or tuning is None or tuning.rx_gain_db is None:
            return None
        dbm, at = scale
        return level_dbfs + dbm - (self.true_gain_db(tuning.rx_gain_db) - self.true_gain_db(at))

    def true_gain_db(self, setting_db: float) -> float:
        """Of the receiver, at a setting: the setting and its error."""
        table = self.corrections.receive_gain_error_db
        if not table:
            return setting_db
        settings, errors = np.array(table).T
        return setting_db + float(np.interp(setting_db, settings, errors))

    def close(self) -> None:
        """See `testbed.radio.base.Radio.close`."""
        self.radio.close()


def _moved(block: RxBlock, by: int, samples: np.ndarray) -> RxBlock:
    """The block with indices that do not count what was dropped before."""
    events = tuple(msgspec.structs.replace(event, sample=event.sample - by) for event in block.events)
    return RxBlock(samples, block.first_sample - by, events)


def open_calibrated(uri: str, settings: RadioSettings, folder: Path | None = None) -> Radio:
    """Open a radio as `testbed.radio.registry.open_radio` does, corrected where records of it are kept.

    Parameters
    ----------
    uri : str
    settings : RadioSettings
    folder : Path, optional
        Else `calibration.store.store_folder`.

    Returns
    -------
    Radio
        A `CalibratedRadio` if there are records of that serial number, else the radio itself.

    Raises
    ------
    DataError
        If a record is damaged.
    RadioError, RadioNotFound, AddressInUse
        As the driver says.
    """
    radio = open_radio(uri, settings)
    try:
        records = records_of(radio.identity.serial, folder or store_folder())
        return CalibratedRadio(radio, records) if records else radio
    except BaseException:
        radio.close()
        raise


def full_scale_dbm_of(radio: Radio) -> float | None:
    """Level at the antenna of a tone at full scale, at the gain in force; None where no absolute record says so."""
    return radio.level_dbm(0.0) if isinstance(radio, CalibratedRadio) else None


def calibrations_of(radio: Radio | None) -> list[str]:
    """Names of the records that correct a radio; none if none does."""
    return radio.corrections.names if isinstance(radio, CalibratedRadio) else []
