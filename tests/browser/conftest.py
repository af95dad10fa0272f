"""Fixtures of the tests in a browser, which are skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, and skips them without a browser."""
    here = Path(__file__).parent
    missing = find_spec("selenium") is None or chromium.program() is None
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if missing:
                item.add_marker(pytest.mark.skip(reason="needs make browser_test"))


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the browser's downloads."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads: Path) -> Iterator[Chrome]:
    """A browser of the size of a small desktop."""
    with chromium.open_browser(downloads) as found:
        yield found


@pytest.fixture(autouse=True)
def desktop_size(request: pytest.FixtureRequest) -> None:
    """Undo what a test before did to the browser's size."""
    if "browser" in request.fixturenames:
        chromium.set_size(request.getfixturevalue("browser"), 1440, 900)
