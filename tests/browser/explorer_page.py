"""The explorer as a person sees and uses it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests.browser.chromium import complaints, requests_since_last_asked

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

_PATIENCE = 60  # seconds; what is waited for comes at once on a machine that is not busy


def wait(until: Callable[[], Any], what: str) -> Any:
    """Wait until something is true and return it."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if found := until():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {what}")


class ExplorerPage:
    """See the module. Elements are found as people and screen readers do, or by their id."""

    def __init__(self, browser: Chrome, downloads: Path) -> None:
        self.browser = browser
        self._downloads = downloads

    def open(self, url: str) -> None:
        """Open the page and waits for its first picture."""
        complaints(self.browser), requests_since_last_asked(self.browser)
        self.browser.get(url + "/")
        wait(self.latent_text, "a first picture")

    def __getitem__(self, name: str) -> WebElement:
        return self.browser.find_element("id", name)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def frames(self) -> list[WebElement]:
        """The strip's frames."""
        return self.browser.find_elements("css selector", "#strip button")

    def latent_text(self) -> str:
        """JSON of the latent whose picture is seen; empty before the first."""
        return self["picture"].get_dom_attribute("data-latent") or ""

    def latent(self) -> NDArray[np.float64]:
        """The latent whose picture is seen."""
        return np.array(json.loads(self.latent_text()))

    def shows(self, latent: Any) -> None:
        """Wait until the picture of a latent is seen."""
        wait(lambda: np.abs(self.latent() - latent).max() < 1e-5, "the picture of a latent")

    def caption(self) -> str:
        return self["caption"].text

    def note(self, beginning: str) -> str:
        """Wait for a note that begins so and return it."""
        return wait(
            lambda: (text := self["note"].text).startswith(beginning) and text, f"note: {beginning}"
        )

    def press(self, keys: str) -> None:
        """Type into whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(keys).perform()

    def slide(self, name: str, value: float) -> None:
        """Drag a slider to a value."""
        self.run(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', { bubbles: true }))",
            self[name], value,
        )  # fmt: skip

    def saved(self, action: Callable[[], None]) -> Path:
        """Do what saves a file and return it."""
        before = set(self._downloads.iterdir())
        action()

        def finished() -> list[Path]:
            new = set(self._downloads.iterdir()) - before
            return [path for path in new if path.suffix in (".png", ".jpg")]

        return wait(finished, "a saved file")[0]
