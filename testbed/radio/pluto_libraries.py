"""The libraries that lead to a Pluto, pyadi-iio and libiio, or the command that installs what is missing."""

from __future__ import annotations

import importlib.util
from typing import Any

from testbed.errors import MissingExtra


def require_libraries() -> Any:
    """libiio's Python binding, where it works and pyadi-iio, which takes a second to import, is installed.

    Raises
    ------
    MissingExtra
        With the command that installs what is missing.
    """
    missing = [name for name in ("adi", "iio") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"Pluto radios need the extra `pluto` ({', '.join(missing)} is missing): "
            "pip install 'semcom-testbed[pluto]'"
        )
    try:
        import iio
    except (OSError, AttributeError, RuntimeError) as error:
        raise MissingExtra(
            f"Pluto radios need the C library libiio 0.x ({error}): sudo apt-get install libiio0"
        ) from None
    return iio


def libraries() -> tuple[Any, Any]:
    """pyadi-iio and libiio's Python binding; MissingExtra as `require_libraries` has it."""
    iio = require_libraries()
    import adi

    return adi, iio
