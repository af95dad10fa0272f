"""The Makefile and tools/set_up.sh, with an interpreter that only records its arguments."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT

AWKWARD = """it's a "film" of $HOME & #1; é.mp4"""

# Plays python3.11: answers -c with a real Python, makes a virtual environment that holds a copy of
# itself, and writes everything else to calls.txt, one argument a line.
INTERPRETER = """\
#!/bin/sh
case "$1 $2" in
    "-c "*) exec {python} "$@" ;;
    "-m venv")
        mkdir -p "$3/bin"
        touch "$3/pyvenv.cfg"
        cp "$0" "$3/bin/python"
        exit ;;
    "-m pip")
        [ -f "$(dirname "$0")/../pyvenv.cfg" ] || exit 1
        [ "$3" = install ] || exit 0 ;;
esac
for argument in CALL "$@"; do printf '%s\\n' "$argument" >>calls.txt; done
case "$*" in
    *fetch_demo_film.py*) echo "the demo.mp4" ;;
    *make_film.py*) exit "${{TOOL_EXIT_CODE:-0}}" ;;
    *"pip install"*)
        [ -z "${{KILLED:-}}" ] || kill -9 "$PPID"
        exit "${{PIP_EXIT_CODE:-0}}" ;;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A checkout with a PATH of its own on which python3.11 is the interpreter above."""

    folder: Path
    programs: Path

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": "/nowhere",
            "PIP_NO_INDEX": "1",  # should a real interpreter be found by a fault, it stays offline
            **environment,
        }
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env=variables, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def calls(self) -> list[list[str]]:
        """Return the argument lists of the calls since the last time, oldest first."""
        path = self.folder / "calls.txt"
        if not path.exists():
            return []
        text = path.read_text(encoding="utf-8")
        path.unlink()
        return [call.splitlines() for call in text.split("CALL\n")[1:]]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / """the artist's "check out" é"""
    (folder / "tools").mkdir(parents=True)
    for name in ("Makefile", "setup.cfg", "setup.py", "pyproject.toml", "tools/set_up.sh"):
        shutil.copy(ROOT / name, folder / name)
    programs = tmp_path / "programs"
    programs.mkdir()
    _write_program(programs / "python3.11", INTERPRETER.format(python=shlex.quote(sys.executable)))
    _write_program(programs / "nvidia-smi", "#!/bin/sh\nexit 9\n")
    return Checkout(folder, programs)


def _write_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def test_set_up_installs_once(checkout: Checkout) -> None:
    first = checkout.make("set_up")
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    pip = "-m pip install --quiet --disable-pip-version-check --no-input --editable"
    assert checkout.calls() == [[*pip.split(), ".[cpu,perceptual,serve,dev]"]]
    second = checkout.make("set_up")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert checkout.calls() == []


def test_set_up_follows_the_requirements_and_the_place(checkout: Checkout) -> None:
    checkout.make("set_up")
    checkout.calls()
    os.utime(checkout.folder / "setup.cfg")
    checkout.make("set_up")
    assert checkout.calls() == [], "an unchanged file with a new date needs no installation"
    with (checkout.folder / "setup.cfg").open("a") as file:
        file.write("# one requirement more\n")
    checkout.make("set_up")
    assert len(checkout.calls()) == 1
    moved = Checkout(checkout.folder.rename(checkout.folder.parent / "moved"), checkout.programs)
    moved.make("set_up")
    assert len(moved.calls()) == 1, "an editable installation names its folder"


def test_set_up_resumes_after_a_failed_installation(checkout: Checkout) -> None:
    failed = checkout.make("film", "FILM=a.mp4", PIP_EXIT_CODE="1")
    assert failed.returncode != 0
    assert "error: pip could not install what is needed" in failed.stderr
    assert len(checkout.calls()) == 1, "nothing runs in a half-made environment"
    again = checkout.make("film", "FILM=a.mp4")
    assert again.returncode == 0, again.stderr
    assert [call[0] for call in checkout.calls()] == ["-m", "tools/make_film.py"]


def test_set_up_starts_over_after_a_kill(checkout: Checkout) -> None:
    """pip that is killed may leave half a package that it later takes for a whole one."""
    checkout.make("set_up", KILLED="yes")
    half_a_package = checkout.folder / ".venv" / "half"
    half_a_package.touch()
    assert checkout.make("set_up").returncode == 0
    assert len(checkout.calls()) == 2
    assert not half_a_package.exists()
    checkout.make("set_up")
    assert checkout.calls() == []


def test_set_up_installs_for_the_gpu_that_answers(checkout: Checkout) -> None:
    _write_program(checkout.programs / "nvidia-smi", "#!/bin/sh\nexit 0\n")
    _write_program(checkout.programs / "uname", "#!/bin/sh\necho Linux\n")
    checkout.make("set_up")
    assert checkout.calls()[0][-1] == ".[gpu,perceptual,serve,dev]"
    _write_program(checkout.programs / "nvidia-smi", "#!/bin/sh\nexit 9\n")
    checkout.make("set_up")
    assert checkout.calls() == [], "a GPU that is busy today is no reason to install again"
    left = checkout.folder / ".venv" / "left"
    left.touch()
    checkout.make("set_up", "TENSORFLOW=cpu")
    assert checkout.calls()[0][-1] == ".[cpu,perceptual,serve,dev]"
    assert not left.exists(), "the other TensorFlow must not stay"


def test_set_up_keeps_a_foreign_environment(checkout: Checkout) -> None:
    checkout.make("set_up")
    (checkout.folder / ".venv" / ".installed").unlink()
    kept = checkout.folder / ".venv" / "kept"
    kept.touch()
    checkout.make("set_up")
    assert kept.exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 127", "no Python 3.11, 3.12 or 3.13 found"),
        ('case "$2" in *ensurepip*) exit 1 ;; esac', "python3.11 has no venv module"),
    ],
)
def test_set_up_names_what_is_missing(checkout: Checkout, script: str, words: str) -> None:
    for name in ("python3.11", "python3.12", "python3.13", "python3", "python"):
        _write_program(checkout.programs / name, f"#!/bin/sh\n{script}\n")
    result = checkout.make("test")
    assert result.returncode != 0
    errors = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "make PYTHON=/path/to/python3.11" in errors[0]


def test_set_up_takes_the_python_it_is_told(checkout: Checkout, tmp_path: Path) -> None:
    chosen = tmp_path / "my pythons" / "python3"
    chosen.parent.mkdir()
    shutil.copy(checkout.programs / "python3.11", chosen)
    _write_program(checkout.programs / "python3.11", "#!/bin/sh\nexit 1\n")
    assert checkout.make("set_up", f"PYTHON={chosen}").returncode == 0
    result = checkout.make("set_up", "PYTHON=/bin/false", "VENV=other")
    assert "error: PYTHON=/bin/false is no Python 3.11, 3.12 or 3.13 that runs" in result.stderr


def test_set_up_does_not_go_on_with_another_python(checkout: Checkout, tmp_path: Path) -> None:
    """`make test` and then `PYTHON=python3.13 make test`."""
    checkout.make("set_up")
    checkout.calls()
    same = checkout.make("set_up", f"PYTHON={sys.executable}")
    assert (same.returncode, same.stderr, checkout.calls()) == (0, "", [])
    # As a shim does for a version that is installed but not chosen.
    _write_program(checkout.programs / "python3.13", "#!/bin/sh\necho no such version; exit 127\n")
    shim = checkout.make("film", "FILM=a.mp4", "PYTHON=python3.13")
    assert shim.returncode != 0 and "error: PYTHON=python3.13 is no Python" in shim.stderr
    assert checkout.calls() == []
    other = tmp_path / "other" / "python3"
    script = INTERPRETER.format(python=shlex.quote(sys.executable))
    says_who_it_is = """case "$2" in *base_prefix*) echo another; exit ;; esac\ncase"""
    _write_program(other, script.replace("case", says_who_it_is, 1))
    left = checkout.folder / ".venv" / "left"
    left.touch()
    result = checkout.make("set_up", f"PYTHON={other}")
    assert result.returncode == 0 and "is of another Python" in result.stderr
    assert not left.exists() and len(checkout.calls()) == 1
    (checkout.folder / ".venv" / ".installed").unlink()
    result = checkout.make("set_up", f"PYTHON={sys.executable}")
    assert result.returncode != 0 and "was not made by make: remove it" in result.stderr
    assert checkout.calls() == []


def test_film_passes_its_variables_on_to_the_letter(checkout: Checkout) -> None:
    result = checkout.make("film", f"FILM={AWKWARD}", "OUT=my $out's")
    assert result.returncode == 0, result.stderr
    tool = "tools/make_film.py"
    assert checkout.calls()[-1] == [tool, f"--film={AWKWARD}", "--output_dir=my $out's"]
    checkout.make("film", "FILM=~/a.mp4", "HOLDOUT=0.1", "PRESET=base", "STEPS=20")
    flags = ["--output_dir=out", "--holdout=0.1", "--preset=base", "--steps=20"]
    assert checkout.calls()[-1] == [tool, "--film=/nowhere/a.mp4", *flags]
    checkout.make("film", "FILM=a.mp4", "MINUTES=60")
    checkout.make("film", "FILM=a.mp4", "EPOCHS=2.5")
    checkout.make("film", "FILM=a.mp4", "MEMORY=0.25")
    asked = [call[-1] for call in checkout.calls()[-3:]]
    assert asked == ["--minutes=60", "--epochs=2.5", "--memory=0.25"]


def test_film_without_a_film_fetches_the_demo(checkout: Checkout) -> None:
    checkout.make("film")
    assert [call[:2] for call in checkout.calls()[1:]] == [
        ["tools/fetch_demo_film.py"],
        ["tools/make_film.py", "--film=the demo.mp4"],
    ]


def test_a_failing_tool_fails_the_target(checkout: Checkout) -> None:
    checkout.make("set_up")
    result = checkout.make("film", "FILM=a.mp4", TOOL_EXIT_CODE="2")
    assert result.returncode != 0
    assert len(result.stderr.splitlines()) == 1, "one line of make's own at most"


def test_clean_spares_what_people_made(checkout: Checkout) -> None:
    checkout.make("set_up")
    for name in ("out/film/autoencoded.mp4", "data/film/film.json", ".cache/film.mp4", "build/x"):
        path = checkout.folder / name
        path.parent.mkdir(parents=True)
        path.touch()
    checkout.make("clean")
    kept = [name for name in ("out", "data", ".cache", ".venv", "build")
            if (checkout.folder / name).exists()]  # fmt: skip
    assert kept == ["out", "data", ".cache", ".venv"]
    checkout.make("distclean")
    kept = [name for name in kept if (checkout.folder / name).exists()]
    assert kept == ["out", "data"]


def test_help_lists_the_targets(checkout: Checkout) -> None:
    result = checkout.make()
    assert result.returncode == 0
    for target in ("film", "test", "slow", "lint", "clean"):
        assert f"\n{target} " in "\n" + result.stdout
    assert checkout.calls() == []
