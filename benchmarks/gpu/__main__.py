"""The speed of training `base` on a GPU: the step, the whole loop, and that it learns the same.

Pieces, each with --only=NAME:

  step     one batch again and again, for each of --batches, with XLA and without, of `dream` before
           and after its adversary comes in and of `vae_gan`; with the most memory of the card
  loop     `python -m bladerunner_ae.train` on the records: frames a second as the run says, decoded
           once and decoded in every pass, as a whole film is
  check    the first steps' losses on the processor in float32, to be compared with the card's
  profile  which kernels of the card a step's time goes to (needs CUPTI)

Results go to --results, a JSON file in which pieces measured earlier stay; the table is made from
that file, and --only= makes nothing but the table. XLA compiles a step of a new batch for more than
a minute, so the whole takes half an hour. Processes end before the next one begins.

Examples:
  python tools/make_tfrecords.py --film=film.mp4 --output_dir=DATA --height=144 --width=256
  python -m benchmarks.gpu --data=DATA/film --results=gpu.json --output=docs/measured/gpu.md
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.gpu.gpu_page import ADVERSARY, PHASES, page, windows
from benchmarks.markdown import publish
from benchmarks.runs import ROOT, Json, Pieces, Worker, WorkerError, machine, say
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import UsageError

Keep = Callable[[str, Json], None]


def cli() -> None:
    flags.DEFINE_string("data", None, "Folder of a film's records of 144x256.", required=True)
    flags.DEFINE_list("only", ["step", "loop", "check", "profile"], "Pieces to measure.")
    flags.DEFINE_list("phases", list(PHASES), "Of the pieces step and profile.")
    flags.DEFINE_list("jit", ["on", "off"], "XLA, of the pieces step, loop and profile.")
    flags.DEFINE_list("batches", ["64", "128", "256"], "Batches of the piece step.")
    flags.DEFINE_list("loop_objectives", ["dream"], "Of the piece loop.")
    flags.DEFINE_list("loop_reading", ["memory", "streamed"], "Of the piece loop.")
    flags.DEFINE_integer("loop_batch", 128, "Batch of the pieces loop and profile.")
    flags.DEFINE_integer("loop_steps", 500, "Steps of the piece loop.", lower_bound=30)
    flags.DEFINE_integer("steps", 20, "Steps in a turn.", lower_bound=1)
    flags.DEFINE_integer("turns", 5, "Turns of each measurement.", lower_bound=1)
    flags.DEFINE_float("limit", 600.0, "Seconds to wait for any answer.")
    flags.DEFINE_string("preset", "base", "Preset; another one to try this out.")
    flags.DEFINE_string("results", "out/benchmarks/gpu.json", "JSON of everything measured.")
    flags.DEFINE_string("output", "", "Markdown file for the table.")
    run_command(main)


def on_card(values: Any, objective: str, jit: str, batch: int, **changes: Any) -> Worker:
    """Start a process with a trainer."""
    config = {
        "preset": values.preset,
        "objective": objective,
        "weights": ADVERSARY.get(objective),
        "precision": "mixed_bfloat16",
        "batch": batch,
        "records": str(Path(values.data).absolute()),
        "jit": jit,
        "device": "gpu" if values.preset == "base" else "auto",
        **changes,
    }
    return Worker(sys.executable, "gpu.worker", config, values.limit)


def measure_step(values: Any, keep: Keep) -> None:
    """Measure the seconds of a step for each objective, compiler and batch."""
    batches = [int(batch) for batch in values.batches]
    found: Json = {}

    def ask(worker: Worker, phase: str, jit: str) -> None:
        keep("about", worker.about)
        for batch in batches:
            asked = {"pace": batch, "steps": values.steps, "turns": values.turns}
            answer = worker.ask({**asked, "progress": PHASES[phase][1]})
            name = f"{phase}, {jit}"
            found[name] = {**found.get(name, {}), str(batch): answer}
            keep("step", {name: found[name]})
            say(f"{name}: {answer}")

    on_cards(values, max(batches), ask)


def measure_profile(values: Any, keep: Keep) -> None:
    """Measure the seconds of the card's kernels in a step."""

    def ask(worker: Worker, phase: str, jit: str) -> None:
        asked = {"profile": 10, "batch": values.loop_batch, "progress": PHASES[phase][1]}
        keep("profile", {f"{phase}, {jit}": worker.ask(asked)})

    on_cards(values, values.loop_batch, ask)


def on_cards(values: Any, batch: int, ask: Callable[[Worker, str, str], None]) -> None:
    """Ask a process of each compiler and objective about each of the objective's phases."""
    for jit in values.jit:
        for objective in dict.fromkeys(PHASES[phase][0] for phase in values.phases):
            try:
                with on_card(values, objective, jit, batch) as worker:
                    for phase in (p for p in values.phases if PHASES[p][0] == objective):
                        ask(worker, phase, jit)
            except WorkerError as error:
                say(f"{objective}, XLA {jit}: {error}")


def measure_loop(values: Any, keep: Keep) -> None:
    """Measure frames a second as runs of the training command log them."""
    for objective in values.loop_objectives:
        for reading in values.loop_reading:
            for jit in values.jit:
                lines = train(values, objective, [
                    f"--jit={jit}", "--precision=mixed_bfloat16", "--log_every=10",
                    *(["--cache_limit=0"] if reading == "streamed" else []),
                ])  # fmt: skip
                if len(windows(lines)):
                    found = {"batch": values.loop_batch, "lines": lines}
                    keep("loop", {f"{objective}, {reading}, {jit}": found})


def measure_check(values: Any, keep: Keep) -> None:
    """Measure the losses of the first steps on the processor; the piece step has the card's."""
    batch = int(values.batches[0])
    with on_card(values, "dream", "off", batch, device="cpu", precision="float32") as worker:
        answer = worker.ask({"pace": batch, "steps": 1, "turns": 0, "progress": 0.0})
    processor = machine()["processor"]
    keep("check", {"batch": batch, "losses": answer["loss"], "processor": processor})


def train(values: Any, objective: str, options: list[str]) -> list[Json]:
    """Run the training command; return those values of its metrics.jsonl that the page needs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "bladerunner_ae.train", f"--data={values.data}", "--noreport",
            f"--model_dir={folder}/run", f"--preset={values.preset}", f"--objective={objective}",
            f"--batch_size={values.loop_batch}", f"--steps={values.loop_steps}", *options,
            *(f"--{name}={weight}" for name, weight in ADVERSARY.get(objective, {}).items()),
        ]  # fmt: skip
        try:
            subprocess.run(command, cwd=ROOT, stdout=sys.stderr, timeout=values.limit, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            say(f"{error}; what it had measured counts")
        path = Path(folder) / "run" / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
    wanted = ("step", "speed/", "loss/", "probe/", "term/pixel")
    return [
        {name: value for name, value in json.loads(line).items() if name.startswith(wanted)}
        for line in lines
    ]


def main() -> None:
    """Measure what was asked for, add it to the results and write the page."""
    values = flags.FLAGS
    measures = {"step": measure_step, "loop": measure_loop, "check": measure_check,
                "profile": measure_profile}  # fmt: skip
    if unknown := (set(values.only) - set(measures)) | (set(values.phases) - set(PHASES)):
        raise UsageError(f"{min(unknown)}: choose of {', '.join([*measures, *PHASES])}")
    values.data = str(Path(values.data).absolute())
    pieces = Pieces(values.results)

    def keep(piece: str, more: Json) -> None:
        pieces.found["machine"] = {"cores": machine()["cores"]}
        pieces.keep(piece, more)

    for piece in values.only:
        say(f"measuring {piece}")
        measures[piece](values, keep)
    publish(page(pieces.found), values.output)


if __name__ == "__main__":
    cli()
