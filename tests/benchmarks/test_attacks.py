"""Hostile requests to a server of real models: others are answered all the while."""

from pathlib import Path

import pytest

from benchmarks.attacks.__main__ import ATTACKS, measure, page
from tests.helpers.running_server import running_server

# Statuses that hostile clients may get; 504 where reading their pictures takes too long.
REFUSED = {
    "pictures": {"400"},
    "alpha": {"200", "503", "504"},
    "lists": {"413", "BrokenPipeError", "ConnectionResetError"},
    "floats": {"413", "BrokenPipeError", "ConnectionResetError"},
    "objects": {"413", "503"},
    "packed": {"413"},
    "stalled": {"503", "408", "TimeoutError", "BrokenPipeError", "ConnectionResetError"},
    "messages": {"INVALID_ARGUMENT", "UNAVAILABLE", "DEADLINE_EXCEEDED"},
    "answers": {"200", "503", "504"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"none"}))
def test_attacks(tiny_export: Path, tmp_path: Path, name: str) -> None:
    """The good client is always answered, and memory stays within the limits' sum."""
    with running_server(tiny_export, tmp_path) as server:
        quiet = measure(server, "none", 1.0)
        found = measure(server, name, 40.0)
        assert "Traceback" not in server.log.read_text("utf-8")
    assert not found["failures"] and len(found["good"]) > 3, found
    assert found["memory"] - quiet["memory"] < 2 << 30
    assert set(found["answers"]) <= REFUSED[name], found["answers"]
    assert sum(found["answers"].values()) == ATTACKS[name][1]
    assert f"| {found['attack']} |" in page("command", [found])
