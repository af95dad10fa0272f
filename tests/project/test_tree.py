"""The tree: what is where, what is imported late, and how files are called."""

import ast
import re
from collections import Counter

from tests.helpers.commands import ROOT

COMMANDS = {"train", "export", "evaluate", "report", "serve"}
SOURCES = [path for top in ("bladerunner_ae", "tfrecords") for path in (ROOT / top).rglob("*.py")]


def test_build_md_shows_the_tree() -> None:
    build = (ROOT / "BUILD.md").read_text("utf-8")
    (tree,) = re.findall(r"## Where things are\n.*?```\n(.*?)```", build, re.DOTALL)
    shown = set(re.findall(r"(?<!\S)(?:\w+/)*(\w+(?:/|\.py))(?!\S)", tree))
    package = [path for path in (ROOT / "bladerunner_ae").iterdir() if path.name[:2] != "__"]
    packages = [path for path in ROOT.iterdir() if (path / "__init__.py").exists()]
    there = {f"{path.name}{'/' * path.is_dir()}" for path in package + packages}
    assert there - {"py.typed"} <= shown
    assert not [
        name for name in shown if not any(ROOT.glob(f"[!.]*/**/{name}")) | (ROOT / name).exists()
    ]


def test_the_root_of_the_package_holds_twelve_modules() -> None:
    assert len(list((ROOT / "bladerunner_ae").glob("*.py"))) <= 12


def test_a_file_name_means_one_thing() -> None:
    others = [
        *ROOT.glob("benchmarks/**/*.py"),
        *ROOT.glob("tools/*.py"),
        *ROOT.glob("tests/helpers/*"),
    ]
    names = Counter(path.stem for path in [*SOURCES, *others])
    twice = {name for name, count in names.items() if count > 1}
    assert twice <= {"__init__", "__main__", "base"}


def test_few_of_our_modules_are_imported_in_functions() -> None:
    """Commands import TensorFlow late; anywhere else that hides a circle of modules."""
    late = set()
    for path in SOURCES:
        if path.stem in COMMANDS:
            continue
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                        ("bladerunner_ae", "tfrecords")
                    ):
                        late.add((path, node.module))
    assert len(late) <= 12, late
