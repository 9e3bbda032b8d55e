"""What one edge needs on its board, in one archive: wheel, codec, configuration, pictures. No torch, no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import msgspec
from PIL import Image

from testbed.codec.card import find_card, read_card
from testbed.codec.registry import open_pair
from testbed.config import EdgeConfig, dump
from testbed.control.messages import VERSION
from testbed.data.pictures import carried, load_pictures, picture_files
from testbed.deploy.boards import BOARD_PROGRAM, board_program
from testbed.errors import BoardError
from testbed.firmware.data import CHECKOUT, data_folder

DISTRIBUTION = "semcom-testbed"
UNIT = "semtb-edge.service"
# What an edge imports; the rest of the distribution's dependencies serve the server, reports and training.
EDGE_NEEDS = ("msgspec", "numba", "numpy", "onnx", "onnxruntime", "pillow", "pyzmq", "rich", "scipy", "tomli", "typer")
RADIO_EXTRAS = {"pluto": "pluto"}  # scheme of a radio's URI: extra of the distribution


def edge_requirements(declared: Iterable[str], radio: str = "") -> list[str]:
    """Of a distribution's requirements those that an edge with this radio needs, markers of extras taken off."""
    extra = RADIO_EXTRAS.get(radio.partition(":")[0], "")
    chosen = []
    for requirement in declared:
        name = re.match(r"[\w.-]+", requirement)
        of_extra = re.search(r"""extra\s*==\s*["']([^"']+)["']""", requirement)
        if of_extra is None and name and name.group().lower().replace("_", "-") in EDGE_NEEDS:
            chosen.append(requirement.strip())
        elif of_extra is not None and of_extra[1] == extra:
            chosen.append(requirement.partition(";")[0].strip())
    return chosen


def checkout() -> Path | None:
    """The source tree that this package runs from, or None where it is installed."""
    project = CHECKOUT / "pyproject.toml"
    return CHECKOUT if project.is_file() and f'name = "{DISTRIBUTION}"' in project.read_text(encoding="utf-8") else None


def make_wheel(folder: Path) -> Path:
    """This package as a wheel: built from the checkout, or put together again from the installed files.

    Raises
    ------
    BoardError
        If neither works.
    """
    source = checkout()
    if source is None:
        return wheel_of_installed(folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("semcom_testbed-*.whl"))
    if done.returncode or not found:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no wheel came out"]
        by_hand = f"{sys.executable} -m pip wheel {source}"
        raise BoardError(f"{source}: pip wheel failed: {words[-1]}. Try it by hand: {by_hand}")
    return found[0]


def wheel_of_installed(folder: Path) -> Path:
    """A wheel of the same files that this installation consists of."""
    installed = metadata.distribution(DISTRIBUTION)
    left_out = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")
    path = folder / f"semcom_testbed-{installed.version}-py3-none-any.whl"
    records, record = [], ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for file in installed.files or []:
            name = file.as_posix()
            info = name.split("/")[0].endswith(".dist-info")
            record = f"{name.split('/')[0]}/RECORD" if info else record
            if name.startswith("..") or "__pycache__" in name or (info and file.name in left_out):
                continue
            content = Path(str(installed.locate_file(file))).read_bytes()
            wheel.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            records.append(f"{name},sha256={digest},{len(content)}\n")
        if not record:
            raise BoardError(f"{DISTRIBUTION} is neither installed nor a checkout here: install it again")
        wheel.writestr(record, "".join(records) + f"{record},,\n")
    return path


def unit_text(name: str, root: str) -> str:
    """The systemd user unit of an edge that is deployed at ``root``."""
    text = (data_folder() / "systemd" / UNIT).read_text(encoding="utf-8")
    escaped = root.replace("%", "%%")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    filled = "".join(lines).replace("@CURRENT@", f"{escaped}/current").replace("@LOG@", f"{escaped}/edge.log")
    return filled.replace("@NAME@", name)


def lay_pictures(folder: Path, config: EdgeConfig) -> EdgeConfig:
    """Put this edge's share of the pictures into ``folder`` as they are; returns the configuration that fits.

    Raises
    ------
    DataError
        If there are none.
    """
    load_pictures(config.edge.images, config.share, config.max_pixels)  # says what is wrong with them
    folder.mkdir(parents=True)
    index, of = config.share
    if config.edge.images:
        for file in picture_files(config.edge.images)[index::of]:
            shutil.copyfile(file, folder / file.name)
    else:  # scikit-learn, which carries them, is not installed on a board
        for picture in carried()[index::of]:
            Image.fromarray(picture.pixels).save(folder / f"{picture.name}.png")
    return msgspec.structs.replace(config, share=(0, 1))


def lay_codec(folder: Path, name: str) -> dict[str, str]:
    """Put a codec's card and both of its files into ``folder``; the card's hash is over both. Returns what it is."""
    path = find_card(name)
    card, encoder, decoder = read_card(path)
    open_pair(card, encoder, decoder)  # says what is wrong with it before it travels
    folder.mkdir(parents=True)
    (folder / path.name).write_bytes(path.read_bytes())
    (folder / Path(card.encoder).name).write_bytes(encoder)
    (folder / Path(card.decoder).name).write_bytes(decoder)
    return {"name": card.name, "sha256": card.sha256, "card": path.name}


def lay_release(folder: Path, config: EdgeConfig, root: str, release: str, board_images: str) -> dict[str, object]:
    """Everything of a release but the wheels, in ``folder``; returns its manifest.

    Parameters
    ----------
    config : EdgeConfig
        As this machine resolves it.
    root : str
        The edge's folder on the board, absolute.
    board_images : str
        A folder of pictures on the board; empty: this machine's pictures travel along.
    """
    there = f"{root}/releases/{release}"
    codec = lay_codec(folder / "codec", config.codec)
    if board_images:
        board_config, images = msgspec.structs.replace(config, share=(0, 1)), board_images
    else:
        board_config, images = lay_pictures(folder / "pictures", config), f"{there}/pictures"
    edge = msgspec.structs.replace(board_config.edge, images=images)
    board_config = msgspec.structs.replace(board_config, edge=edge, codec=f"{there}/codec/{codec['card']}")
    (folder / "edge.toml").write_bytes(dump(board_config))
    (folder / UNIT).write_text(unit_text(edge.name, root), encoding="utf-8")
    (folder / BOARD_PROGRAM).write_bytes(board_program())
    return {
        "name": edge.name,
        "release": release,
        "codec": codec,
        "board_images": board_images,
        "understands": understanding(),
    }


def understanding() -> str:
    """A name for what this release's edges can be told and say: the keys of their file, the bus's version."""
    schema = json.dumps([VERSION, msgspec.json.schema(EdgeConfig)], sort_keys=True)
    return hashlib.sha256(schema.encode()).hexdigest()[:16]


def archive(folder: Path) -> Path:
    """A tar file beside ``folder`` of all that is in it."""
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as files:
        for item in sorted(folder.iterdir()):
            files.add(item, item.name)
    return path


def carry_wheels(folder: Path, wheels: Sequence[Path]) -> None:
    """Put wheels where the board's installation looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        shutil.copyfile(wheel, folder / wheel.name)
