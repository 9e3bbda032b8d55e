"""Where the files of `firmware_configs/` are: beside the checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = "firmware_configs"
INSTALLED = Path(__file__).resolve().parent / FOLDER  # where the wheel puts it


def data_folder() -> Path:
    """The folder with `pluto/`, `jetson/`, `host/` and `systemd/`."""
    beside = CHECKOUT / FOLDER
    return beside if (CHECKOUT / "pyproject.toml").is_file() and beside.is_dir() else INSTALLED
