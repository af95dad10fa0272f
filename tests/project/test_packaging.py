"""The content of the wheel, the help of its commands, and what must never be in the tree."""

from __future__ import annotations

import configparser
import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import bladerunner_ae
from tests.helpers.commands import ROOT

TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py") if path.name != "__init__.py")


def _setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _entry_points() -> dict[str, str]:
    """Return {command: "module:function"} as setup.cfg says."""
    lines = _setup_cfg()["options.entry_points"]["console_scripts"].split("\n")
    pairs = (line.split("=") for line in lines if line.strip())
    return {name.strip(): target.strip() for name, target in pairs}


def _project_files() -> list[Path]:
    """Return the files under version control; without git, all that look like it."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
        listing = subprocess.run([*command, "--exclude-standard"], capture_output=True, check=True)
        paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
        return [path for path in paths if path.is_file()]
    found = []
    for folder, folders, names in os.walk(ROOT):
        left_out = ("build", "dist", "out", "data", "__pycache__")
        folders[:] = [
            name
            for name in folders
            if name not in left_out and name[0] != "." and not name.endswith(".egg-info")
        ]
        found += [Path(folder, name) for name in names]
    return found


def _run(arguments: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment | variables, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: building in the checkout itself would leave files there."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    for path in _project_files():
        target = tree / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tree


@pytest.fixture(scope="module")
def wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("this environment's setuptools is too old to build with; make set_up")
    folder = tmp_path_factory.mktemp("wheel")
    result = _run(
        ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation",
         "--wheel-dir", str(folder), str(source_tree)],
        cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return next(folder.glob("*.whl"))


def _metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.BytesParser().parsebytes(archive.read(name))


def test_wheel_holds_the_code_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("bladerunner_ae", "tfrecords")
        for pattern in ("*.py", "py.typed", "page/*", "page_files/*")
        for path in (ROOT / package).rglob(pattern)
    }
    expected |= {f"bladerunner_ae_tools/{name}" for name in ["__init__.py", *TOOLS]}
    assert names == expected


def test_wheel_metadata(wheel: Path) -> None:
    metadata = _metadata(wheel)
    assert metadata["Name"] == "bladerunner_ae"
    assert metadata["Version"] == bladerunner_ae.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert set(metadata.get_all("Provides-Extra") or []) == {
        "az", "beam", "cpu", "dev", "gpu", "gs", "hf", "io", "perceptual", "s3", "serve",
    }  # fmt: skip
    requirements = metadata.get_all("Requires-Dist") or []
    always = [requirement for requirement in requirements if "extra ==" not in requirement]
    assert any(requirement.startswith("moviepy") for requirement in always)
    assert not any(requirement.startswith("tensorflow") for requirement in always)


def test_wheel_runs_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import sys, bladerunner_ae, tfrecords; sys.argv = ['a-command', '--help'];"
        "assert 'site' in bladerunner_ae.__file__, bladerunner_ae.__file__;"
        "from bladerunner_ae_tools.fetch_demo_film import cli; cli()"
    )
    result = _run(["-c", program], cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert result.returncode == 0, result.stderr
    assert "Flags of a-command:\n  --cache_dir" in result.stdout


@pytest.mark.slow
def test_release_builds_from_its_own_source_distribution(source_tree: Path, tmp_path: Path) -> None:
    """The wheel is built out of the source distribution, in isolation: needs the network."""
    result = _run(["-m", "build", "--outdir", str(tmp_path), str(source_tree)], cwd=tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    test_wheel_holds_the_code_and_nothing_else(next(tmp_path.glob("*.whl")))
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("LICENSE", "BUILD.md", "Makefile", ".ci/run", "tools/set_up.sh",
                 "tests/conftest.py", "tests/project/test_packaging.py"):  # fmt: skip
        assert name in names


def _lower_bounds(lines: str) -> dict[str, set[Version]]:
    """Return {package: the versions that it may not be older than} of requirements."""
    found: dict[str, set[Version]] = {}
    for line in lines.splitlines():
        if line.strip() and not line.startswith("#"):
            needed = Requirement(line)
            bounds = [one.version for one in needed.specifier if one.operator in (">=", "==")]
            found.setdefault(needed.name, set()).update(map(Version, bounds))
    return found


def test_the_oldest_versions_are_what_is_tested() -> None:
    """`make oldest_test` installs requirements/oldest.txt: every lower bound, and nothing else."""
    extras = _setup_cfg()["options.extras_require"]
    needed = _setup_cfg()["options"]["install_requires"]
    needed += "".join(extras[name] for name in ("cpu", "gpu", "perceptual", "serve", "dev"))
    oldest = _lower_bounds((ROOT / "requirements" / "oldest.txt").read_text("utf-8"))
    assert _lower_bounds(needed) == {"tensorflow": oldest["tensorflow-cpu"], **oldest}
    beam = _lower_bounds((ROOT / "requirements" / "beam.txt").read_text("utf-8"))
    beam.pop("apache-beam")
    assert beam == {name: oldest[name] for name in beam}


def test_readme_names_the_versions_that_were_tested() -> None:
    """`.ci/run` writes requirements/tested.txt; who commits it brings README up to date."""
    tested = (ROOT / "requirements" / "tested.txt").read_text("utf-8")
    assert tested.count("\n# Python ") == 2 and "://" not in tested and " @ " not in tested
    sentence = re.search(r"^Tested with .+$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sentence
    named = set(re.findall(r"[0-9]+\.[0-9.]*[0-9]", sentence[0]))
    pins = re.findall(r"^(?:# Python |(?:tensorflow_cpu|keras|av)==)(.+)$", tested, re.MULTILINE)
    assert named == set(pins)


def test_licence_is_the_whole_text() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability." in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_entry_points_exist_and_share_a_process() -> None:
    """All in one process: a flag that is defined at import would be defined twice."""
    checks = []
    for target in _entry_points().values():
        module, _, function = target.replace("bladerunner_ae_tools", "tools").partition(":")
        checks.append(f"from {module} import {function}; assert callable({function})")
    result = _run(["-c", "\n".join(checks)], cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_every_tool_is_an_entry_point() -> None:
    """The demo film is for the checkout only: an installed command would litter any folder."""
    targets = {target.partition(":")[0] for target in _entry_points().values()}
    named = {f"bladerunner_ae_tools.{Path(name).stem}" for name in TOOLS}
    assert named - targets == {"bladerunner_ae_tools.fetch_demo_film"}


def _commands() -> list[str]:
    modules = (target.partition(":")[0] for target in _entry_points().values())
    return [*(f"tools/{name}" for name in TOOLS),
            *(name for name in modules if name.startswith("bladerunner_ae."))]  # fmt: skip


@pytest.mark.parametrize("command", _commands())
def test_help_exits_0_and_shows_examples(command: str, tmp_path: Path) -> None:
    if command.endswith(".py"):  # from any folder, installed or not
        result = _run([str(ROOT / command), "--help"], cwd=tmp_path)
        example = f"python {command}"
    else:
        result = _run(["-m", command, "--help"], cwd=ROOT)
        example = f"python -m {command}"
    assert result.returncode == 0, result.stderr
    text, _, listed_flags = result.stdout.partition("Flags of ")
    assert re.search(r"^Examples?:$", text, re.MULTILINE)
    assert example in text
    assert "\n  --" in listed_flags
    assert "Traceback" not in result.stderr


def test_importing_the_packages_is_cheap() -> None:
    program = (
        "import sys, bladerunner_ae, bladerunner_ae.command_line.app;"
        "import bladerunner_ae.command_line.progress, tfrecords;"
        "print(sorted({'tensorflow', 'keras', 'numpy', 'moviepy', 'av'} & set(sys.modules)))"
    )
    assert _run(["-c", program], cwd=ROOT).stdout == "[]\n"


def test_no_file_names_a_registry_or_a_developers_folder() -> None:
    """Dependencies are asked for by name only, and paths are relative.

    One letter of each pattern stands in brackets, so that this file does not match itself.
    """
    pattern = re.compile(
        r"py[p]i\.org|python[h]osted\.org|index-[u]rl|registry\.[n]pmjs|conda\.[a]naconda"
        r"|/[h]ome/\w|/[U]sers/\w|/[r]oot/\w|/[w]ork/\w|/tmp/[w]/"
    )
    found = []
    for path in _project_files():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
            for number, line in enumerate(lines, 1)
            if pattern.search(line)
        ]
    assert found == []
