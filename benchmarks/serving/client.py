"""A process of `benchmarks.serving`: asks a server, or runs the model itself, again and again.

The first line chooses; each further one gives the time. Answers are seconds of each call.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def in_process(config: dict[str, Any]) -> Callable[[], object]:
    """Return a call of the SavedModel, as in a program that has loaded it."""
    import tensorflow as tf

    model = tf.saved_model.load(config["folder"])
    function = model.signatures[config["signature"]]
    (name,) = function.structured_input_signature[1]
    rows = latents(function.structured_input_signature[1][name].shape[1])

    def call() -> object:
        assert model is not None  # or its variables would be gone
        return {key: value.numpy() for key, value in function(**{name: tf.constant(rows)}).items()}

    return call


def served(config: dict[str, Any]) -> Callable[[], object]:
    """Return a request to the server."""
    from bladerunner_ae.client import connect

    client = connect(config["url"], config["model"], timeout=60.0)
    (name,) = client.signatures()[config["signature"]].inputs
    shape = client.signatures()[config["signature"]].inputs[name].shape
    rows = {name: latents(shape[1] if shape else None)}
    return lambda: client.predict(rows, config["signature"])


def latents(size: int | None) -> Any:
    """Return one row, different in each process."""
    return np.random.default_rng().normal(size=(1, size or 1)).astype(np.float32)


def measure(call: Callable[[], object], seconds: float, calls: int) -> list[float]:
    """Return seconds of each call, until the time is over or there are enough calls."""
    found = []
    end = time.perf_counter() + seconds
    while len(found) < calls and (start := time.perf_counter()) < end:
        call()
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    config = json.loads(sys.stdin.readline())
    call = served(config) if "url" in config else in_process(config)
    for _ in range(3):
        call()
    print("{}", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(measure(call, question["seconds"], question["calls"])), flush=True)


if __name__ == "__main__":
    main()
