"""The Markdown that benchmarks write, and the help of each of them."""

from pathlib import Path

import pytest

from benchmarks.markdown import (
    median_and_spread,
    median_ratio,
    numbers,
    publish,
    replace_between,
    table,
)
from tests.helpers.commands import ROOT, run_python

COMMANDS = sorted(path.parent.name for path in ROOT.glob("benchmarks/*/__main__.py"))
# TensorFlow cannot be imported, so that a help that needs it fails.
HELP = """
import os, runpy, sys
import av, numpy
sys.modules["tensorflow"] = sys.modules["keras"] = None
for module in sys.argv[1:]:
    if not os.fork():
        sys.argv[1:] = ["--help"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not os.wait()[1], module
"""


def test_a_table_has_a_rule_for_each_column() -> None:
    assert table(["film", "dB"], [["a", 1], ["b", 2.5]]) == [
        "| film | dB |",
        "|---|---|",
        "| a | 1 |",
        "| b | 2.5 |",
    ]
    assert table(["a", "b"], [], " --- ")[1] == "| --- | --- |"
    assert table(["a", "b", "c"], [], numbers(2))[1] == "|---|---:|---:|"


def test_figures_are_medians_with_their_spread() -> None:
    assert median_and_spread([28.0, None, 30.5, 29.0], 2) == "29.00 (2.50)"
    assert median_and_spread([28.0], 1) == "28.0" and median_and_spread([None], 1) == "-"
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 4.0]) == 2.0


def test_the_rest_of_a_page_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = replace_between("head <b>old<e> tail", "<b>", "<e>", "new\n")
    assert page == "head <b>\nnew\n<e> tail"
    publish(page, tmp_path / "docs" / "page.md")
    assert (tmp_path / "docs" / "page.md").read_text() == capsys.readouterr().out == f"{page}\n"


def test_help_needs_no_tensorflow() -> None:
    modules = [f"benchmarks.{name}" for name in (*COMMANDS, "ablation.camera", "demo.picture")]
    done = run_python("-c", HELP, *modules)
    assert done.returncode == 0, done.stderr
    for module in modules:
        assert f"python -m {module} " in done.stdout
