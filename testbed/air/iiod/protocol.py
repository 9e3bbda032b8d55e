"""The IIOD protocol of libiio 0.x, ASCII: one line in, one request out; and the forms of replies. No sockets."""

from __future__ import annotations

import errno
import re

import msgspec

MAX_LINE = 1024  # bytes, as libiio's own buffers have it
MAX_PAYLOAD = 65_536  # bytes of an attribute; the longest is a FIR of 128 taps, under 3 kB
MAX_SAMPLES = 1 << 24  # in one buffer
MAX_BUFFERS = 64  # blocks of a buffer
MAX_TIMEOUT_MS = 3_600_000
VERSION = "0.25.v0.25  "  # the client wants a tag of 7 characters or more

KINDS = {"DEBUG": "debug", "BUFFER": "buffer"}
DIRECTIONS = {"INPUT": False, "OUTPUT": True}


class Refused(Exception):
    """A request that gets ``-errno`` for an answer."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.number = number


class Request(msgspec.Struct, frozen=True):
    """One line of a client."""

    command: str
    device: str = ""
    kind: str = "device"  # of the attribute: device, debug, buffer or channel
    channel: str = ""
    output: bool = False
    attribute: str = ""
    number: int = 0  # bytes, samples, milliseconds or blocks, as the command has it
    mask: int = 0  # of an OPEN: bit i is the device's i-th channel in the order of the XML
    mask_digits: int = 0
    cyclic: bool = False


def parse(line: bytes) -> Request | None:
    """The request in one line, with or without its line end; None if the line is empty.

    Raises
    ------
    Refused
        EINVAL if it is no request of this protocol.
    """
    try:
        words = line.decode("ascii").split()
    except UnicodeDecodeError:
        raise Refused(errno.EINVAL) from None
    if not words:
        return None
    command, words = words[0].upper(), words[1:]
    if command in ("VERSION", "PRINT", "EXIT", "HELP") and not words:
        return Request(command)
    if command == "TIMEOUT" and len(words) == 1:
        return Request(command, number=number(words[0], MAX_TIMEOUT_MS))
    if command in ("CLOSE", "GETTRIG") and len(words) == 1:
        return Request(command, device=words[0])
    if command == "SETTRIG" and len(words) in (1, 2):
        return Request(command, device=words[0])
    if command == "SET" and len(words) == 3 and words[1].upper() == "BUFFERS_COUNT":
        return Request(command, device=words[0], number=number(words[2], MAX_BUFFERS, low=1))
    if command in ("READBUF", "WRITEBUF") and len(words) == 2:
        # Samples of at most 8 columns of 2 bytes: no more than an OPEN can ask for.
        return Request(command, device=words[0], number=number(words[1], 16 * MAX_SAMPLES, low=1))
    if command == "OPEN":
        return opening(words)
    if command in ("READ", "WRITE"):
        return attribute(command, words)
    raise Refused(errno.EINVAL)  # ZPRINT and BINARY end here too: the client falls back to PRINT and ASCII


def opening(words: list[str]) -> Request:
    """OPEN device samples mask [CYCLIC]."""
    cyclic = len(words) == 4 and words[3].upper() == "CYCLIC"
    if len(words) != 3 + cyclic or not re.fullmatch(r"(?:[0-9a-fA-F]{8}){1,4}", words[2]):
        raise Refused(errno.EINVAL)
    return Request(
        "OPEN",
        device=words[0],
        number=number(words[1], MAX_SAMPLES, low=1),
        mask=int(words[2], 16),
        mask_digits=len(words[2]),
        cyclic=cyclic,
    )


def attribute(command: str, words: list[str]) -> Request:
    """READ and WRITE: device, then where the attribute belongs, its name, and a length if it is written."""
    length = 0
    if command == "WRITE":
        if not words:
            raise Refused(errno.EINVAL)
        length = number(words.pop(), 1 << 30)
    if len(words) == 2:
        return Request(command, device=words[0], attribute=words[1], number=length)
    if len(words) == 3 and words[1].upper() in KINDS:
        return Request(command, device=words[0], kind=KINDS[words[1].upper()], attribute=words[2], number=length)
    if len(words) == 4 and words[1].upper() in DIRECTIONS:
        output = DIRECTIONS[words[1].upper()]
        return Request(command, words[0], "channel", words[2], output, words[3], length)
    raise Refused(errno.EINVAL)


def number(text: str, high: int, low: int = 0) -> int:
    """A decimal number in range. int() alone would take signs, underscores and as many digits as there are."""
    if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
        raise Refused(errno.EINVAL)
    return int(text)


def code(value: int) -> bytes:
    """A return code."""
    return b"%d\n" % value


def counted(text: str) -> bytes:
    """An attribute's value, whose length counts a trailing NUL."""
    data = text.encode("ascii", "replace") + b"\0"
    return code(len(data)) + data + b"\n"


def document(text: str) -> bytes:
    """The XML of the context."""
    data = text.encode("ascii", "xmlcharrefreplace")
    return code(len(data)) + data + b"\n"


def mask_line(mask: int, digits: int) -> bytes:
    """The mask that goes before the first chunk of samples."""
    return f"{mask:0{digits}x}\n".encode()
