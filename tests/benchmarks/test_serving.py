"""The benchmark of serving: its sums, and that it runs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.serving.__main__ import page, percentile
from benchmarks.serving.client import measure
from tests.helpers.commands import ROOT, Result, environment

FOUND = {
    "command": "python -m benchmarks.serving",
    "machine": "2 cores of P",
    "raster": "72x128",
    "overhead": {
        "REST, JPEG": [[[0.004, 0.005, 0.009], [0.006, 0.0065, 0.02]], [[0.005], [0.007]],
                       [[0.006], [0.0071]]],
    },
    "load": [{"way": "gRPC, uint8", "batching": True, "clients": 8, "seconds": 2.0,
              "seconds_each": [0.001 * value for value in range(1, 101)]}],
}  # fmt: skip


def test_percentiles() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [51, 96, 100]
    assert percentile([7.0], 0.99) == 7.0


def test_the_table() -> None:
    text = page(FOUND)
    assert "Written by `python -m benchmarks.serving` on 2 cores of P." in text
    # Medians of the rounds are 5, 5, 6 and 6.5, 7, 7.1 ms; their differences 1.5, 2, 1.1.
    assert "| REST, JPEG | 5.00 | 7.00 | 1.50 | 2 | 3 |" in text
    assert "| gRPC, uint8 | on | 8 | 51.0 | 96.0 | 100.0 | 50 |" in text


def test_measuring_ends_in_time_or_after_enough_calls() -> None:
    assert len(measure(lambda: None, 60.0, 5)) == 5
    found = measure(lambda: time.sleep(0.02), 0.05, 1000)
    assert 1 <= len(found) <= 3 and min(found) >= 0.02


@pytest.mark.slow
def test_it_runs(trained_run: tuple[Path, Result], tmp_path: Path) -> None:
    output = tmp_path / "serving.md"
    command = [sys.executable, "-m", "benchmarks.serving", "--quick",
               f"--model={trained_run[0]}/export/decoder", f"--output={output}"]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = output.read_text("utf-8")
    assert text == done.stdout and "the model is a decoder of 24x32" in text
    assert text.count("| REST, JPEG |") == 5 and text.count("| gRPC, uint8 |") == 5
