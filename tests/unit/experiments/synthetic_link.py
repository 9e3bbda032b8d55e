"""Frames and pictures as if received, made by hand with errors that are known exactly. No air, no receiver."""

from __future__ import annotations

import msgspec
import numpy as np

from server.received import ReceivedFrame, UserFrame
from testbed.codec.base import Codec
from testbed.data.pictures import Picture
from testbed.experiments.sent import Sent
from testbed.phy.header import Header
from testbed.phy.interleave import interleave
from testbed.phy.ofdm import tx_amplitude
from testbed.phy.waveform import Waveform

WAVEFORM = Waveform()
SIZE = WAVEFORM.data_elements
FRAME_STEP = WAVEFORM.frame_samples + WAVEFORM.gap_samples
CHANNEL_GAIN = 2.0  # of every element, antenna and user
PADDING = 9.0 - 9.0j  # what stands behind a picture's last symbol: whoever counts it is found out
PADDING_NO = 77.0


class Errors(msgspec.Struct):
    """What a part's symbols suffered, relative to their own power, and what its detector said of it."""

    made: float  # |error|^2 / |symbol|^2, a quarter turn away from the symbol
    reported: float  # no_eff of unit-power symbols
    count: int = 0  # symbols of the picture in it
    power: float = 0.0  # their mean


def header_of(codec: Codec, user: int, picture: int, part: int, pixels: np.ndarray, scale: float) -> Header:
    """The header of one part."""
    height, width = pixels.shape[:2]
    return Header(
        user=user,
        frame=part,
        picture=picture,
        part=part,
        codec=codec.identity.number,
        codec_hash=codec.identity.digest,
        height=height,
        width=width,
        k=codec.symbol_count(height, width),
        scale=scale,
    )


def part_of(
    codec: Codec, user: int, picture: int, part: int, pixels: np.ndarray, errors: Errors, scale: float = 1.0
) -> UserFrame:
    """One part of a picture with these errors; fills in their count and power. Symbols are on the air's scale."""
    sent = interleave(codec.encode(pixels))[part * SIZE : (part + 1) * SIZE]
    errors.count, errors.power = len(sent), float(np.mean(np.abs(sent) ** 2))
    symbols, no_eff = np.full(SIZE, PADDING, np.complex64), np.full(SIZE, PADDING_NO, np.float32)
    symbols[: len(sent)] = sent * (1 + 1j * np.sqrt(errors.made)) / scale
    no_eff[: len(sent)] = errors.reported / scale**2
    return UserFrame(user, header_of(codec, user, picture, part, pixels, scale), symbols, no_eff, 0.0, 0.0)


def silent(user: int) -> UserFrame:
    """A user whose header failed its CRC; its symbols are far off."""
    return UserFrame(user, None, np.full(SIZE, PADDING, np.complex64), np.full(SIZE, PADDING_NO, np.float32), 0.0, 0.0)


def frame_of(number: int, cfo_hz: float, *users: UserFrame) -> ReceivedFrame:
    """The ``number``-th frame, heard by two antennas."""
    shape = (len(WAVEFORM.pilot_symbols), WAVEFORM.occupied_subcarriers, 2, 2)
    channel = np.full(shape, CHANNEL_GAIN * tx_amplitude(WAVEFORM) * 1j, np.complex64)
    return ReceivedFrame(1000 + number * FRAME_STEP, 0.0, cfo_hz, 1.0, 1e-3, list(users), channel, {})


def moved(pixels: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Every pixel off by ``steps``, up or down by chance: an MSE of exactly steps^2."""
    return (pixels + steps * rng.choice([-1, 1], pixels.shape)).astype(np.uint8)


def true_error(parts: list[Errors]) -> float:
    r"""Mean of :math:`|\hat x/(1+N) - x|^2 = |x|^2 (v + N^2)/(1+N)^2` for :math:`\hat x = x + j\sqrt{v}\,x`."""
    errors = [p.power * (p.made + p.reported**2) / (1 + p.reported) ** 2 for p in parts]
    return float(np.average(errors, weights=[p.count for p in parts]))


def reported_error(parts: list[Errors]) -> float:
    """Mean of N/(1+N): what the detector believes the error of its MMSE estimates to be."""
    return float(np.average([p.reported / (1 + p.reported) for p in parts], weights=[p.count for p in parts]))


def as_sinr_db(error: float) -> float:
    """1/MSE - 1."""
    return float(10 * np.log10((1 - error) / error))


def as_psnr_db(mse: float) -> float:
    """Of a mean squared error in steps of 255."""
    return float(20 * np.log10(255) - 10 * np.log10(mse))


def flat(value: object, where: str = "") -> dict[str, object]:
    """Every number and word of a nested value by its place, so that two of them are compared whole."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {place: leaf for key, item in items for place, leaf in flat(item, f"{where}.{key}".lstrip(".")).items()}
    return {where: value}


def encode_sent(node: str, user: int, pictures: list[Picture], codecs: list[Codec]) -> Sent:
    """What an edge sends for these pictures, each with its codec."""
    symbols = [interleave(codec.encode(p.pixels)) for p, codec in zip(pictures, codecs, strict=True)]
    return Sent(node, user, pictures, symbols, codecs)
