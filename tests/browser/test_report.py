"""The report in headless Chromium, driven through Playwright, and examined by axe-core."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from polydistill.data.weights import DOWNLOADS
from polydistill.errors import StageError
from polydistill.report.facts import collect
from polydistill.report.page import write_report
from recipes.downloads import Package, fetch
from tests.report.example_run import write_large_run, write_mapped_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
try:
    from playwright.sync_api import Browser, Page, sync_playwright
except ImportError:
    pytest.skip("Playwright is not installed: pip install playwright", allow_module_level=True)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"
)
AXE = Package(
    registry="npm",
    name="axe-core",
    version="4.10.3",
    file="axe-core-4.10.3.tgz",
    sha256="0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292",
    licence="MPL-2.0",
)
PICTURES = Path(__file__).parents[1] / ".screenshots"
TIMEOUT_MS = 120_000  # a machine of a test run may be busy
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with predictions and a map."""
    root = tmp_path_factory.mktemp("run")
    params = write_mapped_run(root)
    return write_report(root, collect(root, params, "text", speed=False))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    return write_report(root, collect(root, write_large_run(root), "text", speed=False))


class Visit:
    """A page that is open in a browser, and everything that it said and asked for."""

    def __init__(self, browser: Browser, path: Path, *, fragment: str = "", **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": DESKTOP} | options))
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri() + fragment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def keep(self, name: str) -> None:
        """Keep a screenshot of the whole page."""
        PICTURES.mkdir(exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def column(self, table: str, number: int) -> list[str]:
        """Return the texts of the visible cells of a column."""
        cells = self.page.locator(f"#{table} tbody tr:visible > :nth-child({number})")
        return [text.strip() for text in cells.all_inner_texts()]

    def overflow(self) -> int:
        root = "document.documentElement"
        return int(self.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth"))


def test_the_page_says_nothing_on_the_console_and_asks_for_nothing(
    browser: Browser, report: Path
) -> None:
    with Visit(browser, report) as visit:
        visit.page.mouse.wheel(0, 20_000)
        visit.page.wait_for_timeout(200)

        assert visit.said == []
        assert [url for url in visit.asked if not url.startswith("data:")] == [report.as_uri()]


def test_a_click_on_a_header_sorts_by_value_and_a_second_click_reverses(
    browser: Browser, report: Path
) -> None:
    with Visit(browser, report) as visit:
        header = visit.page.locator("#models-1 thead th").nth(1)

        header.get_by_role("button").click()
        falling = [float(text.split()[0].rstrip("(best)")) for text in visit.column("models-1", 2)]
        assert header.get_attribute("aria-sort") == "descending"
        header.get_by_role("button").click()
        rising = [float(text.split()[0].rstrip("(best)")) for text in visit.column("models-1", 2)]

        assert falling == sorted(falling, reverse=True)
        assert rising == sorted(rising) != falling
        assert header.get_attribute("aria-sort") == "ascending"


def test_the_filter_shows_only_rows_with_the_words(browser: Browser, report: Path) -> None:
    with Visit(browser, report) as visit:
        visit.page.locator("#settings details summary, #settings ~ details summary").first.click()
        visit.page.get_by_role("searchbox", name="Filter: Settings").fill("learning_rate text")

        shown = visit.column("parameters", 1)

        assert "text.training.learning_rate" in shown
        assert all("learning_rate" in name for name in shown)
        assert re.fullmatch(r"\d+ of \d+ rows", visit.page.locator("[role=status]").inner_text())


def test_a_table_is_copied_as_csv_and_as_markdown(browser: Browser, report: Path) -> None:
    with Visit(browser, report, permissions=["clipboard-read", "clipboard-write"]) as visit:
        copied = {}
        for form in ("CSV", "Markdown"):
            visit.page.get_by_role("button", name=f"Copy as {form}: Teachers").click()
            copied[form] = visit.page.evaluate("navigator.clipboard.readText()")

        csv, markdown = copied["CSV"].splitlines(), copied["Markdown"].splitlines()
        assert csv[0] == "Teacher,Family,Licence of the weights,Weights,Labels seen"
        assert csv[1].startswith("minilm-l6,hashing,not recorded,")
        assert markdown[1] == "|---|---|---|---|---|"
        assert markdown[2].startswith("| minilm-l6 | hashing |")


def test_a_point_of_the_map_tells_its_text_and_source(browser: Browser, report: Path) -> None:
    with Visit(browser, report) as visit:
        point = visit.page.locator(".map circle").nth(5)
        point.scroll_into_view_if_needed()
        tip = visit.page.locator(".tip")
        assert tip.is_hidden()

        point.hover(force=True)

        assert tip.is_visible()
        assert "the text number" in tip.inner_text()
        assert "corpus" in tip.inner_text()


def test_the_map_is_coloured_by_label_too(browser: Browser, report: Path) -> None:
    with Visit(browser, report) as visit:
        keys = [visit.page.locator(f".key.{name}") for name in ("by-source", "by-label")]
        assert [key.is_visible() for key in keys] == [True, False]

        visit.page.get_by_label("label", exact=True).check()

        assert [key.is_visible() for key in keys] == [False, True]


def test_the_price_of_a_million_examples_follows_the_price_of_the_machine(
    browser: Browser, report: Path
) -> None:
    with Visit(browser, report) as visit:
        visit.page.evaluate(
            """document.querySelector("#models tbody td:last-child").outerHTML =
            '<td class="usd" data-rate="1000">old</td>'"""
        )

        visit.page.get_by_label("Price of the machine").fill("3.6")

        assert visit.page.locator("td.usd").first.inner_text() == "1.00"


def test_dark_mode_follows_the_system_and_then_the_reader(browser: Browser, report: Path) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    with Visit(browser, report, color_scheme="dark") as visit:
        dark = visit.page.evaluate(colour)
        visit.keep("desktop-dark")

        visit.page.get_by_role("button", name="Switch to light colours").click()

        light = visit.page.evaluate(colour)
        assert (dark, light) == ("rgb(18, 21, 24)", "rgb(253, 253, 252)")
        visit.page.reload()
        assert visit.page.evaluate(colour) == light
        visit.keep("desktop-light")


@pytest.mark.parametrize("name", ["report", "large"])
def test_a_phone_scrolls_tables_and_not_the_page(
    browser: Browser, name: str, request: pytest.FixtureRequest
) -> None:
    with Visit(browser, request.getfixturevalue(name), viewport=PHONE) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")

        assert visit.overflow() == 0
        visit.keep(f"phone-{name}")


def test_fifty_tasks_and_twelve_teachers_fit_a_desktop(browser: Browser, large: Path) -> None:
    with Visit(browser, large) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")

        assert visit.overflow() == 0
        visit.keep("desktop-large")


def test_a_link_to_a_task_opens_its_kind(browser: Browser, report: Path) -> None:
    with Visit(browser, report, fragment="#task-simlex") as visit:
        row = visit.page.locator("#task-simlex")

        assert row.is_visible()
        box = row.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < DESKTOP["height"]


def test_the_keyboard_reaches_and_uses_the_controls(browser: Browser, report: Path) -> None:
    with Visit(browser, report) as visit:
        reached = []
        for _ in range(40):
            visit.page.keyboard.press("Tab")
            reached.append(
                visit.page.evaluate(
                    "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent).trim()"
                )
            )
            outline = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", reached[-1]
        assert reached[0] == "Skip to the verdict"
        assert "Switch to dark colours" in reached
        assert "Scores" in reached
        assert any(name.startswith("Copy as CSV") for name in reached)
        header = visit.page.locator("#kinds thead th").nth(2)
        header.get_by_role("button").focus()
        visit.page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == "descending"


def test_the_page_is_complete_without_scripts(browser: Browser, report: Path) -> None:
    with Visit(browser, report, java_script_enabled=False) as visit:
        assert visit.page.locator("#kinds tbody tr").count() == 5
        assert visit.page.get_by_text("Use it", exact=True).is_visible()
        visit.page.locator("#kind-sts summary").click()
        assert visit.page.locator("#task-simlex").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, report: Path, scheme: str) -> None:
    try:
        archive = fetch(AXE, DOWNLOADS)
    except StageError as error:
        pytest.skip(f"axe-core is not available: {error}")
    with tarfile.open(archive) as tar:
        file = tar.extractfile("package/axe.min.js")
        assert file is not None
        script = file.read().decode("utf-8")
    with Visit(browser, report, color_scheme=scheme, bypass_csp=True) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        visit.page.add_script_tag(content=script)

        found = visit.page.evaluate("axe.run()")

    serious = {
        one["id"]: [node["html"][:200] for node in one["nodes"][:3]]
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    }
    assert serious == {}, json.dumps(serious, indent=1)


def test_the_page_prints(browser: Browser, report: Path) -> None:
    with Visit(browser, report) as visit:
        printed = visit.page.pdf(format="A4")

    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
