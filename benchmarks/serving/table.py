"""Markdown from the results of `serving.py`. Nothing here measures anything."""

import statistics
from typing import Any

Json = dict[str, Any]
GOALS = {"REST, JPEG": 2.0, "gRPC, uint8": 1.0, "gRPC, uint8, tensor_content": 1.0}


def percentile(values: list[float], share: float) -> float:
    """The value below which a share of all values lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(found: Json) -> str:
    """Returns everything that was measured."""
    machine = found["machine"]
    return "\n\n".join(
        [
            f"# Serving\n\nWritten by `{found['command']}` on {machine['cores']} cores of "
            f"{machine['processor']}. Clients and server are processes of their own on one "
            "machine and share its cores. Every request is one row; the model is a decoder of "
            f"{found['raster']}.",
            _overhead(found["overhead"]),
            _load(found["load"]),
        ]
    ) + "\n"  # fmt: skip


def _overhead(found: Json) -> str:
    lines = [
        "## What the way through the server costs\n\nOne client. Each round measures the call of "
        "the SavedModel within a process (`tf.saved_model.load`, its signature, `.numpy()`) and "
        "then the request to the server; from a client's call to its numpy array. Overhead is the "
        "difference of the two medians, the median of all rounds. Numbers come in fields of their "
        "own (`int_val`), as TensorFlow Serving sends them, or with `--prefer_tensor_content` as "
        "one block.\n",
        "| way | in process, p50 ms | served, p50 ms | overhead, p50 ms | goal, ms | rounds |",
        "|---|---|---|---|---|---|",
    ]
    for way, rounds in found.items():
        ours = [statistics.median(inside) * 1e3 for inside, _ in rounds]
        served = [statistics.median(outside) * 1e3 for _, outside in rounds]
        overhead = statistics.median(b - a for a, b in zip(ours, served, strict=True))
        goal = f"{GOALS[way]:g}" if way in GOALS else ""
        lines.append(
            f"| {way} | {statistics.median(ours):.2f} | {statistics.median(served):.2f} | "
            f"{overhead:.2f} | {goal} | {len(rounds)} |"
        )
    return "\n".join(lines)


def _load(found: list[Json]) -> str:
    lines = [
        "## Many clients\n\nEach sends its next request when it has the answer to the last.\n",
        "| way | batching | clients | p50 ms | p95 ms | p99 ms | requests/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in found:
        values = [value * 1e3 for value in cell["seconds_each"]]
        figures = " | ".join(f"{percentile(values, share):.1f}" for share in (0.5, 0.95, 0.99))
        lines.append(
            f"| {cell['way']} | {'on' if cell['batching'] else 'off'} | {cell['clients']} | "
            f"{figures} | {len(values) / cell['seconds']:.0f} |"
        )
    return "\n".join(lines)
