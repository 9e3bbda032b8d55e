"""A real browser opens report.html from a file, with the network off: all loads, nothing is fetched."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver

from testbed.cli import probes
from testbed.report.make import make_report
from tests.unit.report.synthetic_federated import make_federated
from tests.unit.report.synthetic_run import make_run

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(180)]  # a browser's start on a busy core

PHONE = 390, 844  # CSS pixels of a common phone
DESK = 1280, 2400

# Before anything of the page runs: what its own policy refuses is written down. The page stays as it was shipped.
WATCH = """
window.refused = [];
document.addEventListener("securitypolicyviolation", e => window.refused.push(e.blockedURI));
"""

# `decode` fails for a picture that a browser cannot show, whatever its size says; the last argument returns the answer.
PROBE = """
const done = arguments[arguments.length - 1];
const images = [...document.images];
Promise.all(images.map(i => i.decode().then(() => i.naturalWidth, () => 0))).then(decoded => done({
  images: images.length, broken: decoded.filter(w => !w).length,
  flat: images.filter(i => i.clientWidth < 40 || i.clientHeight < 20).length,
  svg: [...document.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().height > 100).length,
  fetched: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
  refused: window.refused,
  unresolved: [...document.querySelectorAll("use")].filter(
    u => !document.getElementById((u.getAttribute("href") || u.getAttribute("xlink:href")).slice(1))).length,
  width: document.documentElement.scrollWidth,
  heading: document.querySelector("h1").innerText,
}));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with no way out."""
    chromium, driver = probes.browser()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    for flag in ("background-networking", "component-update", "sync", "dev-shm-usage"):
        options.add_argument(f"--disable-{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.add_argument("--proxy-server=http://127.0.0.1:9")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):  # the driver is on this machine, whatever proxy the environment names
            patch.setenv(name, "localhost,127.0.0.1")
        with webdriver.Chrome(options, webdriver.ChromeService(driver)) as opened:
            opened.set_page_load_timeout(120)
            opened.set_script_timeout(120)
            opened.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
            yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a synthetic run."""
    return make_report(make_run(tmp_path_factory.mktemp("runs"), scale=2).path)


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a synthetic federated run."""
    return make_report(make_federated(tmp_path_factory.mktemp("federated")).path)


def opened(browser: webdriver.Chrome, page: Path, size: tuple[int, int], mobile: bool = False) -> None:
    """Load a page on a screen of so many CSS pixels."""
    screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(page.as_uri())


@pytest.mark.parametrize(("size", "mobile"), [(DESK, False), (PHONE, True)], ids=["desk", "phone"])
def test_every_picture_loads_and_nothing_is_fetched(browser, report: Path, size: tuple[int, int], mobile: bool):
    """Wide and on a phone: 12 pictures decoded, 7 figures drawn, no request, no refusal, no wider than the screen."""
    opened(browser, report, size, mobile)
    seen = browser.execute_async_script(PROBE)
    assert "dB" in seen.pop("heading")
    assert seen == {
        "images": 12,
        "broken": 0,
        "flat": 0,
        "svg": 7,
        "fetched": [],
        "refused": [],
        "unresolved": 0,
        "width": size[0],
    }


@pytest.mark.parametrize(("size", "mobile"), [(DESK, False), (PHONE, True)], ids=["desk", "phone"])
def test_federated_page_is_whole_too(browser, federated: Path, size: tuple[int, int], mobile: bool):
    """Wide and on a phone: 20 digits decoded and large enough, 3 figures, no request, no wider than the screen."""
    opened(browser, federated, size, mobile)
    seen = browser.execute_async_script(PROBE)
    assert "92.3" in seen.pop("heading")
    wanted = {"images": 20, "broken": 0, "flat": 0, "svg": 3, "fetched": [], "refused": [], "unresolved": 0}
    assert seen == wanted | {"width": size[0]}


def test_federated_page_follows_the_night(browser, federated: Path):
    """Where the reader's system is dark, so are the page and the figures' paper; their text is light."""
    for scheme, dark in (("light", False), ("dark", True)):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        opened(browser, federated, DESK)
        page, ink = browser.execute_script(
            "const ink = document.querySelector('svg [style*=\"fill: var(--ink\"]');"
            "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(ink).fill]"
        )
        levels = [np.mean([int(v) for v in re.findall(r"\d+", colour)[:3]]) for colour in (page, ink)]
        assert (levels[0] < 64, levels[1] > 192) == (dark, dark)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_probe_sees_a_broken_picture_and_a_fetch(browser, report: Path, tmp_path: Path):
    """The check itself: one picture cut short, one address outside, one reference to nothing, all noticed."""
    cut = re.sub(r'(data:image/png;base64,.{40})[^"]*', r"\1", report.read_text(encoding="utf-8"), count=1)
    cut = cut.replace("</main>", '<img src="http://example.invalid/x.png"><svg><use href="#nowhere"/></svg></main>')
    page = tmp_path / "cut.html"
    page.write_text(cut, encoding="utf-8")
    opened(browser, page, DESK)
    seen = browser.execute_async_script(PROBE)
    assert seen["images"] == 13
    assert seen["broken"] == 2
    assert seen["unresolved"] == 1
    assert seen["refused"] == ["http://example.invalid/x.png"]


def test_page_as_shipped_shows_photographs(browser, report: Path):
    """The upper part of the screen holds photographs, so thousands of colours."""
    opened(browser, report, (1280, 1600))
    browser.execute_async_script(PROBE)  # until every picture is decoded
    pixels = np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB"))
    assert pixels.shape == (1600, 1280, 3)
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(colours) > 20_000
    background = (pixels == pixels[0, 0]).all(axis=2).mean()
    assert 0.05 < background < 0.8
