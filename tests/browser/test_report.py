from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from polydistill.report.page import write_report
from tests.report.example_run import example_params, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run"]
FRAME = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><pre id="said"></pre>
<iframe src="index.html" style="width:{width}px;height:800px;border:0"></iframe>
<script>
const said = [];
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument;
  const root = page.documentElement;
  said.push("overflow " + (root.scrollWidth - root.clientWidth));
  const loaded = frame.contentWindow.performance.getEntriesByType("resource");
  said.push("requests " + loaded.length);
  said.push("figures " + [...page.querySelectorAll("svg")].filter(
    (svg) => svg.getBoundingClientRect().width > 100).length);
  document.getElementById("said").textContent = said.join("; ");
}});
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write_run(root)
    return write_report(root, example_params(), "text", speed=False)


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--enable-logging=stderr"),
            *flags,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )


@pytest.mark.parametrize("width", [360, pytest.param(1200, marks=pytest.mark.slow)])
def test_a_browser_draws_the_page_without_horizontal_scrolling(
    page: Path, tmp_path: Path, width: int
) -> None:
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(FRAME.format(width=width), encoding="utf-8")

    seen = browse(frame, tmp_path, "--allow-file-access-from-files", "--dump-dom")

    output = re.search(r'<pre id="said">(.*?)</pre>', seen.stdout)
    assert output is not None
    assert output.group(1) == f"overflow 0; requests 0; figures {page.read_text().count('<svg')}"
    assert "CONSOLE" not in seen.stderr


def test_a_browser_prints_the_page(page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "page.pdf"

    browse(page, tmp_path / "profile", f"--print-to-pdf={printed}")

    assert printed.read_bytes().startswith(b"%PDF")
