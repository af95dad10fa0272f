"""The direction of imports: each package knows those before it, and no other."""

import ast
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT

# Packages and single modules; those that share a place do not know each other.
ORDER = (
    "tfrecords < errors < geometry output_files protocol < pictures < command_line < film < "
    "conversion inspection disk_space < runs < model < objectives exports < evaluation server "
    "reassembly < memory_report pipeline < training < train export evaluate report serve < "
    "tools benchmarks tests"
)
PLACE = {name: n for n, names in enumerate(ORDER.split(" < ")) for name in names.split()}
# Clients know what is spoken; the package itself names the public functions.
OTHERS = {"client": {"client", "errors", "protocol"}, "__init__": {"client", *PLACE} - {"tools"}}
SOURCES = [path for top in ("bladerunner_ae", "tfrecords") for path in (ROOT / top).rglob("*.py")]


def known(source: str) -> set[str]:
    """Return the packages and single modules of ours that a source imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            found |= {f"{module}.{name.name}" if module else name.name for name in node.names}
    return {name.removeprefix("bladerunner_ae.").split(".")[0] for name in found} & {
        "client",
        *PLACE,
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = str(path.relative_to(ROOT).with_suffix("")).removeprefix("bladerunner_ae/").split("/")[0]
    before = {name for name, place in PLACE.items() if place < PLACE.get(own, 0)}
    assert known(path.read_text("utf-8")) <= OTHERS.get(own, {own, *before}), "see ORDER"


def test_an_import_against_the_direction_is_seen() -> None:
    source = "def f():\n    from bladerunner_ae.training import fit\nimport tools.make_film"
    assert known(source) == {"training", "tools"}
