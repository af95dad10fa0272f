"""The direction of imports: each package knows those in places before its own, and no other."""

import ast

from tests.helpers.commands import ROOT

ORDER = (
    "tfrecords < errors < geometry output_files protocol < pictures < command_line < film < "
    "conversion inspection disk_space < runs < model < objectives exports < evaluation server "
    "reassembly < memory_report pipeline < training < train export evaluate report serve < "
    "tools benchmarks tests"
)
PLACE = {name: n for n, names in enumerate(ORDER.split(" < ")) for name in names.split()}
# Clients know what is spoken; the package itself names the public functions.
OTHERS = {"client": {"client", "errors", "protocol"}, "__init__": {"client", *PLACE} - {"tools"}}


def known(source: str) -> set[str]:
    """Return the packages and single modules of ours that a source imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {f"{getattr(node, 'module', '')}.{one.name}".strip(".") for one in node.names}
    return {name.removeprefix("bladerunner_ae.").split(".")[0] for name in found} & {
        "client",
        *PLACE,
    }


def test_every_package_has_its_place() -> None:
    found = [path for path in (ROOT / "bladerunner_ae").iterdir() if path.suffix in ("", ".py")]
    names = {path.stem for path in found} - {"__pycache__"}
    assert names == (PLACE.keys() | OTHERS.keys()) - {"tfrecords", "tools", "benchmarks", "tests"}


def test_no_tool_imports_another() -> None:
    for path in ROOT.glob("tools/*.py"):
        assert not known(path.read_text("utf-8")) & {"tools", "benchmarks", "tests"}, path
    for path in ROOT.glob("benchmarks/**/*.py"):
        assert "tools" not in known(path.read_text("utf-8")), path


def test_imports_go_one_way() -> None:
    for path in [*ROOT.glob("bladerunner_ae/**/*.py"), *ROOT.glob("tfrecords/**/*.py")]:
        own = path.relative_to(ROOT).as_posix().removeprefix("bladerunner_ae/")
        own = own.removesuffix(".py").split("/")[0]
        before = {name for name, place in PLACE.items() if place < PLACE.get(own, 0)}
        wrong = known(path.read_text("utf-8")) - OTHERS.get(own, {own, *before})
        assert not wrong, f"{path} imports {wrong}; ORDER says what {own} may import"


def test_an_import_against_the_direction_is_seen() -> None:
    assert known("def f():\n    from bladerunner_ae.training import fit") == {"training"}
