"""Text in files and messages: names that are not UTF-8 made printable, the byte-order mark left out."""

from __future__ import annotations

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8; editors on other systems put it in front


def printable(text: str) -> str:
    r"""Text that can be written as UTF-8: each byte of a file's name that is none, as ``\xe9``.

    Parameters
    ----------
    text : str
        As Python has names and arguments: such bytes are lone surrogates in it (PEP 383).

    Returns
    -------
    str
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def without_mark(data: bytes) -> bytes:
    """A file's content without the byte-order mark in front, if there is one."""
    return data.removeprefix(BYTE_ORDER_MARK)
