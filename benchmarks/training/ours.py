"""Our side of `benchmarks.training`, in processes of its own.

One JSON object a line comes in and one goes out. The first describes the trainer to build:

  {"preset": ..., "objective": ..., "precision": ..., "batch": ..., "records": FOLDER, "jit": ...}

and each of the next is a question:

  {"steps": n}                 trains on one batch again and again: the seconds of each step
  {"parity": NPZ}              writes weights, inputs and outputs for the PyTorch twin
  {"loop": n, "run": FOLDER}   n steps as `bladerunner_ae.train` takes them: the same
  {"peak": n}                  n steps on one batch: the most MiB that this process ever held
  {"operations": true}         of a forward pass and of a step, counted in their graphs, per frame
  {"profile": n}               n steps under TensorFlow's profiler: seconds of each operation
"""

import dataclasses
import functools
import json
import math
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.runs import Json
from bladerunner_ae.model import pixels
from bladerunner_ae.objectives import Batch, make_objective
from bladerunner_ae.runs.config import ModelConfig, TrainConfig
from bladerunner_ae.runs.fields import to_json
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.presets import PRESETS
from bladerunner_ae.runs.run_config import Reading, RunConfig
from bladerunner_ae.runs.training_set import film_parts
from bladerunner_ae.training import fit as training
from bladerunner_ae.training.distributed import devices
from tfrecords.card import load_card
from tfrecords.reader import mixed_frames
from tfrecords.storage import location

_EVER = 10**6


class Clock(keras.callbacks.Callback):
    """The end of each step, the work of the callbacks before it included."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Json | None = None) -> None:
        self.ends.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Return those of each step but the first, whose beginning was not seen."""
        return np.diff(self.ends).tolist()


class Ours:
    """A trainer of a preset on the records of a film, and one batch of them."""

    def __init__(self, asked: Json) -> None:
        self._records = location(asked["records"])
        card, preset = load_card(self._records), PRESETS[asked["preset"]]
        objective = make_objective(asked["objective"], asked.get("weights"))
        height, width = asked.get("raster") or (card.height, card.width)
        train = {**preset.train, "steps": _EVER, "batch_size": asked["batch"]}
        train["augment"] = asked.get("augment", train.get("augment", 0.0))
        precision = devices.choose_precision(asked["precision"])
        self.config = RunConfig(
            preset=asked["preset"],
            objective=asked["objective"],
            weights=dataclasses.asdict(objective),  # type: ignore[call-overload]
            model=ModelConfig(height=height, width=width, **preset.model).resolve(),
            train=TrainConfig(**train, precision=precision, jit=asked.get("jit", "off")),
            films=(FilmUse("film", card.film_id, card.frames),),
            reading=Reading(),
        )
        self.trainer = training.build_trainer(self.config)
        self._asked = asked

    def describe(self) -> Json:
        """Return what the PyTorch twin needs to know."""
        return {
            "model": to_json(self.config.model),
            "weights": self.config.weights,
            "precision": self.config.train.precision,
            "tensorflow": tf.__version__,
        }

    @functools.cached_property
    def batch(self) -> tf.data.Dataset:
        """The first batch of training, repeated; at another raster, enlarged."""
        batches = mixed_frames(
            film_parts(self.config, [self._records]),
            batch_size=self.config.train.batch_size,
            seed=0,
            in_memory=True,
        )
        size = (self.config.model.height, self.config.model.width)

        def enlarged(batch: Json) -> Json:
            images = tf.image.resize(batch["image"], size)
            return {**batch, "image": tf.cast(tf.round(images), tf.uint8)}

        if self._asked.get("raster"):
            batches = batches.map(enlarged)
        return batches.take(1).cache().repeat()

    def steps(self, count: int) -> list[float]:
        """Return the seconds of `count` steps on the one batch."""
        clock = Clock()
        self.trainer.fit(
            self.batch, steps_per_epoch=count + 1, verbose=0, shuffle=False, callbacks=[clock]
        )
        return clock.seconds()

    def loop(self, count: int, run: str) -> list[float]:
        """Return the seconds of `count` steps of training as `bladerunner_ae.train` runs it.

        Checkpoints and pictures come as often as the preset says, and with the last step.
        """
        clock, done = Clock(), self.trainer.steps_done
        fit = type(self.trainer).fit

        def timed(*args: Any, callbacks: Any, **options: Any) -> Any:
            return fit(self.trainer, *args, callbacks=[*callbacks, clock], **options)

        train = dataclasses.replace(self.config.train, steps=done + count + 1)
        config = dataclasses.replace(self.config, train=train)
        self.trainer.fit = timed
        try:
            training.fit(self.trainer, config, [self._records], location(run), done)
        finally:
            del self.trainer.fit
        return clock.seconds()

    def peak(self, count: int) -> float:
        """Return the peak memory of this process in MiB, after `count` steps."""
        self.steps(count)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def parity(self, path: str) -> Json:
        """Write what the twin is compared with; return nothing."""
        networks = self.trainer.networks
        whole = next(iter(self.batch))["image"].numpy()
        images = whole[:2]
        noise = np.random.default_rng(0).normal(
            size=(2, len(images), self.config.model.latent_size)
        )
        epsilon, prior = noise.astype(np.float32)
        batch = Batch(pixels.to_float(images), epsilon, prior, tf.constant(0, tf.int64))
        outcome = make_objective(self.config.objective, self.config.weights)(networks, batch)
        mean, log_var = networks.encoder(batch.images)
        expected = {"mean": mean, "log_var": log_var, "picture": networks.decoder(mean)}
        expected |= {f"loss_{name}": tf.reduce_mean(loss) for name, loss in outcome.losses.items()}
        weights = {
            f"{name}/{variable.path}": variable.numpy()
            for name, player in networks.players().items()
            for variable in player.variables
        }
        given = {"batch": whole, "images": images, "epsilon": epsilon, "prior": prior}
        results = {f"expected_{name}": value.numpy() for name, value in expected.items()}
        np.savez(path, **weights, **given, **results)
        return {}

    def operations(self) -> Json:
        """Return multiplications and additions of convolutions and dense layers, for each frame."""
        frames = self.config.train.batch_size
        shape = (frames, self.config.model.height, self.config.model.width, 3)
        step = tf.function(self.trainer.train_step).get_concrete_function(
            {"image": tf.TensorSpec(shape, tf.uint8)}
        )
        networks = self.trainer.networks

        @tf.function
        def dream(images: tf.Tensor) -> tf.Tensor:
            return networks.decoder(networks.encoder(images)[0])

        forward = dream.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        return {
            "forward": count_operations(forward) / frames,
            "step": count_operations(step) / frames,
            "parameters": sum(p.count_params() for p in networks.players().values()),
        }

    def profile(self, count: int) -> Json:
        """Return seconds of each kind of operation in `count` steps, summed over threads."""
        from tensorflow.tsl.profiler.protobuf import xplane_pb2

        self.steps(2)
        with tempfile.TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder)
            seconds = self.steps(count)
            tf.profiler.experimental.stop()
            (file,) = Path(folder).rglob("*.xplane.pb")
            space = xplane_pb2.XSpace.FromString(file.read_bytes())
        kinds: Counter[str] = Counter()
        places: Counter[str] = Counter()
        for plane in space.planes:
            if plane.name.startswith("/host:CPU"):
                for event in (event for line in plane.lines for event in line.events):
                    name = plane.event_metadata[event.metadata_id].name
                    path, colon, kind = name.rpartition(":")
                    path = path.removeprefix("StatefulPartitionedCall/")
                    # Operations are PATH:Kind; what calls them has other names.
                    if colon and "/" in path and kind.isidentifier():
                        kinds[kind] += event.duration_ps / 1e12
                        places[f"{kind} in {path}"] += event.duration_ps / 1e12
        return {
            "seconds": seconds,
            "kinds": dict(kinds.most_common()),
            "places": dict(places.most_common(12)),
        }


def count_operations(function: Any) -> int:
    """Return twice the multiplications of the convolutions and matrix products that a graph runs.

    All shapes of the concrete function must be known.
    """
    return sum(2 * multiplications(op) for op in carried_out(function.graph))


def carried_out(graph: Any) -> set[Any]:
    """Return the operations on which an output of the graph or a variable depends.

    A gradient's graph also holds others, which TensorFlow leaves out.
    """
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    found: set[Any] = set()
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return found


def multiplications(op: Any) -> int:
    """Return those of one operation; 0 if it is neither a convolution nor a matrix product."""
    if op.type == "MatMul":
        inner = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return math.prod([*op.outputs[0].shape, inner])
    if op.type == "Conv2D":
        return math.prod([*op.outputs[0].shape[:3], *op.inputs[1].shape])
    if op.type == "Conv2DBackpropInput":
        return math.prod([*op.inputs[2].shape[:3], *op.inputs[1].shape])
    if op.type == "Conv2DBackpropFilter":
        return math.prod([*op.inputs[2].shape[:3], *op.outputs[0].shape])
    return 0


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr
    ours = Ours(json.loads(sys.stdin.readline()))

    def say(values: Json) -> None:
        print(json.dumps(values), file=out, flush=True)

    say(ours.describe())
    for line in sys.stdin:
        asked = json.loads(line)
        if "steps" in asked:
            before = time.process_time()
            say({"seconds": ours.steps(asked["steps"]), "cpu": time.process_time() - before})
        elif "loop" in asked:
            say({"seconds": ours.loop(asked["loop"], asked["run"])})
        elif "peak" in asked:
            say({"peak_mib": ours.peak(asked["peak"])})
        elif "parity" in asked:
            say(ours.parity(asked["parity"]))
        elif "operations" in asked:
            say(ours.operations())
        else:
            say(ours.profile(asked["profile"]))


if __name__ == "__main__":
    main()
