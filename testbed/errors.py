"""The error tree. Every message says what, the value, what is allowed, and what to do next, in one line."""

from __future__ import annotations

from testbed.text import printable


class SemtbError(Exception):
    """Anything the user can put right. The command line prints its message and exits with status 2."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ScenarioError(SemtbError):
    """A scenario or node configuration has an unknown key, a wrong type or a value out of range."""


class ShapeError(SemtbError, ValueError):
    """Arrays do not have the shapes that a function's docstring asks for."""


class RadioError(SemtbError):
    """A radio refused what was asked of it, or failed while running."""


class RadioNotFound(RadioError):
    """No radio answers at the URI, or no driver knows its scheme."""


class PeerUnreachable(SemtbError):
    """A peer did not answer at its address in time; the message names both."""


class PeerLost(SemtbError):
    """A peer that had answered went away or fell silent."""


class AddressInUse(SemtbError):
    """A port that this process was told to bind belongs to somebody else."""


class ProtocolError(SemtbError):
    """What arrived from a peer is not what the protocol says; the message names the peer."""


class BoardError(SemtbError):
    """A board cannot be reached, or does not take what is deployed to it; what it had stays as it was."""


class FirmwareError(SemtbError):
    """A profile is wrong, or a radio or board does not take it; the message says what is as it was."""


class CodecError(SemtbError):
    """A codec is missing, damaged, or not the one a frame was made with."""


class EstimatorError(SemtbError):
    """A trained estimator is missing, damaged, or not what its card says."""


class DataError(SemtbError):
    """A data set or picture is missing, damaged or of a kind that is not read here."""


class LedgerError(SemtbError):
    """A node's privacy ledger is damaged or cannot be written: nothing may be released then."""


class BudgetSpent(SemtbError):
    """A release was asked for that the node's privacy budget does not allow."""


class MissingExtra(SemtbError):
    """An optional part is not installed; the message names the extra and the command that installs it."""


class RunIncomplete(SemtbError):
    """A run ended before it was done; what had been received is kept and marked incomplete."""
