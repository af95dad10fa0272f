"""TensorBoard as a person sees it: what is visible, shadow roots included."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.commands import environment

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_PATIENCE = 120

# Polymer's dashboards hide all they have in shadow roots, which no selector of the page enters.
_ALL = """
const found = [];
(function collect(root) {
  for (const element of root.querySelectorAll("*")) {
    if (element.checkVisibility && element.checkVisibility()) found.push(element);
    if (element.shadowRoot) collect(element.shadowRoot);
  }
})(document);
"""


@contextmanager
def tensorboard(logs: Path) -> Iterator[str]:
    """Start `tensorboard --logdir LOGS`; give its address once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", f"--logdir={logs}", "--host=127.0.0.1",
         f"--port={port}", "--reload_interval=1"],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            assert process.poll() is None and time.monotonic() < end
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/logdir", timeout=5):
                    break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def open_page(browser: Chrome, url: str, plugin: str, tags: str = "") -> None:
    """Open one of TensorBoard's pages, of tags that match an expression only."""
    browser.get("about:blank")  # else another fragment alone would not reload it
    browser.get(f"{url}/?tagFilter={tags}#{plugin}&tagFilter={tags}")


def texts(browser: Chrome) -> list[str]:
    return browser.execute_script(
        _ALL + "return found.flatMap(element => [...element.childNodes])"
        ".filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.textContent.trim())"
        ".filter(Boolean)"
    )


def elements(browser: Chrome, selector: str, script: str) -> list[Any]:
    """Return the value of a JavaScript expression of each visible `element` that is selected."""
    return browser.execute_script(
        _ALL + "return found.filter(element => element.matches(arguments[0]))"
        f".map(element => ({script}))",
        selector,
    )
