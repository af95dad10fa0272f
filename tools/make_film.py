"""From a film to its autoencoded self: records, training, evaluation, reassembly.

Runs the commands of this project one after the other, each printed as it is run, and leaves in
OUTPUT_DIR/<film>/:

  autoencoded.mp4    the film as the network dreams it, with the original soundtrack
  side_by_side.mp4   original left, dream right
  contact_sheet.png  pairs of frames across the film
  run/               the run: samples, curves, checkpoints, exported models
  records/<film>/    the film as TFRecords

Stopped at any moment, the same command goes on with the first step that is not finished.

Examples:
  python tools/make_film.py --film=my_film.mp4
  python tools/make_film.py --film=my_film.mp4 --output_dir=out --holdout=0.1
  python tools/make_film.py --film=my_film.mp4 --preset=base --steps=50000
"""

import os
import signal
import sys

if __package__ in (None, ""):  # runs without installation too
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import bladerunner_ae.interruption  # noqa: F401  first: signals are one line from here on

# isort: split
import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from absl import flags

from bladerunner_ae import presets
from bladerunner_ae.cli import run as run_command
from bladerunner_ae.errors import InputError
from bladerunner_ae.film_identity import film_identity
from bladerunner_ae.parsing import parse_local
from bladerunner_ae.run_folder import write_json
from tfrecords.card import load_card

_TOOLS = Path(__file__).resolve().parent
_RESULT = "result.json"
_BAD_INPUT = InputError.exit_code
_DECIDING = ("preset", "steps", "holdout", "holdout_seconds", "max_height")
_STOPPED = 128 + signal.SIGTERM
_STEPS = ("records", "training", "evaluation", "films")
# The dream holds no more than its raster; beyond this height the player enlarges it as well.
_LARGEST_HEIGHT = 720
# Encoding is most of the work on a long film: four times fewer pixels save an hour on a feature.
_LONG_SECONDS, _LARGEST_HEIGHT_IF_LONG = 1800, 360


@dataclass(frozen=True)
class Job:
    """What `make film` was asked for, and where its parts lie.

    Attributes:
        film: the film, or a folder of numbered images.
        folder: OUTPUT_DIR/<film>.
        preset, steps, holdout, holdout_seconds: as in `bladerunner_ae.train`; `steps` None is the
            preset's.
        max_height: no film is written higher; None: as high as suits its length, 0: any.
        overwrite: start over.
    """

    film: Path
    folder: Path
    preset: str
    steps: int | None
    holdout: float
    holdout_seconds: float
    max_height: int | None
    overwrite: bool

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def records(self) -> Path:
        """Where the records of all films of this job lie."""
        return self.folder / "records"

    def convert(self) -> list[str]:
        """Command: film to records."""
        preset = presets.preset(self.preset)
        return [
            str(_TOOLS / "make_tfrecords.py"), f"--film={self.film}",
            f"--output_dir={self.records}", f"--pixels={preset.pixels}",
            f"--multiple={preset.multiple}", *self._overwrite(),
        ]  # fmt: skip

    def train(self, data: Path) -> list[str]:
        """Command: records to run."""
        steps = [] if self.steps is None else [f"--steps={self.steps}"]
        return [
            "-m", "bladerunner_ae.train", f"--data={data}", f"--model_dir={self.run}",
            f"--preset={self.preset}", f"--holdout={self.holdout}",
            f"--holdout_seconds={self.holdout_seconds}", *steps, *self._overwrite(),
        ]  # fmt: skip

    def evaluate(self, data: Path) -> list[str]:
        """Command: run to figures and contact sheet."""
        return [
            "-m", "bladerunner_ae.evaluate", f"--model={self.run}", f"--data={data}",
            f"--output={self.run / 'evaluation.json'}",
            f"--contact_sheet={self.folder / 'contact_sheet.png'}",
        ]  # fmt: skip

    def reassemble(self, data: Path) -> list[str]:
        """Command: film and run to the dreamt films."""
        return [
            str(_TOOLS / "reassemble_film.py"), f"--film={self.film}", f"--model={self.run}",
            f"--data={data}", f"--output={self.folder / 'autoencoded.mp4'}",
            f"--side_by_side_output={self.folder / 'side_by_side.mp4'}",
            f"--max_height={self.height(data)}", "--overwrite",
        ]  # fmt: skip

    def height(self, data: Path) -> int:
        """How high the films are made at most."""
        if self.max_height is not None:
            return self.max_height
        card = load_card(data)
        seconds = card.frames / card.frame_rate
        return _LARGEST_HEIGHT_IF_LONG if seconds > _LONG_SECONDS else _LARGEST_HEIGHT

    def _overwrite(self) -> list[str]:
        return ["--overwrite"] if self.overwrite else []


def make_film(job: Job) -> str:
    """Runs every step of a job that is not done yet; returns the line that sums it up.

    Raises:
        SystemExit: a step failed; it has said why, and its exit code is passed on.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    from_start = not job.run.exists()
    clock = [time.monotonic()]
    _run("1/4 the film becomes records", job.convert(), again=job.records.exists())
    clock.append(time.monotonic())
    data = _only_records(job.records)
    key = _key(job, data)
    result = _finished_result(job, key)
    if result is None:
        (job.folder / _RESULT).unlink(missing_ok=True)
        _run("2/4 the network watches the film", job.train(data), again=not from_start)
        if not (job.run / "export" / "autoencoder").is_dir():  # it was told to stop, and did
            print("training was stopped before its end; the same command goes on", file=sys.stderr)
            raise SystemExit(_STOPPED)
        clock.append(time.monotonic())
        _run("3/4 what it remembers", job.evaluate(data))
        clock.append(time.monotonic())
        films = _run("4/4 the film, dreamt", job.reassemble(data))
        clock.append(time.monotonic())
        seconds = [round(end - start, 1) for start, end in pairwise(clock)]
        result = {
            "key": key,
            "films": films.splitlines(),
            # Of an interrupted job only the last part of the time would be known.
            "seconds": dict(zip(_STEPS, seconds, strict=True)) if from_start else None,
        }
        write_json(job.folder / _RESULT, result)
    print(f"done in {time.monotonic() - clock[0]:.0f} s", file=sys.stderr)
    return summary(job.folder, json.loads((job.run / "evaluation.json").read_text("utf-8")), result)


def summary(folder: Path, evaluation: dict[str, Any], result: dict[str, Any]) -> str:
    """One line: where to look, how good it is, and that the film is whole and in sync."""
    quality = "; ".join(
        f"{label} PSNR {group['psnr']:.1f} dB, SSIM {group['ssim']:.2f} ({group['frames']} frames)"
        for label, group in evaluation["groups"].items()
    )
    timeline = result["films"][0].partition(": ")[2]
    return f"{folder / 'autoencoded.mp4'}: {quality}; {timeline}"


def _run(title: str, arguments: list[str], again: bool = False) -> str:
    """Runs one command of the project, shows it, and returns what it printed on stdout.

    Args:
        title: what is being done.
        arguments: of Python.
        again: whether results of an earlier call are there, which this one may contradict.
    """
    print(f"\n== {title}\n$ python {shlex.join(arguments)}", file=sys.stderr, flush=True)
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        # Ctrl-C reaches the child too: let it close its files before we go.
        process.terminate()
        process.wait()
        raise
    if process.returncode == _BAD_INPUT and again:
        print(
            "hint: OVERWRITE=1 (--overwrite) starts this film over, OUT=another_folder "
            "(--output_dir) keeps both",
            file=sys.stderr,
        )
    if process.returncode:
        raise SystemExit(process.returncode if process.returncode > 0 else 128 - process.returncode)
    print(output, end="", file=sys.stderr, flush=True)
    return output


def _only_records(folder: Path) -> Path:
    found = sorted(card.parent for card in folder.glob("*/film.json"))
    if len(found) != 1:
        raise InputError(
            f"{folder}: holds {len(found)} films, not one; start over with --overwrite"
        )
    return found[0]


def _key(job: Job, data: Path) -> dict[str, Any]:
    """What the films were made from: they are made again when any of it changes."""
    return {
        **film_identity(load_card(data)),
        **{name: getattr(job, name) for name in _DECIDING},
    }


def _finished_result(job: Job, key: dict[str, Any]) -> dict[str, Any] | None:
    """The result of an earlier run with the same key, if all it made is still there."""
    made = ("autoencoded.mp4", "side_by_side.mp4", "contact_sheet.png", "run/evaluation.json")
    path = job.folder / _RESULT
    if (
        job.overwrite
        or not path.is_file()
        or not all((job.folder / name).is_file() for name in made)
    ):
        return None
    result = json.loads(path.read_text("utf-8"))
    return result if result.get("key") == key else None


def main() -> None:
    """Reads the flags, makes the film, prints the summary as the last line."""
    values = flags.FLAGS
    film = parse_local("film", values.film)
    if not values.film or not film.exists():
        raise InputError(f"{values.film!r}: no such file or folder; give FILM=path/to/film")
    job = Job(
        film=film,
        folder=parse_local("output_dir", values.output_dir) / film.resolve().stem,
        preset=values.preset,
        steps=values.steps,
        holdout=values.holdout,
        holdout_seconds=values.holdout_seconds,
        max_height=values.max_height,
        overwrite=values.overwrite,
    )
    presets.preset(job.preset)
    print(make_film(job))


def cli() -> None:
    """Runs the command."""
    flags.DEFINE_string("film", None, "Film file, or folder of numbered images.", required=True)
    flags.DEFINE_string("output_dir", "out", "Folder for the results of all films.")
    flags.DEFINE_string("preset", "preview", f"Model: {', '.join(presets.PRESETS)}.")
    flags.DEFINE_integer("steps", None, "Training steps. Default: the preset's.")
    flags.DEFINE_float("holdout", 0.0, "Fraction of the film to keep from training.")
    flags.DEFINE_float(
        "holdout_seconds", 0.0, "Hold out runs of this length instead of whole shots."
    )
    flags.DEFINE_integer(
        "max_height",
        None,
        "No film higher than this; 0: any. Default: 720, or 360 for films of "
        "more than half an hour.",
    )
    flags.DEFINE_bool("overwrite", False, "Start over: records, training and films.")
    run_command(main)


if __name__ == "__main__":
    cli()
