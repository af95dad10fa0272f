"""TensorBoard on the run that our own training command has just written."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.browser.chromium import complaints, requests_since_last_asked, screenshot
from tests.browser.explorer_page import wait
from tests.browser.tensorboard_page import elements, open_page, tensorboard, texts
from tests.helpers.commands import Result

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="module")
def run(trained_run: tuple[Path, Result]) -> Path:
    """The run's folder."""
    return trained_run[0]


@pytest.fixture(scope="module")
def board(run: Path) -> Iterator[str]:
    """Address of `tensorboard --logdir RUN`."""
    with tensorboard(run) as url:
        yield url


@pytest.fixture(scope="module")
def logged(run: Path) -> Any:
    """Contents of the event files, read without TensorBoard's server."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def last_metrics(run: Path) -> dict[str, float]:
    """The last value of each figure in RUN/metrics.jsonl."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {name: value for line in lines for name, value in line.items()}


def tags_of(logged: Any, plugin: str) -> list[str]:
    """Names of what was written for one of TensorBoard's pages."""
    found = logged.summary_metadata.items()
    return sorted(tag for tag, metadata in found if metadata.plugin_data.plugin_name == plugin)


def test_curves_end_where_the_run_ended(
    browser: Chrome, board: str, run: Path, logged: Any
) -> None:
    last = last_metrics(run)
    tags = [tag for tag in tags_of(logged, "scalars") if tag.startswith("loss/")]
    assert "loss/encoder" in tags and "loss/decoder" in tags
    requests_since_last_asked(browser)
    open_page(browser, board, "timeseries", "loss/")

    def cards() -> list[list[str]]:
        """The words of each curve's card."""
        found = elements(browser, "scalar-card", "element.innerText.split(/\\s+/)")
        filled = all("Relative" in card and len(row_of(card)) >= 4 for card in found)
        return found if len(found) == len(tags) and filled else []

    def row_of(card: list[str]) -> list[str]:
        """Run, smoothed, value, step, as far as they are there yet."""
        return card[card.index("Relative") + 1 :]

    found = wait(cards, "a card of each loss, with its table")
    screenshot(browser, "tensorboard_timeseries")
    for card, tag in zip(found, tags, strict=True):
        assert "".join(card[:2]) == tag
        row = row_of(card)
        assert float(row[2].replace("\u2212", "-")) == pytest.approx(last[tag], rel=1e-3, abs=1e-4)
        assert int(row[3]) == last["step"] == 4
    urls = [request["url"] for request in requests_since_last_asked(browser)]
    assert [url for url in urls if not url.startswith((board, "data:", "blob:", "about:"))] == []
    assert complaints(browser) == []


def test_every_curve_is_in_a_group(browser: Chrome, board: str, logged: Any) -> None:
    open_page(browser, board, "scalars")
    tags = tags_of(logged, "scalars")
    groups = {tag.split("/")[0] for tag in tags}
    assert {"loss", "term", "gradient_norm", "latent", "learning_rate"} <= groups
    wait(lambda: groups <= set(texts(browser)), f"the groups {groups}")
    screenshot(browser, "tensorboard_scalars")


def test_pictures_keep_their_size(browser: Chrome, board: str, logged: Any) -> None:
    tags = tags_of(logged, "images")
    assert tags
    for tag in tags:
        open_page(browser, board, "images", f"^{tag}$")
        written = logged.Tensors(tag)[-1].tensor_proto.string_val  # width, height, pictures
        expected = [Image.open(io.BytesIO(picture)).size for picture in written[2:]]

        def seen() -> list[tuple[int, int]]:
            sizes = elements(browser, "img", "[element.naturalWidth, element.naturalHeight]")
            return [(width, height) for width, height in sizes if width]

        wait(lambda expected=expected: set(expected) <= set(seen()), f"the pictures of {tag}")
        assert tag in texts(browser)
        screenshot(browser, f"tensorboard_images_{tag.replace('/', '_')}")


def test_histograms_are_drawn(browser: Chrome, board: str, logged: Any) -> None:
    tag = tags_of(logged, "histograms")[0]
    open_page(browser, board, "timeseries", f"^{tag}$")

    def drawn() -> bool:
        paths = elements(browser, "histogram-card", "element.querySelectorAll('svg path').length")
        return len(paths) == 1 and paths[0] > 0

    wait(drawn, f"the histogram of {tag}")
    screenshot(browser, "tensorboard_histogram")


def test_texts_are_legible(browser: Chrome, board: str, logged: Any) -> None:
    tags = tags_of(logged, "text")
    written = logged.Tensors(tags[0])[-1].tensor_proto.string_val[0].decode()
    words = re.findall(r"\w{4,}", written)[:20]
    open_page(browser, board, "text", f"^{tags[0]}$")
    wait(lambda: all(word in " ".join(texts(browser)) for word in words), f"the words {words}")
    screenshot(browser, "tensorboard_text")


def test_the_graph_has_nodes(browser: Chrome, board: str) -> None:
    open_page(browser, board, "graphs")
    wait(lambda: len(elements(browser, "svg g.node", "1")) >= 3, "nodes")
    screenshot(browser, "tensorboard_graph")


def test_hyperparameters_are_next_to_their_results(browser: Chrome, board: str, run: Path) -> None:
    open_page(browser, board, "hparams")
    wait(lambda: "Trial ID" in texts(browser), "the table")
    words = texts(browser)
    screenshot(browser, "tensorboard_hparams")
    assert "Number of matching session groups: 1" in words
    assert {"objective", "train/learning_rate", "train/batch_size", "model/filters"} <= set(words)
    row = words[words.index("Trial ID") :]
    assert "PSNR, probes held out" in row
    expected = last_metrics(run)["probe/psnr_held_out"]
    numbers = [float(word) for word in row if re.fullmatch(r"\d+\.\d+", word)]
    assert any(number == pytest.approx(expected, rel=1e-3) for number in numbers)


def test_the_projector_shows_points_as_pictures(browser: Chrome, board: str, run: Path) -> None:
    configs = list(run.rglob("projector_config.pbtxt"))
    (folder,) = {path.parent for path in configs}
    (tensor,) = re.findall(r'tensor_path: "([^"]+)"', configs[0].read_text())
    points = [line.split("\t") for line in (folder / tensor).read_text().splitlines()]
    open_page(browser, board, "projector")
    for _ in range(2):  # the page of a plugin, and in it the projector's own
        frame = wait(lambda: browser.find_elements("css selector", "iframe"), "a frame")[0]
        browser.switch_to.frame(frame)
    try:
        said = f"Points: {len(points)} Dimension: {len(points[0])}"
        wait(lambda: said in re.sub(r"[\s|]+", " ", " ".join(texts(browser))), said)
        assert elements(browser, "canvas", "element.width * element.height > 1e5").count(True) >= 1
    finally:
        browser.switch_to.default_content()
    colours = Image.open(screenshot(browser, "tensorboard_projector")).convert("RGB")
    middle = colours.crop((320, 130, 1120, 880))
    assert len(middle.getcolors(1 << 20) or []) > 30, "pictures, not an empty room"
    assert complaints(browser) == []
