"""The frame header: who sent what, in a fixed layout of bytes, and its way onto the grid and back."""

from __future__ import annotations

import struct
from functools import lru_cache

import msgspec
import numpy as np

from testbed.errors import ProtocolError, ShapeError
from testbed.phy import coding
from testbed.phy.modulation import qpsk, qpsk_llr
from testbed.phy.sequences import gold_bits
from testbed.phy.waveform import Waveform

VERSION = 1
LAYOUT = struct.Struct(">BBHHHHBIHHf")  # version, then the fields of Header in order
HEADER_BYTES = LAYOUT.size
SCRAMBLER_BASE = 0x4EAD00  # c_init of user 0; each user has its own, so that no header passes for another's
MAX_VALUES = {"user": 255, "frame": 65535, "picture": 65535, "part": 65535, "parts": 65535, "codec": 255} | {
    "codec_hash": 2**32 - 1,
    "height": 65535,
    "width": 65535,
}


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a receiver must know of a frame. Values out of range raise ProtocolError, ``scale`` is kept as float32."""

    user: int  # 0..255, the pilot slot of who sent it
    frame: int  # running number of this edge's frames, modulo 65536
    picture: int
    part: int  # 0..parts-1
    parts: int  # frames that this picture takes, at least 1
    codec: int  # number of the codec in the wire's table
    codec_hash: int  # first 32 bits of its digest
    height: int  # pixels, at least 1
    width: int
    scale: float  # received symbols times this are what the decoder expects

    def __post_init__(self) -> None:
        for name, top in MAX_VALUES.items():
            low = 1 if name in ("parts", "height", "width") else 0
            value = getattr(self, name)
            if not low <= value <= top:
                raise ProtocolError(f"header.{name} = {value}: allowed: {low}..{top}")
        if self.part >= self.parts:
            raise ProtocolError(f"header.part = {self.part}: allowed: 0..{self.parts - 1} (header.parts)")
        with np.errstate(over="ignore"):
            scale = float(np.float32(self.scale))
        if not (np.isfinite(scale) and scale > 0):
            raise ProtocolError(f"header.scale = {self.scale}: allowed: positive and finite in float32")
        msgspec.structs.force_setattr(self, "scale", scale)

    def to_bytes(self) -> bytes:
        """[HEADER_BYTES] big-endian, version first."""
        return LAYOUT.pack(VERSION, *(getattr(self, name) for name in self.__struct_fields__))

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """Undo `to_bytes`.

        Raises
        ------
        ProtocolError
            If the length, the version or a value is not one of ours; nothing else, whatever the bytes.
        """
        if len(data) != HEADER_BYTES:
            raise ProtocolError(f"header of {len(data)} bytes: version {VERSION} has {HEADER_BYTES}")
        version, *values = LAYOUT.unpack(data)
        if version != VERSION:
            raise ProtocolError(f"header.version = {version}: this receiver speaks {VERSION}")
        return cls(**dict(zip(cls.__struct_fields__, values, strict=True)))


def header_to_symbols(header: Header, waveform: Waveform) -> np.ndarray:
    """[header_symbols, occupied] complex64: coded, scrambled by the header's user, QPSK of unit power."""
    bits = coding.encode(header.to_bytes(), _coded_bits(waveform))
    return qpsk(bits ^ _scrambler(header.user, len(bits))).reshape(waveform.header_symbols, -1)


def header_from_symbols(x_hat: np.ndarray, no_eff: np.ndarray | float, waveform: Waveform, user: int) -> Header | None:
    """Decode the header of ``user``, or None if what arrived is not one.

    Parameters
    ----------
    x_hat : [header_symbols, occupied] complex64
        Unbiased estimates of unit-power symbols.
    no_eff : float or [header_symbols, occupied] float32
        Variance of their errors; infinite where lost.
    """
    x_hat = np.asarray(x_hat, np.complex64)
    shape = (waveform.header_symbols, waveform.occupied_subcarriers)
    if x_hat.shape != shape:
        raise ShapeError(f"header symbols {x_hat.shape}: must be {shape}")
    llr = qpsk_llr(x_hat.ravel(), np.broadcast_to(np.asarray(no_eff, np.float32), shape).ravel())
    llr *= _scrambler_signs(user, len(llr))
    payload = coding.decode(llr, HEADER_BYTES)
    if payload is None:
        return None
    try:
        header = Header.from_bytes(payload)
    except ProtocolError:
        return None
    return header if header.user == user else None


def _coded_bits(waveform: Waveform) -> int:
    return 2 * waveform.header_symbols * waveform.occupied_subcarriers


@lru_cache(maxsize=32)
def _scrambler(user: int, count: int) -> np.ndarray:
    return gold_bits(SCRAMBLER_BASE + user, count)


@lru_cache(maxsize=32)
def _scrambler_signs(user: int, count: int) -> np.ndarray:
    """[count] float32: -1 where the scrambler turns a bit."""
    return 1 - 2 * _scrambler(user, count).astype(np.float32)
