"""The speed of training, next to ways that could be faster, and the time that a GPU would need.

Pieces, each with --only=NAME:

  loop        the whole of `bladerunner_ae.train` (reading, logs, watchdog, checkpoints, pictures)
              against the same step on one batch again and again
  torch       that step against the same networks and losses written plainly in PyTorch, in
              turns; needs --torch_python, the interpreter of an environment with torch and numpy
  memory      the most memory that training of `base` holds, for each of --batches
  operations  counted in the step's graph, and the time they would take on a GPU
  profile     which kinds of operation the step's time goes to

Results go to --results, a JSON file in which pieces measured earlier stay; the page is made from that
file. Everything runs in processes of its own, one or two at a time, and no answer may take longer
than --limit. Measure on a machine that does nothing else.

Examples:
  python -m benchmarks.training --data=DATA/my_film --only=loop,operations
  python -m venv VENV && VENV/bin/pip install torch==2.13.0 numpy
  python -m benchmarks.training --data=DATA/my_film --torch_python=VENV/bin/python --output=training.md
"""  # noqa: E501

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.markdown import publish
from benchmarks.runs import Json, Pieces, Worker, WorkerError, machine, say
from benchmarks.training.training_page import page
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import UsageError

PIECES = ("loop", "torch", "memory", "operations", "profile")
OBJECTIVES = {"preview": "vae", "base": "vae_gan"}
BATCHES = {"preview": 32, "base": 12}
RASTERS = {"base": [144, 256], "large": [288, 512]}
VARIANTS = [(precision, compiled) for precision in ("float32", "bfloat16")
            for compiled in (False, True)]  # fmt: skip
_SLOW = 4.0


def cli() -> None:
    flags.DEFINE_string("data", None, "Folder of a film's records of 72x128.", required=True)
    flags.DEFINE_list("only", list(PIECES), "Pieces to measure.")
    flags.DEFINE_list("presets", ["preview", "base"], "Presets of the piece torch.")
    flags.DEFINE_string("torch_python", "", "Interpreter that has torch and numpy.")
    flags.DEFINE_string("precision", "auto", "Ours: auto, float32 or mixed_bfloat16.")
    flags.DEFINE_integer("rounds", 5, "Turns of each way.", lower_bound=1)
    flags.DEFINE_float("seconds", 10.0, "Length of a turn, about.", lower_bound=0.0)
    flags.DEFINE_integer("loop_steps", 500, "Steps in a turn of the piece loop.", lower_bound=2)
    flags.DEFINE_list("batches", ["4", "8", "12"], "Batches of base whose memory is measured.")
    flags.DEFINE_integer("base_batch", BATCHES["base"], "Batch of base in the piece torch.")
    flags.DEFINE_float("limit", 600.0, "Seconds to wait for any answer.")
    flags.DEFINE_string("results", "out/benchmarks/training.json", "JSON of everything measured.")
    flags.DEFINE_string("output", "", "Markdown file for the table.")
    run_command(main)


def ours(values: Any, preset: str, **changes: Any) -> Worker:
    """Start our side for a preset."""
    config = {
        "preset": preset,
        "objective": OBJECTIVES.get(preset, "vae_gan"),
        "precision": values.precision,
        "batch": values.base_batch if preset == "base" else BATCHES.get(preset, 1),
        "records": str(Path(values.data).absolute()),
        "raster": RASTERS.get(preset),
        **changes,
    }
    return Worker(sys.executable, "training.ours", config, values.limit)


def measure_loop(values: Any) -> Json:
    """Return frames per second of the loop and of the step alone, in turns, at `preview`."""
    steps, found = values.loop_steps, []
    with tempfile.TemporaryDirectory() as folder, ours(values, "preview") as worker:
        loop = {"loop": steps, "run": str(Path(folder) / "run")}
        worker.ask({**loop, "loop": 3})  # fits the linear path and traces the step
        worker.ask({"steps": 3})
        for _ in range(values.rounds):
            step = per_second(worker.ask({"steps": steps}), BATCHES["preview"])
            found.append([step, per_second(worker.ask(loop), BATCHES["preview"])])
    return {"steps": steps, "step_and_loop": found}


def per_second(answer: Json, batch: int) -> float:
    """Return frames per second of a worker's turn."""
    return batch * len(answer["seconds"]) / sum(answer["seconds"])


def measure_torch(values: Any) -> Json:
    """Return the rates of our step and of each variant of PyTorch's, in turns."""
    if not values.torch_python:
        raise UsageError("--only=torch needs --torch_python, an interpreter with torch and numpy")
    found = {}
    for preset in values.presets:
        try:
            found[preset] = _against_torch(values, preset)
        except WorkerError as error:
            say(f"{preset}: {error}")
    return found


def _against_torch(values: Any, preset: str) -> Json:
    batch = values.base_batch if preset == "base" else BATCHES[preset]
    found: Json = {"batch": batch, "objective": OBJECTIVES[preset], "variants": {}}
    with tempfile.TemporaryDirectory() as folder, ours(values, preset, augment=0.0) as worker:
        given = str(Path(folder) / "given.npz")
        worker.ask({"parity": given})
        found["precision"] = worker.about["precision"]
        found["tensorflow"] = worker.about["tensorflow"]
        pace = worker.ask({"steps": 2})["seconds"][-1]
        for precision, compiled in VARIANTS:
            name = f"{precision}, {'compiled' if compiled else 'eager'}"
            say(f"{preset}: PyTorch {name}")
            config = {
                "model": worker.about["model"],
                "weights": worker.about["weights"],
                "objective": OBJECTIVES[preset],
                "images": given,
                "precision": precision,
                "compiled": compiled,
                "threads": len(os.sched_getaffinity(0)),
            }
            try:
                with Worker(values.torch_python, "training.pytorch", config, values.limit) as twin:
                    found["torch"] = twin.about["torch"]
                    if (precision, compiled) == VARIANTS[0]:
                        found["parity"] = twin.ask({"parity": given})
                    found["variants"][name] = _turns(values, worker, twin, batch, pace)
            except WorkerError as error:
                found["variants"][name] = {"error": str(error)}
    return found


def _turns(values: Any, worker: Worker, twin: Worker, batch: int, pace: float) -> Json:
    """[ours, theirs] in frames per second of each round; one round if theirs is far behind."""
    warm = twin.ask({"steps": 2})["seconds"][-1]
    if warm > _SLOW * pace:
        return {"rounds": [[batch / pace, batch / warm]], "short": True}

    def steps(seconds: float) -> Json:
        return {"steps": max(2, min(round(values.seconds / seconds), 200))}

    return {
        "rounds": [
            [per_second(worker.ask(steps(pace)), batch), per_second(twin.ask(steps(warm)), batch)]
            for _ in range(values.rounds)
        ]
    }


def measure_memory(values: Any) -> Json:
    """Return the peak MiB of three steps of `base`, each batch in a process of its own."""
    found = {}
    for batch in values.batches:
        say(f"base: memory of a batch of {batch}")
        try:
            with ours(values, "base", batch=int(batch)) as worker:
                found[batch] = worker.ask({"peak": 2})["peak_mib"]
        except WorkerError as error:
            found[batch] = str(error)
    return found


def measure_operations(values: Any) -> Json:
    """Return the operations for each frame of every preset with its objective."""
    found = {}
    for preset, batch in (("preview", 2), ("base", 2), ("large", 2)):
        with ours(values, preset, batch=batch) as worker:
            found[preset] = worker.ask({"operations": True})
            found[preset]["raster"] = [worker.about["model"][side] for side in ("height", "width")]
            found[preset]["objective"] = OBJECTIVES.get(preset, "vae_gan")
    return found


def measure_profile(values: Any) -> Json:
    """Return the seconds of each kind of operation at `preview`, with XLA's compiler off."""
    with ours(values, "preview") as worker:
        return worker.ask({"profile": 5})


def main() -> None:
    """Measure what was asked for, add it to the results and write the page."""
    values = flags.FLAGS
    if unknown := set(values.only) - set(PIECES):
        raise UsageError(f"--only={min(unknown)}: choose of {', '.join(PIECES)}")
    pieces = Pieces(values.results)
    measures = {"loop": measure_loop, "torch": measure_torch, "memory": measure_memory,
                "operations": measure_operations, "profile": measure_profile}  # fmt: skip
    for piece in (piece for piece in PIECES if piece in values.only):
        say(f"measuring {piece}")
        results = measures[piece](values)
        if piece != "torch":  # whose presets may be measured one by one
            pieces.found.pop(piece, None)
        pieces.keep(piece, results)
        pieces.keep("machine", machine())
    publish(page(pieces.found), values.output)


if __name__ == "__main__":
    cli()
