"""How a report's templates become one page, and pictures addresses in it. What a page says stands elsewhere."""

from __future__ import annotations

import base64
import io
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from testbed.report import drawing
from testbed.report.words import fixed


def page(template: str, **values: Any) -> str:
    """A page as one text, from a template beside `testbed.record`; a value that it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("testbed.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["fixed"] = fixed
    return environment.get_template(template).render(colours=drawing.USER_COLOURS, **values)


def png(pixels: np.ndarray) -> bytes:
    """[H, W] or [H, W, 3] uint8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def data_uri(data: bytes) -> str:
    """A PNG file as the address of an image."""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
