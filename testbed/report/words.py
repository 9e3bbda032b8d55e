"""What a report says in words and rows: the finding in one sentence, the numbers with their units."""

from __future__ import annotations

from testbed.air.links import in_words
from testbed.record.schema import User, mean_psnr_db
from testbed.report.loading import RunRecord

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NBSP = "\u00a0"
Row = tuple[str, str, list[str]]  # what, unit, a value for each column


def fixed(value: float | None, digits: int = 1) -> str:
    """A number with a proper minus and thin spaces between thousands; a dash where it is not defined."""
    if value is None:
        return "–"
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace(",", "\u202f").replace("-", "\u2212")


def count(number: int, thing: str) -> str:
    """``two pictures``."""
    word = NUMBERS[number] if number < len(NUMBERS) else str(number)
    return f"{word} {thing}{'' if number == 1 else 's'}"


def finding(record: RunRecord) -> str:
    """The outcome in one sentence, with its number and the bound."""
    users = record.users
    if not users:
        return "This run ended before anything was measured."
    images = sum(u.images for u in users)
    subcarriers = record.scenario.waveform.occupied_subcarriers if record.scenario else None
    where = f"the same {subcarriers} subcarriers" if subcarriers else "the same subcarriers"
    how = f" sent at the same time on {where}" if len(users) > 1 else " sent by one user"
    start = count(images, "picture").capitalize() + how
    if has_labels(users):
        return read_finding(start, users)
    quality, bound = mean_psnr_db(users), mean_psnr_db(users, "single_user_psnr_db")
    if quality is None:
        return f"{start}: their quality could not be measured."
    if not any(u.frames_detected for u in users):
        grey = f"all of it counts as mid-grey, {fixed(quality)}{NBSP}dB PSNR"
        return f"{start}: nothing arrived, no frame was found; {grey}."
    verb = "arrives" if images == 1 else "arrive"
    sentence = f"{start} {verb} with {fixed(quality)}{NBSP}dB PSNR"
    if bound is None:
        return sentence + "."
    gap = bound - quality
    if abs(gap) < 0.05:
        return f"{sentence}, as {'it' if images == 1 else 'each'} would alone over a known channel."
    who = "each user" if len(users) > 1 else "it"
    side = "below" if gap > 0 else "above"
    return f"{sentence}, {fixed(abs(gap))}{NBSP}dB {side} what {who} would reach alone over a known channel."


def has_labels(users: list[User]) -> bool:
    """Whether the run is of a task with labels: accuracy takes the place of PSNR."""
    return any(isinstance(u.accuracy, float) for u in users)


def mean_accuracy(users: list[User], field: str = "accuracy") -> float | None:
    """Share of all users' pictures that are read rightly; None if a user has no such figure."""
    shares = [(getattr(u, field), u.images) for u in users]
    if not all(isinstance(share, float) for share, _ in shares) or not sum(n for _, n in shares):
        return None
    return sum(share * n for share, n in shares) / sum(n for _, n in shares)


def read_finding(start: str, users: list[User]) -> str:
    """The outcome of a task with labels."""
    share, bound = mean_accuracy(users), mean_accuracy(users, "single_user_accuracy")
    sentence = f"{start}: {fixed(100 * share if share is not None else None)}{NBSP}% are read as what they show"
    if bound is None:
        return sentence + "."
    return f"{sentence}; each user alone over a known channel would reach {fixed(100 * bound)}{NBSP}%."


def setting(record: RunRecord) -> str:
    """Under which conditions: one line."""
    parts = []
    if s := record.scenario:
        emulated = not s.server.radio and not any(e.radio for e in s.edges)
        if emulated or (record.result is not None and record.result.metrics.air is not None):
            channels = [words.replace(" Hz", f"{NBSP}Hz").replace(" dB", f"{NBSP}dB") for words in in_words(s.air)]
            parts += [f"{fixed(s.air.snr_db, 0 if s.air.snr_db % 1 == 0 else 1)}{NBSP}dB SNR", *channels]
        parts += [count(s.server.antennas, "receive antenna"), f"{s.server.estimator.upper()} channel estimates"]
        parts += [f"{s.server.detector.upper()} detector", f"codec {s.codec.name}"]
    if record.result:
        parts.append(f"seed {record.result.seed}")
    return " · ".join(parts)


def tiles(record: RunRecord) -> list[tuple[str, str, str]]:
    """The few numbers that matter most: (number, unit, what it is)."""
    users = record.users
    found: list[tuple[str, str, str]] = []
    if (quality := mean_psnr_db(users)) is not None:
        bound = mean_psnr_db(users, "single_user_psnr_db")
        found.append((fixed(quality), "dB", "PSNR" + (f", bound {fixed(bound)} dB" if bound is not None else "")))
    if (share := mean_accuracy(users)) is not None:
        alone = mean_accuracy(users, "single_user_accuracy")
        words = f", bound {fixed(100 * alone)} %" if alone is not None else ""
        found.append((fixed(100 * share), "%", f"accuracy{words}"))
    structures = [u.ssim for u in users if u.ssim is not None]
    if structures and len(structures) == len(users):
        found.append((fixed(sum(structures) / len(structures), 3), "", "SSIM, mean over users"))
    if users:
        detected, sent = sum(u.frames_detected for u in users), sum(u.frames_sent for u in users)
        found.append((fixed(detected, 0), f"of {fixed(sent, 0)}", "frames read"))
    if record.result and record.result.timing.air_time_s is not None:
        wall = record.result.timing.wall_time_s
        found.append(
            (
                fixed(record.result.timing.air_time_s, 2),
                "s",
                "on the air" + (f"; the run took {fixed(wall)}{NBSP}s" if wall is not None else ""),
            )
        )
    return found


def recording(record: RunRecord) -> str:
    """What was recorded, or what was received again; empty where neither is so."""
    if record.result is None:
        return ""
    words = f"received again from {record.result.replay_of}" if record.result.replay_of else ""
    kept = record.result.recording
    if kept is None:
        return words
    if kept.file:
        parts = [count(kept.antennas, "antenna"), f"{kept.samples} samples each", count(kept.segments, "segment")]
        words = f"{kept.file} (SigMF): {', '.join(parts)}"
    if kept.unrecorded or kept.reason:
        words += (
            f"{'; ' if words else ''}{kept.unrecorded} samples are not in it: {kept.reason or 'the disk was too slow'}"
        )
    return words


def user_rows(record: RunRecord) -> list[Row]:
    """The table of metrics, one column a user."""
    users = record.users

    def row(what: str, unit: str, field: str, digits: int = 1) -> Row:
        return what, unit, [fixed(getattr(u, field), digits) for u in users]

    def share(what: str, field: str) -> Row:
        values = [getattr(u, field) for u in users]
        return what, "%", [fixed(100 * v if isinstance(v, float) else None) for v in values]

    if has_labels(users):
        quality = [share("Accuracy", "accuracy"), share("Accuracy, single-user bound", "single_user_accuracy")]
    else:
        quality = [
            row("PSNR of the mean MSE", "dB", "psnr_db"),
            row("PSNR, single-user bound", "dB", "single_user_psnr_db"),
            row("SSIM", "", "ssim", 3),
        ]
    rows = [
        *quality,
        row("Effective SINR, estimated", "dB", "sinr_db_estimated"),
        row("Effective SINR, true", "dB", "sinr_db_true"),
        row("Effective SINR, single-user bound", "dB", "single_user_sinr_db"),
        row("EVM", "%", "evm_percent"),
        ("Frames read of sent", "", [f"{fixed(u.frames_detected, 0)} of {fixed(u.frames_sent, 0)}" for u in users]),
        row("Pictures", "", "images", 0),
        row("Channel uses", "", "channel_uses", 0),
    ]
    ratios = [channel_ratio(u) for u in users]
    if any(r is not None for r in ratios):
        rows.append(("Channel uses per source value, k/n", "", [fixed(r, 4) for r in ratios]))
    return rows if users else []


def channel_ratio(user: User) -> float | None:
    """Complex channel uses for each of the H x W x 3 values of its pictures."""
    values = sum(3 * p.height * p.width for p in user.pictures)
    return user.channel_uses / values if values else None


def counted_rows(record: RunRecord) -> list[tuple[str, str, str, str]]:
    """What was lost, clipped, cut off or refused: (node, what, how many, when)."""
    found = record.result.metrics.counted if record.result else []
    rows = []
    for one in found:
        times = ", ".join(fixed(time_s, 3) for time_s in one.times_s)
        rows.append((one.node, one.what, f"{fixed(one.count, 0)} {one.unit}", f"{times}{NBSP}s" if times else "–"))
    return rows


def air_rows(record: RunRecord) -> list[tuple[str, str, str, str]]:
    """What the air did: (what, unit, true, estimated)."""
    air = record.result.metrics.air if record.result else None
    if air is None:
        return []
    rows = [("SNR, Es/N0 per occupied element, user and antenna", "dB", fixed(air.snr_db), "")]
    estimated = fixed(air.common_cfo_hz_estimated) if air.common_cfo_hz_estimated is not None else ""
    rows.append(("Carrier offset of the server", "Hz", fixed(air.common_cfo_hz), estimated))
    for user, hertz in zip(record.users, air.user_cfo_hz, strict=False):
        rows.append((f"Carrier offset of {user.node}", "Hz", fixed(hertz), ""))
    for user, delay in zip(record.users, air.user_delay_samples, strict=False):
        rows.append((f"Delay of {user.node}", "samples", fixed(delay, 2), ""))
    return rows
