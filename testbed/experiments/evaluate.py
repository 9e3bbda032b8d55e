"""result.json of a run, made from what its folder holds. It serves complete runs and what is left of broken ones."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from server.decoder import PictureAssembler, write_decoded
from server.pipeline import ReceivedFrame
from server.recording import frame_from_arrays
from testbed.air.levels import level_warnings
from testbed.air.medium import Medium
from testbed.codec.base import Codec
from testbed.codec.registry import open_codec
from testbed.config import Change, Scenario, convert, load_scenario
from testbed.data.pictures import Picture
from testbed.errors import CodecError, DataError, SemtbError
from testbed.experiments.annotations import annotate_recording, arrivals_known
from testbed.experiments.counted import counted, counted_warnings
from testbed.experiments.measure import Measured, measure
from testbed.experiments.sent import Sent
from testbed.experiments.simulate import make_medium
from testbed.experiments.tasks import sources, truth
from testbed.phy.interleave import interleave
from testbed.record import provenance
from testbed.record.folder import (
    CODECS,
    FIGURE_DATA,
    FRAMES,
    IQ,
    RECORDING,
    SCENARIO,
    SUMMARY,
    RunFolder,
    bound_name,
    node_name,
    sent_folder,
    symbols_name,
)
from testbed.record.schema import Metrics, Recorded, Result, Stage, Timing, write_result

SPECTRUM_SAMPLES = 65_536
STAGES = ("encode", "modulate", "sync", "estimate", "detect", "header", "decode")  # in the order of processing
EVENTS_SHOWN = 5

log = logging.getLogger(__name__)


def evaluate(run_dir: Path, complete: bool, reason: str, wall_time_s: float | None) -> Result:
    """Measure a run and write ``result.json``, ``bound/*.png`` and ``figures/data.npz``.

    Parameters
    ----------
    run_dir : Path
        With ``scenario.toml``; whatever else is missing counts as not received.
    complete : bool
        Whether the run ended as planned. What it left is measured either way.
    reason : str
        Why it did not.
    wall_time_s : float, optional
        From the start of the processes to their end.
    """
    folder = RunFolder(run_dir)
    scenario = load_scenario(folder.file(SCENARIO))
    summary = folder.read_json(SUMMARY) if folder.has(SUMMARY) else {}
    nodes = summary.get("nodes", {})
    frames = [frame_from_arrays(folder.read_npz(name)) for name in folder.names(*FRAMES)]
    metrics = Metrics()
    recorded = recorded_by(folder, summary)
    if scenario.server.name in summary.get("external", ()):
        metrics.warnings = [f"{scenario.server.name} was another program: what it received is not known here"]
    elif (frames or complete) and summary.get("sent_known", True):
        codecs = codecs_of(folder, scenario)
        sent = [sent_by(folder, scenario, index, codecs, frames, nodes) for index in range(len(scenario.edges))]
        received = received_pictures(folder, scenario, sent, frames, codecs, summary)
        medium, words = carried_by(folder, scenario, summary, nodes)
        measured = measure(scenario, sent, frames, received, medium)
        measured.metrics.warnings[:0] = words + foreign_events(nodes.get(scenario.air.name, {}))
        keep_figures(folder, scenario, measured)
        metrics = measured.metrics
        if recorded is not None and recorded.file:
            known = medium if arrivals_known(scenario) else None
            try:
                annotate_recording(folder.path / RECORDING, recorded, scenario.waveform, frames, sent, known)
            except DataError as error:  # no figure depends on it
                log.warning("frames are not marked in the recording: %s", error)
    metrics.counted = counted(scenario, summary)
    metrics.warnings += counted_warnings(metrics.counted, summary, scenario.waveform.sample_rate_hz)
    result = Result(
        scenario=scenario.name,
        seed=scenario.seed,
        complete=complete,
        reason=reason,
        versions=provenance.versions(),
        git_commit=provenance.git_commit(),
        command=provenance.command(),
        machine=provenance.machine(),
        providers=providers(scenario, summary, nodes),
        calibrations=lists_of("calibrations", scenario, summary, nodes),
        adjusted=lists_of("adjusted", scenario, summary, nodes),
        metrics=metrics,
        timing=timing(scenario, summary, nodes, wall_time_s),
        recording=recorded,
        replay_of=str(summary.get("replay_of", "")),
    )
    write_result(folder, result)
    return result


def recorded_by(folder: RunFolder, summary: Mapping[str, object]) -> Recorded | None:
    """What the server recorded, by its own word; without a file where that was taken away since."""
    found = summary.get("recording")
    if found is None:
        return None
    recorded = msgspec.convert(found, Recorded)
    file = f"{RECORDING}/{recorded.file}"
    return msgspec.structs.replace(recorded, file=file if recorded.file and folder.has(file) else "")


def providers(
    scenario: Scenario, summary: Mapping[str, object], nodes: Mapping[str, Mapping[str, object]]
) -> dict[str, str]:
    """What executed each node's codec, by its own word."""
    summaries = {scenario.server.name: summary, **nodes}
    return {node: str(values["provider"]) for node, values in summaries.items() if "provider" in values}


def lists_of(
    key: str, scenario: Scenario, summary: Mapping[str, object], nodes: Mapping[str, Mapping[str, object]]
) -> dict[str, list[str]]:
    """What each node's radio says of itself under a key, of those that say something."""
    summaries = {scenario.server.name: summary, **nodes}
    named = {node: values.get(key) for node, values in summaries.items()}
    return {node: [str(name) for name in names] for node, names in named.items() if isinstance(names, list) and names}


def carried_by(
    folder: RunFolder,
    scenario: Scenario,
    summary: Mapping[str, object],
    nodes: Mapping[str, Mapping[str, object]],
) -> tuple[Medium | None, list[str]]:
    """The medium that carried a run, made anew, and what is to say of it; None if it is not known, so no bound is.

    Its air is the scenario's if it reported to the server, and the truth that it handed in is that of the medium.
    """
    name = scenario.air.name
    own = [edge.radio for edge in scenario.edges if edge.radio]
    expected, foreign = summary.get("expects"), "what lay between the radios is not known"
    if own and not folder.has(node_name(name)):
        return None, [f"no bound: {foreign}"] if all(radio.startswith("zmq:") for radio in own) else []
    if isinstance(expected, list) and name not in expected:
        return None, [f"no bound: the scenario's air took no part in this run, and {foreign}"]
    of_air = nodes.get(name, {})
    medium = make_medium(with_changes(scenario, of_air.get("changes")))
    if of_air.get("truth", truth := msgspec.to_builtins(medium.truth)) != truth:
        return None, [f"no bound: {name} was another than the scenario's, and {foreign}"]
    levels = of_air.get("levels_dbfs")
    found = levels.items() if isinstance(levels, dict) else ()
    by_user = {int(user): level for user, level in found if user.isdecimal() and isinstance(level, float)}
    return medium, level_warnings(by_user, scenario.waveform, scenario.air.snr_db, medium.users)


def with_changes(scenario: Scenario, changes: object) -> Scenario:
    """The scenario as it became: what was ordered while the air ran is in its schedule."""
    if not isinstance(changes, list) or not changes:
        return scenario
    schedule = [*scenario.air.schedule, *(convert(change, Change) for change in changes)]
    return msgspec.structs.replace(scenario, air=msgspec.structs.replace(scenario.air, schedule=schedule))


def foreign_events(summary: Mapping[str, object]) -> list[str]:
    """What the air counted of peers that sent wrongly or had no business there, the commonest first."""
    counted = summary.get("events")
    found = counted.items() if isinstance(counted, dict) else ()
    counts = Counter({str(event): count for event, count in found if isinstance(count, int)})
    lines = [f"{event}, {count} times" if count > 1 else event for event, count in counts.most_common(EVENTS_SHOWN)]
    more = len(counts) - len(lines)
    return [*lines, f"{more} more such lines in the air's log"] if more else lines


def sent_by(
    folder: RunFolder,
    scenario: Scenario,
    index: int,
    codecs: Sequence[Codec],
    frames: Sequence[ReceivedFrame],
    nodes: Mapping[str, Mapping[str, object]],
) -> Sent:
    """What an edge sent: the pictures that it handed in, else those that its configuration names."""
    edge = scenario.edges[index]
    files = folder.names(sent_folder(edge.name), "*.png")
    if files:
        reported = nodes.get(edge.name, {}).get("pictures")
        names = [str(n) for n in reported] if isinstance(reported, list) else []
        names += [Path(f).stem for f in files[len(names) :]]
        pictures = [Picture(name, folder.read_png(file)) for name, file in zip(names, files, strict=False)]
    else:
        try:
            pictures = sources(scenario, edge, codecs[0].sides)
        except SemtbError as error:
            log.warning("%s: what it sent is not known: %s", edge.name, error)
            pictures = []
    reported = nodes.get(edge.name, {}).get("codecs")
    labels = reported if isinstance(reported, list) else []
    used = codecs_used(codecs, edge.user, len(pictures), labels, frames)
    symbols = [symbols_sent(folder, edge.name, k, p, used[k]) for k, p in enumerate(pictures)]
    return Sent(edge.name, edge.user, pictures, symbols, used, truth(scenario, edge))


def symbols_sent(folder: RunFolder, node: str, index: int, picture: Picture, codec: Codec) -> np.ndarray:
    """[k] complex64: as the edge handed them in; where it ended before it could, what its codec gives here."""
    name = symbols_name(node, index)
    height, width = picture.pixels.shape[:2]
    if folder.has(name):
        symbols = folder.read_npy(name)
        fits = symbols.shape == (codec.symbol_count(height, width),) and symbols.dtype == np.complex64
        if not (fits and np.isfinite(symbols).all()):
            raise DataError(
                f"{folder.path / name}: {list(symbols.shape)} {symbols.dtype}; wanted: "
                f"{codec.symbol_count(height, width)} finite values of complex64, as {codec.identity.label} gives"
            )
        return symbols
    return interleave(codec.encode(picture.pixels))


def codecs_of(folder: RunFolder, scenario: Scenario) -> list[Codec]:
    """The codec that the run began with, then those that came into use while it went on."""
    names = [scenario.codec.name, *(str(folder.file(name)) for name in folder.names(CODECS, "*.json"))]
    return [open_codec(name) for name in names]


def codecs_used(
    codecs: Sequence[Codec], user: int, pictures: int, labels: Sequence[object], frames: Sequence[ReceivedFrame]
) -> list[Codec]:
    """The codec of each picture, by the edge's own word, else by the frames that arrived, else the first.

    Raises
    ------
    CodecError
        If one is not here.
    """
    by_label = {codec.identity.label: codec for codec in codecs}
    by_header = {(codec.identity.number, codec.identity.digest): codec for codec in codecs}
    used = [codecs[0]] * pictures
    for header in (part.header for frame in frames for part in frame.users if part.user == user):
        if header is not None and header.picture < pictures:
            used[header.picture] = by_header.get((header.codec, header.codec_hash), codecs[0])
    for index, label in enumerate(labels[:pictures]):
        if label not in by_label:
            raise CodecError(f"user {user} sent with {label}; the run folder holds {', '.join(by_label)}")
        used[index] = by_label[str(label)]
    return used


def received_pictures(
    folder: RunFolder,
    scenario: Scenario,
    sent: Sequence[Sent],
    frames: Sequence[ReceivedFrame],
    codecs: Sequence[Codec],
    summary: Mapping[str, object],
) -> dict[tuple[int, int], tuple[np.ndarray, float]]:
    """Pictures as the server decoded them; where it ended before it could, decoded from its frames here."""
    listed = summary.get("pictures", [])
    facts = {(p["user"], p["picture"]): p for p in listed} if isinstance(listed, list) else {}
    found: dict[tuple[int, int], tuple[np.ndarray, float]] = {}
    for one in sent:
        for index in range(len(one.pictures)):
            fact = facts.get((one.user, index))
            if fact is not None and folder.has(fact["file"]):
                found[one.user, index] = (read_decoded(folder, fact["file"]), float(fact["lost_share"]))
    if summary:
        return found
    assembler = PictureAssembler(codecs[0], scenario.max_pixels)
    for codec in codecs[1:]:
        assembler.install(codec)
    done = [picture for frame in frames for picture in assembler.add(frame)] + assembler.finish()
    names = {edge.user: edge.name for edge in scenario.edges}
    for picture in done:
        write_decoded(folder, names[picture.user], picture)
        found[picture.user, picture.picture] = (picture.decoded, picture.lost_share)
    return found


def read_decoded(folder: RunFolder, name: str) -> np.ndarray:
    """A decoded picture, or the logits of one."""
    if name.endswith(".json"):
        return np.asarray(folder.read_json(name)["logits"], np.float32)
    return folder.read_png(name)


def keep_figures(folder: RunFolder, scenario: Scenario, measured: Measured) -> None:
    """The bound's pictures, and the arrays that figures are drawn from."""
    names = {edge.user: edge.name for edge in scenario.edges}
    for (user, index), pixels in measured.bounds.items():
        if pixels.ndim == 3:
            folder.write_png(bound_name(names[user], index), pixels)
    arrays = dict(measured.arrays)
    if folder.has(IQ):
        excerpt = folder.read_npz(IQ)
        arrays["spectrum_iq"] = excerpt["samples"][:, :SPECTRUM_SAMPLES]
        arrays["sample_rate_hz"] = excerpt["sample_rate_hz"]
    folder.write_npz(FIGURE_DATA, **arrays)


def timing(
    scenario: Scenario,
    summary: Mapping[str, object],
    nodes: Mapping[str, Mapping[str, object]],
    wall_time_s: float | None,
) -> Timing:
    """Percentiles of every stage over all nodes that measured it."""
    spent: dict[str, list[float]] = {}
    for source in (*nodes.values(), summary):
        stages = source.get("stage_s", {})
        for stage, seconds in stages.items() if isinstance(stages, dict) else ():
            spent.setdefault(stage, []).extend(seconds)
    order = [s for s in STAGES if s in spent] + sorted(set(spent) - set(STAGES))
    samples = summary.get("samples")
    return Timing(
        air_time_s=samples / scenario.waveform.sample_rate_hz if isinstance(samples, int) else None,
        wall_time_s=wall_time_s,
        stages={stage: percentiles(spent[stage]) for stage in order if spent[stage]},
    )


def percentiles(seconds: Sequence[float]) -> Stage:
    """Latency of one stage."""
    p50, p95, p99 = (float(p) for p in np.percentile(seconds, [50, 95, 99]) * 1e3)
    return Stage(count=len(seconds), p50_ms=p50, p95_ms=p95, p99_ms=p99, total_s=float(np.sum(seconds)))
