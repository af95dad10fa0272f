"""Records to inspect."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.small_records import write_numbered_film


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames in four shards of ten."""
    folder = tmp_path_factory.mktemp("whole") / "film"
    write_numbered_film(folder, 40)
    return folder


@pytest.fixture
def film(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "film"))
