"""A process of `benchmarks.gpu`: a trainer of `base` on the card, each step timed and read back.

One JSON object a line comes in and one goes out, as in `benchmarks.training.ours`. The first builds
the trainer, the next ones ask:

  {"pace": batch, "steps": n, "turns": n, "progress": 0..1}   seconds of a step in each turn, the
                     most memory of the card; at that part of a run
  {"profile": n, "batch": batch, "progress": 0..1}            seconds of each kernel of the card
"""

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.runs import Json
from benchmarks.training.ours import Ours
from bladerunner_ae.training.distributed import devices

_KINDS = {
    "convolutions and matrix products": (
        "conv", "gemm", "xmma", "cutlass", "dgrad", "wgrad", "fprop", "implicit", "nvjet", "cudnn_",
        "sm90_", "sm80_", "sm86_",
    ),
    "copies": ("memcpy", "memset"),
    "change of layout": (
        "transpose", "nchwtonhwc", "nhwctonchw", "swapdimension", "tensortransform",
    ),
}  # fmt: skip


class OnCard(Ours):
    """A trainer and the first frames of a film, as many as asked for."""

    def __init__(self, asked: Json) -> None:
        devices.choose_device(asked["device"])
        super().__init__(asked)
        self._images = next(iter(self.batch))["image"]
        self.trainer.make_train_function()

    def describe(self) -> Json:
        """Return what it runs on."""
        cards = tf.config.get_visible_devices("GPU")
        details = tf.config.experimental.get_device_details(cards[0]) if cards else {}
        capability = details.get("compute_capability")
        built = tf.sysconfig.get_build_info()
        return {
            "card": details.get("device_name"),
            "capability": ".".join(map(str, capability)) if capability else None,
            "tensorflow": tf.__version__,
            "built_with": {name: built.get(f"{name}_version") for name in ("cuda", "cudnn")},
            "precision": self.config.train.precision,
        }

    def pace(self, batch: int, steps: int, turns: int, progress: float) -> Json:
        """Return seconds, losses and memory of steps of `batch` frames."""
        forget_memory()
        step = self._stepper(batch, progress)
        begun = time.perf_counter()
        losses = [step()]
        first = time.perf_counter() - begun
        losses.append(step(5))
        seconds = []
        for _ in range(turns):
            begun = time.perf_counter()
            losses.append(step(steps))
            seconds.append((time.perf_counter() - begun) / steps)
        return {
            "batch": batch,
            "first_step": first,
            "seconds": seconds,
            "loss": losses,
            "peak_gib": most_memory(),
        }

    def _stepper(self, batch: int, progress: float) -> Any:
        """Return a function that takes steps and reads the last one's loss back."""
        frames = tf.data.Dataset.from_tensors({"image": self._images[:batch]}).repeat()
        iterator = iter(frames.prefetch(tf.data.AUTOTUNE))
        self.trainer.decoder_optimizer.iterations.assign(int(progress * self.config.train.steps))

        def step(count: int = 1) -> float:
            for _ in range(count):
                logs = self.trainer.train_function(iterator)
            return float(logs["loss/decoder"])

        return step

    def kernels(self, batch: int, count: int, progress: float) -> Json:
        """Return seconds a step of each kernel of the card, and of the step by the clock."""
        from tensorflow.tsl.profiler.protobuf import xplane_pb2

        step = self._stepper(batch, progress)
        step(5)
        with tempfile.TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder)
            begun = time.perf_counter()
            step(count)
            wall = time.perf_counter() - begun
            tf.profiler.experimental.stop()
            (file,) = Path(folder).rglob("*.xplane.pb")
            space = xplane_pb2.XSpace.FromString(file.read_bytes())
        times: Counter[str] = Counter()
        for plane in (plane for plane in space.planes if plane.name.startswith("/device:GPU")):
            for line in (line for line in plane.lines if line.name.startswith("Stream")):
                for event in line.events:
                    name = plane.event_metadata[event.metadata_id].name
                    times[name] += event.duration_ps / 1e12 / count
        kinds: Counter[str] = Counter()
        for name, seconds in times.items():
            kinds[kind_of(name)] += seconds
        return {
            "batch": batch,
            "step": wall / count,
            "kinds": dict(kinds.most_common()),
            "kernels": dict(times.most_common(25)),
        }


def kind_of(kernel: str) -> str:
    """Return what a kernel of that name does."""
    name = kernel.lower()
    for kind in ("change of layout", "copies", "convolutions and matrix products"):
        if any(part in name for part in _KINDS[kind]):
            return kind
    return "all else"


def forget_memory() -> None:
    """Reset the count of the card's memory."""
    if tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats("GPU:0")


def most_memory() -> float | None:
    """Return the peak GiB of the card since then; None without a card."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30


def answer(ours: OnCard, asked: Json) -> Json:
    """Answer one line; a batch that does not fit is an answer too."""
    try:
        if "pace" in asked:
            return ours.pace(asked["pace"], asked["steps"], asked["turns"], asked["progress"])
        return ours.kernels(asked["batch"], asked["profile"], asked["progress"])
    except tf.errors.ResourceExhaustedError:
        return {"error": "out of memory"}


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr
    ours = OnCard(json.loads(sys.stdin.readline()))
    print(json.dumps(ours.describe()), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(ours, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
