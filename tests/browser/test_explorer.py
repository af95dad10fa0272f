"""The explorer in a browser, with our server and a decoder that has just been trained."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.exports.film_latents import FILE_NAME, FilmLatents, load_film_latents
from tests.browser.chromium import (
    complaints,
    requests_since_last_asked,
    screenshot,
    set_size,
)
from tests.browser.explorer_page import ExplorerPage, wait
from tests.browser.serving import Serving, serve
from tests.helpers.commands import Result

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="module")
def decoder(trained_run: tuple[Path, Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a tiny run's exported decoder, with the latents of 48 frames in two shots."""
    folder = tmp_path_factory.mktemp("served") / "decoder"
    shutil.copytree(trained_run[0] / "export" / "decoder", folder)
    return folder


@pytest.fixture(scope="module")
def film(decoder: Path) -> FilmLatents:
    """Files next to the model."""
    found = load_film_latents(decoder / "1")
    assert found is not None and len(found.latents) == 48
    return found


@pytest.fixture(scope="module")
def serving(decoder: Path) -> Iterator[Serving]:
    """Our server with it."""
    with serve(decoder) as found:
        yield found


@pytest.fixture
def page(browser: Chrome, downloads: Path, serving: Serving) -> Iterator[ExplorerPage]:
    """The page, newly opened; it must not log an error."""
    found = ExplorerPage(browser, downloads)
    found.open(serving.url)
    yield found
    assert complaints(browser) == []


def spherical(
    first: NDArray[np.float32], second: NDArray[np.float32], share: float
) -> NDArray[np.float64]:
    """Shoemake's formula, in numpy."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)


def pixels(file: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), np.int64)


def pick(page: ExplorerPage, film: FilmLatents, place: int) -> NDArray[np.float32]:
    """Click a frame of the strip, wait for its picture and return its latent."""
    button = page.frames()[place]
    page.run("arguments[0].click()", button)
    latent = film.latents[int(button.get_dom_attribute("data-frame") or -1)]
    page.shows(latent)
    return latent


def test_the_page_loads_from_this_server_only(page: ExplorerPage, serving: Serving) -> None:
    wait(lambda: page.run("return document.querySelectorAll('#strip canvas:not(.here)').length")
         == 0, "pictures of all frames")  # fmt: skip
    wait(lambda: page.run("return [...document.querySelectorAll('#directions canvas')].every("
                          "canvas => canvas.width > 1)"), "both ends of directions")  # fmt: skip
    screenshot(page.browser, "explorer")
    urls = [request["url"] for request in requests_since_last_asked(page.browser)]
    assert len(urls) > 10
    assert [url for url in urls if not url.startswith((serving.url + "/", "blob:", "data:"))] == []
    assert page["title"].text == "film"
    assert "200 numbers a frame" in page["provenance"].text


def test_the_slider_shows_points_of_the_arc_between_the_picks(
    page: ExplorerPage, film: FilmLatents, serving: Serving
) -> None:
    last = len(page.frames()) - 1
    first, second = pick(page, film, 1), pick(page, film, last)
    page.slide("share", 0.35)
    expected = spherical(first, second, 0.35)
    page.shows(expected)
    file = page.saved(lambda: page.press("s"))
    frames = [page.frames()[place].get_dom_attribute("data-frame") for place in (1, last)]
    numbers = [film.frames[int(frame or -1)] for frame in frames]
    assert f"Frame {numbers[0]} to frame {numbers[1]}, 35 %" == page.caption()
    assert file.name.endswith(f"frame_{numbers[0]}_to_frame_{numbers[1]}_at_35.png")

    saved = file.read_bytes()
    assert saved == serving.picture(page.latent(), "decode_png_bytes")
    assert np.abs(pixels(saved) - pixels(serving.picture(expected, "decode_png_bytes"))).max() <= 1
    straight = 0.65 * first + 0.35 * second
    for other in (first, second, straight):
        other_picture = pixels(serving.picture(other, "decode_png_bytes"))
        assert np.abs(pixels(saved) - other_picture).max() > 1


def test_the_page_shows_the_servers_picture(
    page: ExplorerPage, film: FilmLatents, serving: Serving
) -> None:
    latent = pick(page, film, 3)
    file = page.saved(lambda: page["save-shown"].click())
    shown, truth = Image.open(file), Image.open(io.BytesIO(serving.picture(latent)))
    assert shown.width > 400
    large = truth.resize(shown.size, Image.Resampling.BICUBIC)
    error = np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(large, float)).mean()
    assert error < 3, "mean difference in levels; Chromium's curve is another cubic"


def predictions(browser: Chrome) -> list[tuple[float, float, dict[str, Any]]]:
    """Start, end and body of each request for pictures since the log was last read."""
    started: dict[str, tuple[float, dict[str, Any]]] = {}
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        values = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            if values["request"]["url"].endswith(":predict"):
                body = json.loads(values["request"]["postData"])
                started[values["requestId"]] = (values["timestamp"], body)
        elif message["method"] == "Network.loadingFinished" and values["requestId"] in started:
            start, body = started.pop(values["requestId"])
            found.append((start, values["timestamp"], body))
    assert not started
    return found


def test_one_request_at_a_time_and_only_the_newest(page: ExplorerPage, film: FilmLatents) -> None:
    first, second = pick(page, film, 0), pick(page, film, 6)
    wait(lambda: page.run("return document.querySelectorAll('#strip canvas:not(.here)').length")
         == 0, "pictures of all frames")  # fmt: skip
    page.slide("share", 0)
    page.shows(first)
    requests_since_last_asked(page.browser)
    page.run(
        "const slider = arguments[0];"
        "for (let i = 1; i <= 200; i++) {"
        "  slider.value = i / 200; slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        page["share"],
    )
    page.shows(second)
    sent = sorted(predictions(page.browser), key=lambda request: request[0])
    assert 1 <= len(sent) <= 3, "of 200 pictures wanted at once"
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(sent))
    assert np.abs(np.array(sent[-1][2]["instances"][0]) - second).max() < 1e-5


def test_the_page_works_by_keyboard_only(page: ExplorerPage, film: FilmLatents) -> None:
    from selenium.webdriver import Keys

    page.run("document.getElementById('strip').querySelector('[tabindex=\"0\"]').focus()")
    page.press(Keys.HOME)
    page.press(Keys.ARROW_RIGHT * 2)
    focused = page.browser.switch_to.active_element
    assert focused.get_dom_attribute("data-place") == "2"
    outline = page.run("return getComputedStyle(arguments[0]).outlineStyle", focused)
    assert outline == "solid", "the focus is seen"
    frame = int(focused.get_dom_attribute("data-frame") or -1)
    page.press(Keys.ENTER)
    page.shows(film.latents[frame])
    assert f"frame {film.frames[frame]}" in page["from"].text
    assert focused.get_dom_attribute("aria-label").endswith("picked as from")

    page.press(Keys.END)
    last = int(page.browser.switch_to.active_element.get_dom_attribute("data-frame") or -1)
    page.press("b")
    assert f"frame {film.frames[last]}" in page["to"].text
    page.press("." * 25)  # of two per cent each
    page.shows(spherical(film.latents[frame], film.latents[last], 0.5))
    page.press("x")
    assert f"frame {film.frames[last]}" in page["from"].text

    page.press("?")
    assert page["help"].is_displayed()
    page.press(Keys.ESCAPE)
    assert not page["help"].is_displayed()


def test_single_key_shortcuts_can_be_disabled(page: ExplorerPage) -> None:
    before = page.latent_text()
    page["help-button"].click()
    page["single-keys"].click()
    page["help"].find_element("css selector", "button").click()
    page.press("d")
    page["play"].click()
    wait(lambda: page.latent_text() != before, "the film plays")
    assert page.caption().startswith("Frame"), "d has drawn nothing"
    page["help-button"].click()
    page["single-keys"].click()


def test_all_controls_have_names(page: ExplorerPage) -> None:
    nameless = page.run(
        "return [...document.querySelectorAll('button, input, canvas[role]')].filter(element =>"
        "  element.checkVisibility() && !(element.getAttribute('aria-label') ||"
        "  element.textContent.trim() || element.labels?.length)).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert page["picture"].get_dom_attribute("aria-label") == page.caption()
    assert page["share"].get_dom_attribute("aria-valuetext") == "0 % of the way to the second"


def test_a_copied_latent_gives_the_same_picture(page: ExplorerPage, serving: Serving) -> None:
    page.browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"origin": serving.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    page.press("d")
    wait(lambda: page.caption() == "Drawn from the film's density", "a drawn picture")
    drawn = page.saved(lambda: page.press("s")).read_bytes()
    page.press("c")
    page.note("Copied 200 numbers")
    text = page.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert len(json.loads(text)) == 200 and text == page.latent_text()

    page.press("n")
    wait(lambda: page.caption().startswith("Frame"), "the nearest frame")
    for form in (text, json.dumps({"instances": [json.loads(text)]})):
        page.press("v")
        page.run("arguments[0].value = arguments[1]", page["latent-text"], form)
        page["latent-show"].click()
        wait(lambda: page.caption() == "Pasted latent", "the pasted latent's picture")
        assert page.saved(lambda: page.press("s")).read_bytes() == drawn
        page.press("n")
        wait(lambda: page.caption().startswith("Frame"), "the nearest frame")


@pytest.mark.parametrize(
    ("text", "error"),
    [("[1, 2", "That is not JSON"), ("[1, 2]", "That list has 2 numbers"),
     ('["a"]', "That is no list of numbers"), ("null", "That is no list of numbers")],
)  # fmt: skip
def test_invalid_latents_are_refused_in_one_line(page: ExplorerPage, text: str, error: str) -> None:
    before = page.latent_text()
    page.press("v")
    page.run("arguments[0].value = arguments[1]", page["latent-text"], text)
    page["latent-show"].click()
    assert page["latent-error"].text.startswith(error)
    assert page["latent"].is_displayed()
    page["latent-cancel"].click()
    assert page.latent_text() == before


def test_leaning_along_directions(page: ExplorerPage, film: FilmLatents) -> None:
    from selenium.webdriver import Keys

    base = pick(page, film, 2)
    sliders = page.browser.find_elements("css selector", "#directions input")
    assert len(sliders) == len(film.directions)
    sliders[0].send_keys(Keys.ARROW_RIGHT * 20)  # of 0.05 each
    sliders[1].send_keys(Keys.ARROW_LEFT * 10)
    lean = film.deviations[:2, None] * film.directions[:2] * np.array([[1.0], [-0.5]])
    page.shows(base + lean.sum(axis=0))
    assert page.caption().endswith("; direction 1 +1.00 \u03c3, direction 2 \u22120.50 \u03c3")
    nearest = np.linalg.norm(film.latents - page.latent(), axis=1)
    assert f"{film.frames[nearest.argmin()]}" in page["nearest"].text
    assert page["far"].text.startswith(f"{nearest.min():.2f} away")
    screenshot(page.browser, "explorer_leaning")
    page.press("0")
    page.shows(base)


def test_play_follows_the_film_and_wander_leaves_it(page: ExplorerPage, film: FilmLatents) -> None:
    from selenium.webdriver import Keys

    pick(page, film, 0)
    page.press("p")
    wait(lambda: int(page["position"].get_property("value")) >= 3, "the film to go on")
    on_arcs = page.latent()
    ways = np.linalg.norm(film.latents - on_arcs, axis=1)
    steps = np.linalg.norm(np.diff(film.latents, axis=0), axis=1)
    assert ways.min() <= steps.max()
    page.press("w")
    wait(lambda: page.caption() == "Wandering", "wandering")
    assert page["play"].get_dom_attribute("aria-pressed") == "false"
    here = page.latent_text()
    wait(lambda: page.latent_text() != here, "another place")
    page.press(Keys.ESCAPE)
    assert page["wander"].get_dom_attribute("aria-pressed") == "false"
    page.press("b")
    assert page["to"].text.split("\n")[-1].startswith("wandering near frame")


@pytest.mark.parametrize("width", [320, 390, 768])
def test_narrow_screens_scroll_only_vertically(page: ExplorerPage, width: int) -> None:
    set_size(page.browser, width, 844)
    wait(lambda: page.run("return innerWidth") == width, "the size")
    inner = page.run("return document.documentElement.clientWidth")  # without the scroll bar
    assert page.run("return document.documentElement.scrollWidth") <= inner <= width
    for name in (
        "picture",
        "play",
        "share",
        "position",
        "strip",
        "from",
        "to",
        "swap",
        "directions",
    ):
        box = page[name].rect
        assert box["x"] >= -0.5 and box["x"] + box["width"] <= inner + 0.5, name
    assert page["picture"].rect["width"] == inner
    screenshot(page.browser, f"explorer_{width}")


def test_the_page_survives_a_restart_of_the_server(
    page: ExplorerPage, film: FilmLatents, serving: Serving
) -> None:
    first, second = pick(page, film, 0), pick(page, film, 5)
    serving.kill()
    page.slide("share", 0.5)
    assert page.note("The server does not answer.").endswith("Trying again …")
    assert "trouble" in (page["note"].get_dom_attribute("class") or "")
    screenshot(page.browser, "explorer_away")
    assert np.abs(page.latent() - second).max() < 1e-5, "the last picture stays"
    serving.start()
    page.shows(spherical(first, second, 0.5))
    page.note("The server is back.")
    page.slide("share", 0.25)
    page.shows(spherical(first, second, 0.25))
    complaints(page.browser)  # of unanswered requests


def test_a_new_version_is_noticed(
    page: ExplorerPage, film: FilmLatents, decoder: Path, tmp_path: Path
) -> None:
    latent = pick(page, film, 4)
    shutil.copytree(decoder / "1", tmp_path / "2")
    moved = dict(np.load(decoder / "1" / FILE_NAME))
    moved["latents"] = moved["latents"] + np.float32(0.5)
    np.savez(tmp_path / "2" / FILE_NAME, **moved)
    shutil.move(tmp_path / "2", decoder / "2")
    try:
        page.note("Version 2 of the model is here.")
        page.shows(latent + 0.5)  # the same frame, in the new model's latents
        assert "version 2" in page["provenance"].text
    finally:
        shutil.rmtree(decoder / "2")
    page.note("Version 1 of the model is here.")
    page.shows(latent)
    complaints(page.browser)  # a picture may have been asked for just as its version went


def test_a_model_without_a_film_draws(
    browser: Chrome, downloads: Path, decoder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "decoder"
    shutil.copytree(decoder / "1", folder / "1")
    (folder / "1" / FILE_NAME).unlink()
    page = ExplorerPage(browser, downloads)
    with serve(folder) as serving:
        page.open(serving.url)
        assert len(page.frames()) == 48
        assert "no film" in page["provenance"].text
        assert not page["directions"].is_displayed()
        page.press("d")
        wait(lambda: page.caption() == "Drawn from N(0, 1)", "a draw")
        assert 8 < np.linalg.norm(page.latent()) < 20  # of 200 numbers: 14.1
        file = page.saved(lambda: page.press("s"))
        assert file.read_bytes() == serving.picture(page.latent(), "decode_png_bytes")
        page.frames()[2].click()
        wait(lambda: page.caption() == "Draw 3", "a draw of the strip")
        screenshot(browser, "explorer_without_film")
        before = page.latent_text()
        page["redraw"].click()
        wait(lambda: page.latent_text() != before and page.caption() == "Draw 3", "another draw")
        assert complaints(browser) == []
