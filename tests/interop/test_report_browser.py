"""A real browser opens report.html from a file, with the network off: all loads, nothing is fetched."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from testbed.lab.report import make_report
from tests.unit.record.synthetic_run import make_run

pytestmark = pytest.mark.timeout(180)  # a browser's start on a busy core

PHONE_PIXELS = 390  # CSS pixels of a common phone

# Runs when all has loaded. `decode` fails for a picture that a browser cannot show, whatever its size says.
PROBE = """
<script>
const refused = [];
document.addEventListener("securitypolicyviolation", e => refused.push(e.blockedURI));
addEventListener("load", async () => {
  const images = [...document.images];
  const decoded = await Promise.all(images.map(i => i.decode().then(() => i.naturalWidth, () => 0)));
  const unresolved = [...document.querySelectorAll("use")].filter(
    u => !document.getElementById((u.getAttribute("href") || u.getAttribute("xlink:href")).slice(1)));
  const report = {
    images: images.length, broken: decoded.filter(w => !w).length,
    flat: images.filter(i => i.clientWidth < 40 || i.clientHeight < 20).length,
    svg: [...document.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().height > 100).length,
    fetched: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
    refused, unresolved: unresolved.length, width: document.body.scrollWidth,
    heading: document.querySelector("h1").innerText,
  };
  document.body.innerHTML = "<pre id=probe></pre>";
  document.getElementById("probe").innerText = JSON.stringify(report);
});
</script>
"""


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser's command."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "needs Chromium: make deps-system, or sudo apt-get install --no-install-recommends chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a synthetic run."""
    return make_report(make_run(tmp_path_factory.mktemp("runs"), scale=2).path)


def browse(chromium: str, page: Path, profile: Path, *options: str, size: str = "1280,2400") -> str:
    """Open a page headless with no way out; what it wrote on stdout."""
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
    command += ["--disable-dev-shm-usage", "--force-device-scale-factor=1", f"--user-data-dir={profile}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=http://127.0.0.1:9", f"--window-size={size}"]
    done = subprocess.run([*command, *options, page.as_uri()], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def probed(chromium: str, source: str, folder: Path, extra_css: str = "", size: str = "1280,2400") -> dict[str, object]:
    """What a browser says of a page. The copy differs by the probe, and by the policy that lets the probe run."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert policy in source
    copy = source.replace(policy, policy + "; script-src 'unsafe-inline'")
    copy = copy.replace("</head>", f"<style>{extra_css}</style>{PROBE}</head>")
    page = folder / "probed.html"
    page.write_text(copy, encoding="utf-8")
    dom = browse(chromium, page, folder / "profile", "--virtual-time-budget=20000", "--dump-dom", size=size)
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.S)
    assert found, dom[-500:]
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.parametrize(("css", "size"), [("", "1280,2400"), (f"html {{ width: {PHONE_PIXELS}px }}", "500,2400")])
def test_every_picture_loads_and_nothing_is_fetched(chromium: str, report: Path, tmp_path: Path, css: str, size: str):
    """Wide and on a phone: 12 pictures decoded, 7 figures drawn, no request, no refusal, no wider than the screen."""
    seen = probed(chromium, report.read_text(encoding="utf-8"), tmp_path, css, size)
    width = seen.pop("width")
    assert "dB" in str(seen.pop("heading"))
    assert seen == {
        "images": 12,
        "broken": 0,
        "flat": 0,
        "svg": 7,
        "fetched": [],
        "refused": [],
        "unresolved": 0,
    }
    assert width == (PHONE_PIXELS if css else 1280)


def test_probe_sees_a_broken_picture_and_a_fetch(chromium: str, report: Path, tmp_path: Path):
    """The check itself: one picture cut short, one address outside, one reference to nothing, all noticed."""
    source = report.read_text(encoding="utf-8")
    cut = re.sub(r'(data:image/png;base64,.{40})[^"]*', r"\1", source, count=1)
    cut = cut.replace("</main>", '<img src="http://example.invalid/x.png"><svg><use href="#nowhere"/></svg></main>')
    seen = probed(chromium, cut, tmp_path)
    assert seen["images"] == 13
    assert seen["broken"] == 2
    assert seen["unresolved"] == 1
    assert seen["refused"] == ["http://example.invalid/x.png"]


def test_page_as_shipped_shows_photographs(chromium: str, report: Path, tmp_path: Path):
    """The untouched file, from file://: the upper part of the screen holds photographs, so thousands of colours."""
    shot = tmp_path / "shot.png"
    browse(chromium, report, tmp_path / "profile", f"--screenshot={shot}", size="1280,1600")
    pixels = np.asarray(Image.open(io.BytesIO(shot.read_bytes())).convert("RGB"))
    assert pixels.shape == (1600, 1280, 3)
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(colours) > 20_000
    background = (pixels == pixels[0, 0]).all(axis=2).mean()
    assert 0.05 < background < 0.8
