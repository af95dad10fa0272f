"""The film's memory, as training leaves it in RUN/report.html, opened as a file."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.chromium import complaints, requests_since_last_asked, screenshot, set_size
from tests.browser.explorer_page import wait
from tests.helpers.commands import Result

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture
def report(browser: Chrome, trained_run: tuple[Path, Result]) -> Chrome:
    """A browser that shows the report of a tiny run: 48 frames, two shots, the second held out."""
    path = trained_run[0] / "report.html"
    assert path.is_file(), trained_run[1].err
    complaints(browser), requests_since_last_asked(browser)
    browser.get(path.as_uri())
    return browser


def entries(report: Chrome) -> list[dict[str, Any]]:
    """Return the page's data of the frames that can be viewed."""
    text = report.find_element("id", "frames").get_property("textContent")
    (film,) = json.loads(str(text))
    return film


def texts(report: Chrome, selector: str) -> list[str]:
    """Text of each element that is selected."""
    return [element.text for element in report.find_elements("css selector", selector)]


def test_the_report_is_self_contained(report: Chrome) -> None:
    urls = {request["url"].split(":")[0] for request in requests_since_last_asked(report)}
    assert "data" in urls and urls <= {"file", "data"}
    assert complaints(report) == []
    assert report.find_element("css selector", "h1").text == "Film"
    broken = report.execute_script(
        "return [...document.images].filter(image => image.checkVisibility())"
        ".filter(image => !image.naturalWidth).map(image => image.outerHTML.slice(0, 200))"
    )
    assert broken == []
    assert len(report.find_elements("css selector", "img")) > 6
    screenshot(report, "report")


def test_pictures_are_frames_and_dreams(report: Chrome) -> None:
    viewer = report.find_element("css selector", ".viewer")
    pair = [viewer.find_element("css selector", f"img.{name}") for name in ("original", "dream")]
    files = [base64.b64decode(str(image.get_property("src")).split(",")[1]) for image in pair]
    original, dream = (np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), float)
                       for file in files)  # fmt: skip
    assert original.shape == dream.shape
    # Forty frames fit into 200 numbers, so that a frame that was seen is all but remembered.
    assert 0 < np.abs(original - dream).mean() < 10


def test_the_time_line_has_keyboard_control(report: Chrome) -> None:
    from selenium.webdriver import Keys

    film = entries(report)
    scrub = report.find_element("css selector", ".scrub")
    viewer = report.find_element("css selector", ".viewer")
    for key, entry in ((Keys.END, film[-1]), (Keys.HOME, film[0]), (Keys.ARROW_RIGHT, film[1])):
        scrub.send_keys(key)
        assert viewer.find_element("css selector", "output").text == entry["words"]
        dream = viewer.find_element("css selector", "img.dream")
        assert dream.get_property("src") == entry["dream"]
        assert scrub.get_dom_attribute("aria-valuetext") == entry["words"]


def test_the_table_sorts_by_the_clicked_column(report: Chrome) -> None:
    heads = report.find_elements("css selector", "table thead th")
    names = [head.text.split("\n")[0].strip() for head in heads]
    column = next(place for place, name in enumerate(names) if name.startswith("PSNR"))

    def values(column: int = column) -> list[float]:
        return [float(text) for text in texts(report, f"tbody td:nth-child({column + 1})")]

    before = values()
    assert len(before) >= 2 and sum(values(names.index("frames"))) == 48
    heads[column].find_element("css selector", "button").click()
    assert values() == sorted(before)
    assert heads[column].get_dom_attribute("aria-sort") == "ascending"
    heads[column].find_element("css selector", "button").click()
    assert values() == sorted(before, reverse=True)
    assert sum("held out" in row for row in texts(report, "tbody tr")) == 1


def test_the_map_is_coloured_by_the_choice(report: Chrome) -> None:
    dots = report.find_elements("css selector", ".map .map-dot")
    assert len(dots) == len(entries(report))
    colour = "return getComputedStyle(arguments[0]).stroke + getComputedStyle(arguments[0]).fill"
    first = [report.execute_script(colour, dot) for dot in (dots[0], dots[-1])]
    report.execute_script(
        "[...document.querySelectorAll('input[name=colour]')].find(each => !each.checked).click()"
    )
    second = [report.execute_script(colour, dot) for dot in (dots[0], dots[-1])]
    assert first != second


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_the_report_scrolls_only_vertically(report: Chrome, width: int) -> None:
    set_size(report, width, 844)
    wait(lambda: report.execute_script("return innerWidth") == width, "the size")
    size = report.execute_script(
        "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
    )
    assert size[0] <= size[1] <= width
    screenshot(report, f"report_{width}")


def test_the_report_works_without_scripts(report: Chrome) -> None:
    rows, heading = texts(report, "tbody tr"), texts(report, "h2")
    report.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        report.refresh()
        assert texts(report, "tbody tr") == rows and texts(report, "h2") == heading
        assert len(report.find_elements("css selector", ".shot img.dream, .shot img")) >= 2
        screenshot(report, "report_without_scripts")
    finally:
        report.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
