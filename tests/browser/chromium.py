"""A headless Chromium, driven by selenium, that can reach nothing but this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PICTURES = Path(__file__).resolve().parent.parent.parent / "build" / "browser"
"""Folder of the screenshots."""

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """Path of the browser, if there is one and its driver too."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    return found if shutil.which("chromedriver") else None


@contextmanager
def open_browser(downloads: Path, width: int = 1440, height: int = 900) -> Iterator[Chrome]:
    """Give a browser whose files are saved in `downloads`; every request is logged.

    Names other than this machine's own are not resolved.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program() or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader",
        f"--window-size={width},{height}", "--force-color-profile=srgb", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    ):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option(
        "prefs",
        {"download.default_directory": str(downloads), "download.prompt_for_download": False},
    )
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options, service)
    try:
        set_size(browser, width, height)
        yield browser
    finally:
        browser.quit()


def set_size(browser: Chrome, width: int, height: int) -> None:
    """Make the page itself so many pixels large, which a window cannot be told."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def screenshot(browser: Chrome, name: str) -> Path:
    """Leave what is seen as build/browser/NAME.png."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    assert browser.save_screenshot(str(path))
    return path


def requests_since_last_asked(browser: Chrome) -> list[dict[str, Any]]:
    """Requests that pages have sent since this was last called: method, url, postData and more."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def complaints(browser: Chrome) -> list[str]:
    """Errors that pages have logged since this was last called."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
