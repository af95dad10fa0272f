"""Files out of packages: archives are made here, downloads are played."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.films import material, packages
from benchmarks.films.packages import Package, PackageFile, extract, fetch
from bladerunner_ae.errors import OutputError

CONTENT = b"a picture"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def _tar(path: str, mode: str = "w:xz", content: bytes = CONTENT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo(path)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _deb(path: str, ending: str = "xz") -> bytes:
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": b"odd",
        f"data.tar.{ending}": _tar(path),
    }
    result = b"!<arch>\n"
    for name, content in members.items():
        result += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        result += content + b"\n" * (len(content) % 2)
    return result


def _wheel(path: str, content: bytes = CONTENT) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(path, content)
    return buffer.getvalue()


ARCHIVES = {
    "a_1_all.deb": (_deb("./usr/share/a.jpg"), "usr/share/a.jpg"),
    "a.whl": (_wheel("a/data/a.jpg"), "a/data/a.jpg"),
    "a.tar.gz": (_tar("a-1/a.jpg", "w:gz"), "a-1/a.jpg"),
    "nested.tar.gz": (
        _tar("a-1/more.zip", "w:gz", _wheel("in/a.jpg")), "a-1/more.zip!in/a.jpg",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_file_comes_out_of_every_kind_of_archive(name: str, tmp_path: Path) -> None:
    content, path = ARCHIVES[name]
    (tmp_path / name).write_bytes(content)
    extract(tmp_path / name, [PackageFile("a", path, SHA256)], tmp_path / "out")
    assert (tmp_path / "out/a.jpg").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ARCHIVES)
def test_another_file_of_that_name_is_refused(name: str, tmp_path: Path) -> None:
    content, path = ARCHIVES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OutputError, match=r"a\.jpg in .*wrong checksum"):
        extract(tmp_path / name, [PackageFile("a", path, "0" * 64)], tmp_path / "out")
    assert not (tmp_path / "out/a.jpg").exists()


@pytest.mark.parametrize("name", ["a_1_all.deb", "a.whl", "a.tar.gz"])
def test_a_missing_file_and_a_damaged_archive_are_named(name: str, tmp_path: Path) -> None:
    content, _ = ARCHIVES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OutputError, match=rf"{name}: .*b\.jpg"):
        extract(tmp_path / name, [PackageFile("a", "b.jpg", SHA256)], tmp_path / "out")
    (tmp_path / name).write_bytes(b"nothing of that kind")
    with pytest.raises(OutputError, match=f"{name}: .*remove it"):
        extract(tmp_path / name, [PackageFile("a", "b.jpg", SHA256)], tmp_path / "out")


def test_a_package_that_cannot_be_unpacked_here_says_so(tmp_path: Path) -> None:
    (tmp_path / "a_1_all.deb").write_bytes(_deb("./a.jpg", "zst"))
    with pytest.raises(OutputError, match=r"zstd; use the package of Debian 12"):
        extract(tmp_path / "a_1_all.deb", [PackageFile("a", "a.jpg", SHA256)], tmp_path / "out")


def _play_download(monkeypatch: pytest.MonkeyPatch, said: str = "") -> list[Sequence[str]]:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str], folder: Path) -> str:
        commands.append(command)
        if not said:
            (folder / "a-1-none.whl").write_bytes(CONTENT_OF_WHEEL)
        return said

    monkeypatch.setattr(packages, "_problem", run)
    return commands


CONTENT_OF_WHEEL = _wheel("a/a.jpg")
WHEEL = Package("a", "1", "PyPI", 1, hashlib.sha256(CONTENT_OF_WHEEL).hexdigest(), ("--x=y",))
FILE = PackageFile("a", "a/a.jpg", SHA256)


def test_a_package_is_fetched_once_and_again_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = _play_download(monkeypatch)
    for _ in range(2):
        assert fetch(WHEEL, [FILE], tmp_path) == [tmp_path / "a/a.jpg"]
    assert len(commands) == 1 and "--require-hashes" in commands[0] and "--x=y" in commands[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / "a/a.jpg").write_bytes(b"a pictura")
    fetch(WHEEL, [FILE], tmp_path)
    assert len(commands) == 2
    assert (tmp_path / "a/a.jpg").read_bytes() == CONTENT


def test_a_failed_download_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _play_download(monkeypatch, said="no network")
    with pytest.raises(OutputError, match="a could not be fetched: no network"):
        fetch(WHEEL, [FILE], tmp_path)
    assert [*tmp_path.glob("*/*")] == []


def test_any_version_of_debian_is_asked_for_after_the_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = _play_download(monkeypatch, said="E: Unable to locate package a")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(OutputError, match="Unable to locate package a; run `apt-get update`"):
        fetch(Package("a", "1", "Debian", 1), [FILE], tmp_path)
    assert [command[-1] for command in commands] == ["a=1", "a"]


def test_without_apt_get_a_package_put_there_by_hand_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    package, file = Package("a", "1", "Debian", 1), PackageFile("a", "usr/share/a.jpg", SHA256)
    with pytest.raises(OutputError, match=r"put a_1_all\.deb of Debian 12"):
        fetch(package, [file], tmp_path)
    (tmp_path / "a_1_all.deb").write_bytes(ARCHIVES["a_1_all.deb"][0])
    assert fetch(package, [file], tmp_path)[0].read_bytes() == CONTENT


def test_the_table_of_material_is_whole() -> None:
    materials = material.read_materials()
    assert {each.kind for each in materials} == {"photograph", "clip", "ship"}
    assert {each.file.package for each in materials} == {each.name for each in material.PACKAGES}
    for each in materials:
        assert len(bytes.fromhex(each.file.sha256)) == 32, each
        assert each.licence and each.author, each
    assert len({material.key(each.file) for each in materials}) == len(materials)
