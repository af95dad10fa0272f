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

import bladerunner_ae.command_line.signals  # noqa: F401  first: signals are one line from here on

# isort: split
import hashlib
import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from absl import flags, logging

from bladerunner_ae.command_line import signals as interruption
from bladerunner_ae.command_line.app import OVERWRITE_HINT
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import parse_local
from bladerunner_ae.command_line.installed import need_tensorflow
from bladerunner_ae.disk_space import check_space, estimate_bytes
from bladerunner_ae.errors import InputError, ReplaceableError
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.source import Source, film_name
from bladerunner_ae.film.writing.ffmpeg import ffmpeg_program
from bladerunner_ae.output_files import UnfinishedFilm
from bladerunner_ae.reassembly import ReassemblyOptions, check_outputs, plan_sounds
from bladerunner_ae.runs import presets
from bladerunner_ae.runs.config import TrainConfig, check_hold_out
from bladerunner_ae.runs.files import refuse_to_delete
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.folder import write_json
from tfrecords.card import CARD_NAME, load_card
from tfrecords.messages import visible

_TOOLS = Path(__file__).resolve().parent
_RESULT = "result.json"
_EVALUATION = "run/evaluation.json"
_FILMS = ("autoencoded.mp4", "side_by_side.mp4")
_MADE = (*_FILMS, "contact_sheet.png", _EVALUATION)
_HINT = (
    "hint: OVERWRITE=1 (--overwrite) starts this film over, OUT=another_folder (--output_dir) "
    "keeps both"
)
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

    @property
    def data(self) -> Path:
        """The film's records."""
        return self.records / film_name(self.film)

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
            f"--output={self.folder / _EVALUATION}",
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
        card = load_card(data)
        return self.height_of(card.frames / card.frame_rate)

    def height_of(self, seconds: Fraction) -> int:
        """How high films are made at most that last so many seconds; 0: any height."""
        if self.max_height is not None:
            return self.max_height
        return _LARGEST_HEIGHT_IF_LONG if seconds > _LONG_SECONDS else _LARGEST_HEIGHT

    def _overwrite(self) -> list[str]:
        return ["--overwrite"] if self.overwrite else []


def job_folder(output_dir: Path, film: Path) -> Path:
    """Returns the folder for a film's results, which is named as the one of its records is.

    Args:
        output_dir: the folder for the results of all films.
        film: the film.
    """
    folder = output_dir / film_name(film)
    stem = film.resolve().stem  # what it was called before there was one rule for both
    begun = (output_dir / stem / "records" / folder.name / CARD_NAME).is_file()
    return output_dir / stem if begun and stem.strip(".") and not folder.exists() else folder


def check_training(job: Job) -> None:
    """Checks what training will be asked for, before a film is converted for it.

    Raises:
        UsageError: there is no such preset, or a number is none that can be trained with.
    """
    steps = {} if job.steps is None else {"steps": job.steps}
    TrainConfig(**{**presets.preset(job.preset).train, **steps})
    check_hold_out(job.holdout, job.holdout_seconds)


def check_film(job: Job) -> None:
    """Checks that a job's results would not take the place of its film, or of somebody's file.

    Raises:
        InputError: they would, or the film lies in what is written, or a file is in the way.
        UsageError: the film is one of the files of the run.
    """
    film = job.film.resolve()
    if job.folder.exists() and not job.folder.is_dir():
        raise InputError(f"{job.folder}: is a file; move it, or give OUT=another_folder")
    if film.is_dir() and (film == job.folder.resolve() or film in job.folder.resolve().parents):
        raise InputError(
            f"{job.folder}: lies in the film, a folder of images; give OUT=another_folder"
        )
    for name in _MADE[:-1]:
        path = job.folder / name
        unfinished = UnfinishedFilm(path)
        for written in (path, unfinished.pictures, unfinished.partial):
            if written.exists() and written.samefile(film):
                raise InputError(
                    f"{job.film}: is where {name} is to be written; give OUT=another_folder, or "
                    "copy the film under another name"
                )
        begun = job.records.exists() or job.run.exists() or (job.folder / _RESULT).exists()
        if path.exists() and not begun and not job.overwrite:
            raise ReplaceableError(
                f"{path}: exists and was not made by this command; move it elsewhere, give "
                "OUT=another_folder, or replace it with OVERWRITE=1 (--overwrite)"
            )
    refuse_to_delete(job.run, [("--film", job.film)])


def check_reassembly(job: Job) -> None:
    """Checks all that the last step will need, so that it does not fail after a long training.

    Says on stderr what becomes of the sound, and what is left out of the film.

    Raises:
        InputError: the film cannot be read, its sound fits into no .mp4, a film cannot be written
            there, or the disk is too small.
    """
    info = probe_film(job.film)
    output, side_by_side = (job.folder / name for name in _FILMS)
    options = ReassemblyOptions(side_by_side=side_by_side, overwrite=True)
    check_outputs(job.film, output, options)
    sound = plan_sounds(info, output, options)[output]
    for track in sound.tracks:
        if track.encoding is not None:
            anew = f"{track.codec} will be re-encoded as {track.encoding.name}: {track.reason}"
            print(visible(f"note: {job.film}: sound in {anew}"), file=sys.stderr)
    for words in sound.left_out:
        print(visible(f"note: {job.film}: left out: {words}"), file=sys.stderr)
    frames = info.timing.frames_estimate or 0
    most = job.height_of(frames / info.timing.frame_rate)
    height, width = info.picture.stored
    written = min(height, most or height)
    preset = presets.preset(job.preset)
    needed = estimate_bytes(
        info, preset.pixels, (written, width * written // height), preset.run_bytes
    )
    cure = "free some, choose another disk with OUT=folder, or lower films with MAX_HEIGHT=360"
    check_space(job.folder, needed, cure)


def make_film(job: Job) -> str:
    """Runs every step of a job that is not done yet; returns the line that sums it up.

    Raises:
        SystemExit: a step failed; it has said why, and its exit code is passed on.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    from_start = not job.run.exists()
    clock = [time.monotonic()]
    _run("1/4 the film becomes records", job.convert())
    clock.append(time.monotonic())
    data = job.data
    key = _key(job, data)
    result = _finished_result(job, key)
    if result is None:
        _run("2/4 the network watches the film", job.train(data))
        if not (job.run / "export" / "autoencoder").is_dir():  # it was told to stop, and did
            print("training was stopped before its end; the same command goes on", file=sys.stderr)
            raise SystemExit(_STOPPED)
        (job.folder / _RESULT).unlink(
            missing_ok=True
        )  # not before: what was refused changes nothing
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
            "made": {name: _stamp(job.folder / name) for name in _MADE},
        }
        write_json(job.folder / _RESULT, result)
    print(f"done in {time.monotonic() - clock[0]:.0f} s", file=sys.stderr)
    return summary(job.folder, _evaluation(job), result)


def summary(folder: Path, evaluation: dict[str, Any], result: dict[str, Any]) -> str:
    """One line: where to look, how good it is, and that the film is whole and in sync."""
    quality = "; ".join(
        f"{label} PSNR {group['psnr']:.1f} dB, SSIM {group['ssim']:.2f} ({group['frames']} frames)"
        for label, group in evaluation["groups"].items()
    )
    timeline = result["films"][0].partition(": ")[2]
    return f"{folder / 'autoencoded.mp4'}: {quality}; {timeline}"


def _run(title: str, arguments: list[str]) -> str:
    """Runs one command of the project, shows it, and returns what it printed on stdout.

    The command does not outlive this process, however that ends.

    Args:
        title: what is being done.
        arguments: of Python.
    """
    if logging.get_verbosity() >= logging.DEBUG:
        arguments = [*arguments, f"--verbosity={logging.get_verbosity()}"]
    print(f"\n== {title}\n$ python {shlex.join(arguments)}", file=sys.stderr, flush=True)
    watched, held = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            pass_fds=(watched,),
            env={**os.environ, interruption.PARENT: str(watched), OVERWRITE_HINT: _HINT},
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            _stop(process)
            raise
    finally:
        os.close(watched)
        os.close(held)
    if process.returncode:
        raise SystemExit(process.returncode if process.returncode > 0 else 128 - process.returncode)
    print(output, end="", file=sys.stderr, flush=True)
    return output


def _stop(process: subprocess.Popen[str]) -> None:
    """Asks a command to stop and waits until it has, whatever signals come meanwhile.

    Ctrl-C reaches it too; what stops a group of processes, and make after that, sends SIGTERM
    twice. Only one that comes later is meant to hurry it, and is handed on.
    """
    began = time.monotonic()

    def hand_on(number: int, _: FrameType | None) -> None:
        if time.monotonic() > began + interruption.TOGETHER_SECONDS:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, hand_on)
    process.terminate()
    process.wait()


def _key(job: Job, data: Path) -> dict[str, Any]:
    """What the films were made from: they are made again when any of it changes."""
    return {
        **FilmUse.of(load_card(data)).identity(),
        **{name: getattr(job, name) for name in _DECIDING},
    }


def _finished_result(job: Job, key: dict[str, Any]) -> dict[str, Any] | None:
    """The result of an earlier run with the same key, if all it made is still there, and whole."""
    result = _json_object(job.folder / _RESULT)
    films, made = result.get("films"), result.get("made", {})
    if job.overwrite or result.get("key") != key or not isinstance(made, dict):
        return None
    if not isinstance(films, list) or not films or not all(isinstance(f, str) for f in films):
        return None
    paths = {name: job.folder / name for name in _MADE}
    if "made" not in result:  # of an earlier version, which did not write down what it had made
        made = {name: _stamp(path) for name, path in paths.items() if _bytes(path)}
    if not all(_is_as_made(path, made.get(name)) for name, path in paths.items()):
        return None
    return result if _evaluation(job) else None


def _json_object(path: Path) -> dict[str, Any]:
    """What a small file of JSON holds; nothing if it is missing, damaged or something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _evaluation(job: Job) -> dict[str, Any]:
    """The figures of the evaluation; nothing if its file does not hold them."""
    evaluation = _json_object(job.folder / _EVALUATION)
    try:
        summary(job.folder, evaluation, {"films": [""]})
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return {}
    return evaluation


def _stamp(path: Path) -> dict[str, Any]:
    """Size, time of change and SHA-256 of a file."""
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": _digest(path)}


def _is_as_made(path: Path, stamp: Any) -> bool:
    """Whether a file is the one that `_stamp` was taken of."""
    if not isinstance(stamp, dict) or not path.is_file():
        return False
    status = path.stat()
    if status.st_size != stamp.get("bytes"):
        return False
    # A film is read again only if it was touched, as by copying it.
    return status.st_mtime_ns == stamp.get("mtime_ns") or _digest(path) == stamp.get("sha256")


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Reads the flags, makes the film, prints the summary as the last line."""
    need_tensorflow()
    ffmpeg_program()
    values = flags.FLAGS
    film = parse_local("film", values.film)
    if not values.film or not Source(film).exists:
        raise InputError(f"{values.film!r}: no such file or folder; give FILM=path/to/film")
    job = Job(
        film=film,
        folder=job_folder(parse_local("output_dir", values.output_dir), film),
        preset=values.preset,
        steps=values.steps,
        holdout=values.holdout,
        holdout_seconds=values.holdout_seconds,
        max_height=values.max_height,
        overwrite=values.overwrite,
    )
    check_training(job)
    check_film(job)
    if job.overwrite or not (job.folder / _RESULT).is_file():
        check_reassembly(job)
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
    run_command(main, less_memory="a smaller --max_height takes less")


if __name__ == "__main__":
    cli()
