"""The direction of imports: each package knows those before it, and none after."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# What stands in one row does not know the others in it, but for the first rows, single modules.
LAYERS = (
    ("tfrecords",),
    ("errors",),
    ("geometry", "output_files", "protocol"),
    ("pictures",),
    ("command_line",),
    ("film",),
    ("conversion", "inspection", "disk_space"),
    ("runs",),
    ("model",),
    ("objectives", "exports"),
    ("evaluation", "server", "reassembly"),
    ("memory_report",),
    ("training",),
    ("train", "export", "evaluate", "report", "serve"),
)
PLACE = {name: number for number, names in enumerate(LAYERS) for name in names}
SOURCES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("bladerunner_ae", "tfrecords")
    for path in (ROOT / folder).rglob("*.py")
)


def room(module: str) -> str:
    """Returns the package or module of the first level that a dotted name belongs to."""
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "bladerunner_ae" else first


def imported(source: str) -> Iterator[str]:
    """Yields the dotted name of all that a source imports, in functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def ours(source: str) -> set[str]:
    """Returns the rooms that a source imports from."""
    roots = ("bladerunner_ae", "tfrecords", "tools", "benchmarks", "tests")
    return {room(name) for name in imported(source) if name.partition(".")[0] in roots} - {""}


@pytest.mark.parametrize("path", SOURCES)
def test_imports_go_one_way(path: str) -> None:
    own = room(path.removesuffix(".py").replace("/", "."))
    found = ours((ROOT / path).read_text("utf-8")) - {own, "__version__"}
    if own in ("__init__", "client"):  # clients know what is spoken, and nothing else
        assert found <= ({"errors", "protocol"} if own == "client" else set())
        return
    assert own in PLACE, f"{path}: say in LAYERS where it stands"
    later = {name for name in found if PLACE.get(name, len(LAYERS)) >= PLACE[own]}
    assert not later, f"{path} imports {', '.join(sorted(later))}, which come after {own}"


def test_an_import_against_the_direction_is_seen() -> None:
    source = "def f():\n    from bladerunner_ae.training import fit\nimport tools.make_film"
    assert ours(source) == {"training", "tools"}
