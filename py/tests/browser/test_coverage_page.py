"""The page of `coverage --html` in a real browser, without a network.

It draws, answers, zooms and switches.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from helpers.stream_factory import write_series
from playwright.sync_api import BrowserContext, Page, sync_playwright

FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What a browser or plotly would read markup in, were it not escaped.
HOSTILE: Final = "<img src=x onerror=alert(1)> <b>&amp;"

# By cost: the hostile name lacks four minutes and has one twice, GBPUSD lacks one ask.
SYMBOLS: Final = [HOSTILE, "GBPUSD", "EURUSD"]

# Where the middle of a cell is in the window.
CELL_CENTER: Final = """([row, bin]) => {
  const map = document.getElementById("map");
  const { xaxis, yaxis } = map._fullLayout;
  const box = map.getBoundingClientRect();
  const time = (map.data[0].x[bin] + map.data[0].x[bin + 1]) / 2;
  return [box.left + xaxis._offset + xaxis.d2p(time), box.top + yaxis._offset + yaxis.c2p(row)];
}"""


WHOLE: Final = "() => document.getElementById('map')._fullLayout.yaxis.range[0] === 2.5"


def find_chromium() -> str:
    """Return the browser that `scripts/setup.sh` looks for."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    browser = next(filter(None, found), None)
    assert browser is not None, "no Chromium: scripts/check installs it or says how to"
    return browser


@pytest.fixture(scope="module")
def page_file(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    minutes = range(10)
    for side, close in (("BID", 2.0), ("ASK", 2.5)):
        write_series(root, "EURUSD", side, [(minute, close) for minute in minutes])
        write_series(root, "GBPUSD", side, [(minute, close) for minute in minutes if (side, minute) != ("ASK", 4)])
        twice = [0, 1, 2, 2, 3, 4, 5] if side == "BID" else [0, 1, 2, 3, 4, 5]
        write_series(root, HOSTILE, side, [(minute, close) for minute in twice])
    target = tmp_path_factory.mktemp("page") / "coverage.html"
    write_page(binary, root, target)
    return target


def write_page(binary: Path, root: Path, target: Path) -> None:
    command = [str(binary), "coverage", "--data", str(root), "--all-symbols", "--html", str(target)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A browser with a profile of its own and no network."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=find_chromium(),
            args=FLAGS,
            viewport={"width": 1200, "height": 900},
            color_scheme="light",
            offline=True,
        )
        yield context
        context.close()


class Opened(NamedTuple):
    """The page in the browser, what it asked for and what it complained of."""

    page: Page
    requests: list[str]
    complaints: list[str]


@pytest.fixture(scope="module")
def opened(browser: BrowserContext, page_file: Path) -> Opened:
    """The page, drawn; loading it anew for each test would take most of their time."""
    opened = Opened(browser.new_page(), [], [])
    page = opened.page
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.on("dialog", lambda dialog: opened.complaints.append(f"dialog: {dialog.message}"))
    page.goto(page_file.as_uri())
    page.wait_for_selector("#map[data-drawn=true]", state="attached")
    return opened


@pytest.fixture
def page(opened: Opened, page_file: Path) -> Iterator[Page]:
    """The page when it is opened: it requests nothing but itself, and logs no error."""
    page = opened.page
    page.set_viewport_size({"width": 1200, "height": 900})
    page.click("[data-view=state]")
    page.click("#whole")
    page.mouse.move(5, 5)
    page.wait_for_function(WHOLE)
    yield page
    assert opened.requests == [page_file.as_uri()]
    assert opened.complaints == []


def point_at(page: Page, symbol: str, bin_: int) -> tuple[list[str], str]:
    """Point at a cell; return the lines at the pointer, and the readout below the map."""
    x, y = page.evaluate(CELL_CENTER, [SYMBOLS.index(symbol), bin_])
    page.mouse.move(x - 2, y)
    page.mouse.move(x, y)
    tip = page.locator("#tip")
    tip.wait_for(state="visible")
    return tip.inner_text().splitlines(), page.locator("#readout").inner_text()


def zoomed(page: Page) -> tuple[float, float]:
    """Return from when to when the map shows, in bins."""
    start, end = page.evaluate(
        """() => {
          const { xaxis } = document.getElementById("map")._fullLayout;
          const { first_ms, bin_ms } = JSON.parse(document.getElementById("counts").textContent);
          return xaxis.range.map((at) => (xaxis.d2c(at) - first_ms) / bin_ms);
        }"""
    )
    return float(start), float(end)


def values(page: Page) -> Any:
    """Return what is drawn: for each symbol the value of each bin."""
    return page.evaluate("() => document.getElementById('map').data[0].z")


def test_the_heat_map_is_drawn(page: Page) -> None:
    assert page.title() == "Coverage of 6 series, M1"
    assert page.locator(".answer").first.inner_text().startswith("5 of 10 timestamps (50.00 %)")
    image = page.locator("#map .heatmaplayer image")
    assert image.count() == 1
    box = image.bounding_box()
    assert box is not None
    assert box["width"] > 600
    assert box["height"] > 60
    # State: present, one-sided at times, missing.
    assert values(page) == [[0] * 6 + [3] * 4, [0] * 4 + [1] + [0] * 5, [0] * 10]


def test_labels_are_the_names_as_they_are(page: Page) -> None:
    # Ticks are drawn from the bottom.
    labels = page.locator("#map .ytick text")
    assert labels.all_text_contents()[::-1] == SYMBOLS
    assert page.locator("tbody").first.locator("bdi").all_inner_texts() == SYMBOLS
    assert page.locator("img").count() == 0


@pytest.mark.parametrize(
    ("symbol", "bin_", "counts"),
    [
        ("EURUSD", 3, ["present 1 (100.00 %)", "one-sided 0 (0.00 %)", "missing 0 (0.00 %)", "dropped rows 0"]),
        ("GBPUSD", 4, ["present 0 (0.00 %)", "one-sided 1 (100.00 %)", "missing 0 (0.00 %)", "dropped rows 0"]),
        (HOSTILE, 2, ["present 1 (100.00 %)", "one-sided 0 (0.00 %)", "missing 0 (0.00 %)", "dropped rows 1"]),
        (HOSTILE, 9, ["present 0 (0.00 %)", "one-sided 0 (0.00 %)", "missing 1 (100.00 %)", "dropped rows 0"]),
    ],
)
def test_a_cell_that_is_pointed_at_answers(page: Page, symbol: str, bin_: int, counts: list[str]) -> None:
    at_pointer, below = point_at(page, symbol, bin_)
    span = f"2024-01-02 00:{bin_:02}:00 to before 2024-01-02 00:{bin_ + 1:02}:00 UTC"
    assert at_pointer == [symbol, span, "timestamps of the union: 1", *counts]
    assert below == " · ".join(at_pointer)
    page.mouse.move(5, 5)
    page.locator("#tip").wait_for(state="hidden")


def test_dragging_zooms_and_every_view_keeps_it(page: Page) -> None:
    assert zoomed(page) == (0, 10)
    left, top = page.evaluate(CELL_CENTER, [0, 2])
    right, bottom = page.evaluate(CELL_CENTER, [2, 6])
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move((left + right) / 2, (top + bottom) / 2, steps=4)
    page.mouse.move(right, bottom, steps=4)
    page.mouse.up()
    page.wait_for_function("() => document.getElementById('map')._fullLayout.yaxis.range[0] < 2.5")
    start, end = zoomed(page)
    assert start == pytest.approx(2.5, abs=0.1)
    assert end == pytest.approx(6.5, abs=0.1)
    page.click("text=Missing")
    assert zoomed(page) == (start, end)
    assert point_at(page, "GBPUSD", 4)[0][0] == "GBPUSD"
    page.get_by_role("button", name="Whole map").click()
    page.wait_for_function(WHOLE)
    assert zoomed(page) == (0, 10)


def test_buttons_switch_what_is_shown(page: Page) -> None:
    shown = {
        "State": [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        "Present": [1, 1, 1, 1, 0, 1, 1, 1, 1, 1],
        "One-sided": [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        "Missing": [0] * 10,
        "Dropped": [0] * 10,
    }
    captions = set()
    for title, of_gbpusd in shown.items():
        button = page.get_by_role("button", name=title, exact=True)
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator(".views [aria-pressed=true]").count() == 1
        assert values(page)[1] == of_gbpusd
        caption = page.locator("#view-caption").inner_text()
        assert caption.startswith(f"{title}: ")
        captions.add(caption)
    assert values(page)[0] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert len(captions) == len(shown)


def test_tables_are_by_harm_and_sort_by_any_column(page: Page) -> None:
    series = page.locator("table").nth(1)
    names = series.locator("tbody bdi")
    first = names.all_inner_texts()
    assert first[0] == "GBPUSD ask"
    series.get_by_role("button", name="candles", exact=True).click()
    assert names.all_inner_texts()[-2:] == [f"{HOSTILE} bid", f"{HOSTILE} ask"]
    assert series.locator("[aria-sort=descending]").inner_text().startswith("candles")
    series.get_by_role("button", name="candles", exact=True).click()
    assert names.all_inner_texts()[:2] == [f"{HOSTILE} bid", f"{HOSTILE} ask"]
    series.get_by_role("button", name="series", exact=True).click()
    assert names.all_inner_texts()[-1] == "GBPUSD bid"


def test_of_a_long_table_the_first_rows_are_shown_until_all_are_asked_for(
    browser: BrowserContext, binary: Path, tmp_path: Path
) -> None:
    for number in range(101):
        for side in ("BID", "ASK"):
            write_series(tmp_path / "data", f"S{number:03}", side, [(minute, 1.0) for minute in range(number + 1)])
    write_page(binary, tmp_path / "data", tmp_path / "long.html")
    page = browser.new_page()
    page.goto((tmp_path / "long.html").as_uri())
    symbols, series = page.locator("table").all()
    assert symbols.locator("tbody tr:visible").count() == 101
    shown = series.locator("tbody tr:visible bdi")
    assert shown.count() == 200
    series.get_by_role("button", name="candles", exact=True).click()
    assert shown.count() == 200
    assert shown.first.inner_text() == "S100 bid"
    show_all = page.get_by_role("button", name="Show all 202")
    show_all.click()
    assert shown.count() == 202
    assert shown.last.inner_text() == "S000 ask"
    assert show_all.is_hidden()
    page.close()


def test_light_and_dark_follow_the_reader(page: Page) -> None:
    paper = "() => document.getElementById('map')._fullLayout.paper_bgcolor"
    assert page.evaluate(paper) == "#ffffff"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"() => ({paper})() === '#12171e'")
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"() => ({paper})() === '#ffffff'")


def test_the_page_forbids_itself_every_request(browser: BrowserContext, page_file: Path) -> None:
    page = browser.new_page()
    page.goto(page_file.as_uri())
    refused = page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
          fetch("http://127.0.0.1:9/").catch(() => {});
        })"""
    )
    assert refused == "connect-src"
    page.close()


@pytest.mark.parametrize("width", [360, 2_000])
def test_no_width_makes_the_page_scroll_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(200)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
