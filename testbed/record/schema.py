"""What result.json holds: structs with units, one encoder and one strict reader. No figure is computed here.

``metrics`` is a function of the scenario and its seed alone: nothing of time, host or path may enter it, so that
two runs of one seed give identical bytes (``metrics_bytes``). What depends on the machine is in ``timing`` or above.

A number that is not defined (SSIM of a picture below its window, SINR of a user none of whose frames was found) is
None, which JSON writes as null; NaN and infinities are refused.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from testbed.errors import DataError
from testbed.record.folder import RESULT, RunFolder, encode

FORMAT = 1  # raised when a field changes its meaning


class Picture(msgspec.Struct, kw_only=True):
    """One picture of one user; the k-th lies at ``sent_name(node, k)``, ``received_name`` and ``bound_name``."""

    name: str  # of the file it was read from, without folders
    height: int  # pixels, as encoded
    width: int
    psnr_db: float | None  # peak 255, over all pixels and colours; a picture that never arrived counts as mid-grey
    ssim: float | None  # 0..1, mean over colours
    single_user_psnr_db: float | None  # the bound: noise of the same power, known channel, no other user
    lost_share: float = 0.0  # 0..1 of its channel symbols entered the decoder as erasures
    codec: str = ""  # name and first 32 bits of the hash of the one that it was sent with
    label: int | msgspec.UnsetType = msgspec.UNSET  # of a task with labels: what it shows, which the evaluator knows
    read_as: int | msgspec.UnsetType | None = msgspec.UNSET  # the largest logit; None where nothing arrived


class User(msgspec.Struct, kw_only=True):
    """One user's link, over all of its pictures and frames."""

    user: int
    node: str
    images: int  # pictures sent; every one counts in the means
    psnr_db: float | None  # of the mean MSE over the pictures
    ssim: float | None  # mean over the pictures
    evm_percent: float | None  # rms error of the MMSE estimates that enter the decoder, of unit-power symbols
    sinr_db_estimated: float | None  # of MMSE estimates, 1/MSE - 1, by the effective noise that the detector reported
    sinr_db_true: float | None  # the same with the MSE measured against what was sent
    frames_sent: int
    frames_detected: int  # with a header that passed its CRC
    channel_uses: int  # complex symbols that carried its pictures, padding not counted
    single_user_psnr_db: float | None  # the bound, of the mean MSE
    single_user_sinr_db: float | None
    pictures: list[Picture] = []
    accuracy: float | msgspec.UnsetType = msgspec.UNSET  # 0..1 of the pictures read as what they show; else PSNR
    single_user_accuracy: float | msgspec.UnsetType | None = msgspec.UNSET  # the bound


class AirTruth(msgspec.Struct, kw_only=True):
    """What the emulated air did, and what the receiver made of it. Lists hold one value a user, as ``users`` does."""

    snr_db: float | None  # Es/N0 per occupied resource element, user and antenna, E|h|^2 = 1
    common_cfo_hz: float | None = None
    common_cfo_hz_estimated: float | None = None  # median over detected frames
    user_cfo_hz: list[float] = []
    user_delay_samples: list[float] = []


class Counted(msgspec.Struct, kw_only=True):
    """Something that befell samples, frames or files of one node: how many, and when."""

    node: str
    what: str  # overflow, clipped, zeroed, cut off, refused, ...
    count: int
    unit: str  # samples, frames, headers, files, messages
    times_s: list[float] = []  # of the stream, where each of the first few began; empty where no time is known


class Metrics(msgspec.Struct, kw_only=True):
    """What the run found out; the same for the same seed, byte by byte, where radios are in lock step."""

    users: list[User] = []
    air: AirTruth | None = None  # None over real radios
    counted: list[Counted] = []  # nothing of what is not 0
    warnings: list[str] = []


class Stage(msgspec.Struct, kw_only=True):
    """Wall time of one stage of processing, over its ``count`` calls."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    total_s: float


class Timing(msgspec.Struct, kw_only=True):
    """Time: on the air (samples / sample rate) and on the wall. Stages stand in the order of processing."""

    air_time_s: float | None = None
    wall_time_s: float | None = None
    stages: dict[str, Stage] = {}


class Recorded(msgspec.Struct, kw_only=True, frozen=True):
    """What was recorded of the samples that the server received."""

    file: str = ""  # in its folder; empty where nothing was kept
    antennas: int = 0
    samples: int = 0  # of each antenna, in the file
    stream_samples: int = 0  # with those that the radio lost, which are not in the file
    segments: int = 0
    unrecorded: int = 0  # samples that came and could not be written
    reason: str = ""  # why it ended before the stream did


class Result(msgspec.Struct, kw_only=True):
    """result.json."""

    scenario: str  # its name; the whole of it as resolved is scenario.toml beside
    seed: int
    complete: bool
    reason: str = ""  # why it is not complete
    versions: dict[str, str] = {}  # python, numpy, scipy, numba, onnxruntime, semcom-testbed
    git_commit: str = ""  # empty outside a checkout; "-dirty" behind it where files differ
    command: str = ""  # remakes the run
    providers: dict[str, str] = {}  # what executed each node's codec: cpu, cuda or tensorrt
    calibrations: dict[str, list[str]] = {}  # records by which each node's radio was corrected; nothing of none
    adjusted: dict[str, list[str]] = {}  # what each node's radio has otherwise than it was asked for; nothing of none
    machine: str = ""  # processor, cores in use, system
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    timing: Timing = msgspec.field(default_factory=Timing)
    recording: Recorded | None = None  # its file relative to the run folder
    replay_of: str = ""  # the recording that was received again
    format: int = FORMAT


def result_bytes(result: Result) -> bytes:
    """Indented JSON, checked: what this returns, ``read_result`` reads.

    Raises
    ------
    DataError
        If a value has the wrong type or is not finite; names its place.
    """
    plain = msgspec.to_builtins(result, enc_hook=_scalar)
    where = _not_finite(plain, "")
    if where:
        raise DataError(f"result.json: {where} is not finite; write None where a number is not defined")
    try:
        msgspec.convert(plain, Result)
    except msgspec.ValidationError as error:
        raise DataError(f"result.json: {error}") from error
    return msgspec.json.format(encode(plain), indent=2) + b"\n"


def metrics_bytes(result: Result) -> bytes:
    """``metrics`` alone: equal bytes mean equal results."""
    return encode(msgspec.to_builtins(result.metrics, enc_hook=_scalar))


def write_result(folder: RunFolder, result: Result) -> None:
    """Write result.json, whole or not at all."""
    folder.write_bytes(RESULT, result_bytes(result))


def read_result(folder: RunFolder) -> Result:
    """Read result.json; fields that a later version added are passed over.

    Raises
    ------
    DataError
        If it is missing or not a result.
    """
    try:
        return msgspec.json.decode(folder.read_bytes(RESULT), type=Result)
    except msgspec.DecodeError as error:
        raise DataError(f"{folder.path / RESULT}: not the result of a run: {error}") from error


def mean_psnr_db(users: list[User], field: str = "psnr_db") -> float | None:
    """PSNR of the mean MSE over all pictures of all users; None if a user has none."""
    values = [(getattr(u, field), u.images) for u in users]
    if not values or any(v is None for v, _ in values) or sum(n for _, n in values) == 0:
        return None
    mean_mse = sum(n * 10 ** (-v / 10) for v, n in values) / sum(n for _, n in values)
    return -10 * math.log10(mean_mse)


def _scalar(value: Any) -> Any:
    """NumPy scalars as Python numbers (float64 is one already)."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in result.json")


def _not_finite(value: Any, where: str) -> str:
    """Dotted place of the first number that is not finite, or an empty string."""
    if isinstance(value, float) and not math.isfinite(value):
        return where
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, item in items if (found := _not_finite(item, f"{where}.{key}".lstrip(".")))), "")
