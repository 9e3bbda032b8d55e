"""What a command of ours needs beyond what every installation has, looked for before it begins."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from testbed.errors import MissingExtra

TRAINING = ("torch",)
PRIVATE_TRAINING = (*TRAINING, "dp_accounting")
EXTRAS = dict.fromkeys(PRIVATE_TRAINING, "train") | {"adi": "pluto", "iio": "pluto"}  # that a module belongs to


def require_extra(what: str, modules: Sequence[str]) -> None:
    """Raise MissingExtra, with the command that installs the extra, if one of its modules is not there."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise missing_extra(what, missing)


def missing_extra(what: str, modules: Sequence[str]) -> MissingExtra:
    """The error for modules of extras that are not installed."""
    extras = ",".join(sorted({EXTRAS[name] for name in modules}))
    return MissingExtra(
        f"{what} needs {', '.join(modules)}: pip install 'semcom-testbed[{extras}]' "
        "(in a checkout: make test installs it)"
    )
