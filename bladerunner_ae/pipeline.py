"""Steps from a film to its dream, as of `make film`: records, training, evaluation, dreamt films.

Each step is a command of this project, in a process of its own: the memory of one step is free for
the next, and a signal or a lack of memory ends a step as if a person had run it. The steps hand on
files. `result.json` says what the films were made from, so that the same job resumes with the
first step that is not finished.
"""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from absl import logging

from bladerunner_ae.command_line import signals
from bladerunner_ae.command_line.app import OVERWRITE_HINT
from bladerunner_ae.disk_space import check_space, estimate_bytes
from bladerunner_ae.errors import InputError, ReplaceableError
from bladerunner_ae.evaluation.labels import HELD_OUT, SEEN, UNSEEN
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.source import film_name
from bladerunner_ae.output_files import UnfinishedFilm
from bladerunner_ae.reassembly import ReassemblyOptions, WrittenFilm, check_outputs, plan_sounds
from bladerunner_ae.runs import presets
from bladerunner_ae.runs.config import (
    LENGTHS,
    ModelConfig,
    TrainConfig,
    check_hold_out,
    check_one_length,
)
from bladerunner_ae.runs.files import refuse_to_delete
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.folder import write_json
from tfrecords.card import CARD_NAME, load_card
from tfrecords.wording import visible

RESULT_NAME = "result.json"
_EVALUATION = "run/evaluation.json"
_FILMS = ("autoencoded.mp4", "side_by_side.mp4")
_MADE = (*_FILMS, "contact_sheet.png", _EVALUATION)
_HINT = (
    "hint: OVERWRITE=1 (--overwrite) starts this film over, OUT=another_folder (--output_dir) "
    "keeps both"
)
_TRAINING = ("preset", "holdout", "holdout_seconds", *LENGTHS, "memory", "overwrite")
_DECIDING = ("preset", "steps", "holdout", "holdout_seconds", "max_height")
_DECIDING_IF_GIVEN = (
    "epochs",
    "minutes",
    "memory",
)  # so that results of earlier versions keep their key
# In three checkpoints and three exported models.
_COPIES_OF_MEMORY = 6
_STEPS = ("records", "training", "evaluation", "films")
# The dream holds no more than its raster; a player enlarges it beyond this height as well.
_LARGEST_HEIGHT = 720
# Encoding is most of the work on a long film: four times fewer pixels save an hour on a feature.
_LONG_SECONDS, _LARGEST_HEIGHT_IF_LONG = 1800, 360


@dataclass(frozen=True)
class Job:
    """One film to make, in `folder`, OUTPUT_DIR/<film>.

    Attributes:
        film: a film, or a folder of numbered images.
        steps, epochs, minutes: length of training, one of them; all None: the preset's.
        memory: what the network knows before, 0..1; None: the preset's.
        max_height: of the films written; None: depends on their length, 0: any.
        overwrite: start over.
    """

    film: Path
    folder: Path
    preset: str
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    memory: float | None = None
    holdout: float = 0.0
    holdout_seconds: float = 0.0
    max_height: int | None = None
    overwrite: bool = False

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def records(self) -> Path:
        """Folder of all records of this job."""
        return self.folder / "records"

    @property
    def data(self) -> Path:
        """Folder of the film's records."""
        return self.records / film_name(self.film)

    @property
    def result(self) -> Path:
        """File that says what the films were made from."""
        return self.folder / RESULT_NAME

    def convert(self) -> list[str]:
        """Return the command from film to records."""
        preset = presets.preset(self.preset)
        sizes = {"pixels": preset.pixels, "multiple": preset.multiple}
        places = {"film": self.film, "output_dir": self.records}
        return [_tool("make_tfrecords"), *_flags(**places, **sizes, overwrite=self.overwrite)]

    def train(self) -> list[str]:
        """Return the command from records to run."""
        values = {name: getattr(self, name) for name in _TRAINING}
        places = {"data": self.data, "model_dir": self.run}
        return ["-m", "bladerunner_ae.train", *_flags(**places, **values)]

    def evaluate(self) -> list[str]:
        """Return the command from run to figures and contact sheet."""
        output, sheet = self.folder / _EVALUATION, self.folder / "contact_sheet.png"
        inputs = {"model": self.run, "data": self.data}
        return [
            "-m",
            "bladerunner_ae.evaluate",
            *_flags(**inputs, output=output, contact_sheet=sheet),
        ]

    def reassemble(self) -> list[str]:
        """Return the command from film and run to the dreamt films, described in JSON."""
        card = load_card(self.data)
        height = self.height_of(card.frames / card.frame_rate)
        inputs = {"film": self.film, "model": self.run, "data": self.data}
        output, side_by_side = (self.folder / name for name in _FILMS)
        outputs = {"output": output, "side_by_side_output": side_by_side, "max_height": height}
        return [_tool("reassemble_film"), *_flags(**inputs, **outputs, overwrite=True, json=True)]

    def height_of(self, seconds: Fraction) -> int:
        """Return the largest height of films of this length; 0: any."""
        if self.max_height is not None:
            return self.max_height
        return _LARGEST_HEIGHT_IF_LONG if seconds > _LONG_SECONDS else _LARGEST_HEIGHT


def _flags(**values: object) -> list[str]:
    """Return the flags of a command; None and False are left out."""
    given = {name: v for name, v in values.items() if v is not None and v is not False}
    return [f"--{name}" if v is True else f"--{name}={v}" for name, v in given.items()]


def _tool(name: str) -> str:
    """Return the path of a tool; installed, the folder has a name of its own."""
    top = Path(__file__).resolve().parent.parent
    installed = top / "bladerunner_ae_tools"
    return str((installed if installed.is_dir() else top / "tools") / f"{name}.py")


def job_folder(output_dir: Path, film: Path) -> Path:
    """Return the folder for a film's results, named as the one of its records."""
    folder = output_dir / film_name(film)
    stem = film.resolve().stem  # the name given by earlier versions
    begun = (output_dir / stem / "records" / folder.name / CARD_NAME).is_file()
    return output_dir / stem if begun and stem.strip(".") and not folder.exists() else folder


def check_job(job: Job) -> None:
    """Check everything that would otherwise fail after hours, before the first step.

    Raises:
        InputError: the film cannot be read, its sound fits into no .mp4, a file is in the way, a
            film cannot be written, or the disk is too small.
        UsageError: the training is impossible, or the film is a file of the run.
    """
    check_training(job)
    check_paths(job)
    if job.overwrite or not job.result.is_file():
        check_reassembly(job)


def check_training(job: Job) -> None:
    given = {n: value for n in LENGTHS if (value := getattr(job, n)) is not None}
    check_one_length(given)
    TrainConfig(**{**presets.preset(job.preset).train, "steps": 1, **given})
    check_hold_out(job.holdout, job.holdout_seconds)
    if job.memory:
        _model(job).sized(presets.MANY_FRAMES)


def _model(job: Job) -> ModelConfig:
    """Return the networks of a job on a raster of as many pixels as its film's is going to have."""
    chosen = presets.preset(job.preset)
    asked = {} if job.memory is None else {"memory": job.memory}
    height, width = chosen.multiple, chosen.pixels // chosen.multiple
    return ModelConfig(height, width, **{**chosen.model, **asked}).resolve()


def check_paths(job: Job) -> None:
    """Check that no result would replace the film or a file of somebody else."""
    film = job.film.resolve()
    if job.folder.exists() and not job.folder.is_dir():
        raise InputError(f"{job.folder}: is a file; move it, or give OUT=another_folder")
    if film.is_dir() and (film == job.folder.resolve() or film in job.folder.resolve().parents):
        raise InputError(
            f"{job.folder}: is in the film, a folder of images; give OUT=another_folder"
        )
    begun = job.records.exists() or job.run.exists() or job.result.exists()
    for name in _MADE[:-1]:
        path = job.folder / name
        unfinished = UnfinishedFilm(path)
        for written in (path, unfinished.pictures, unfinished.partial):
            if written.exists() and written.samefile(film):
                raise InputError(
                    f"{job.film}: is where {name} is to be written; give OUT=another_folder, or "
                    "copy the film under another name"
                )
        if path.exists() and not begun and not job.overwrite:
            raise ReplaceableError(
                f"{path}: exists and was not made by this command; move it elsewhere, give "
                "OUT=another_folder, or replace it with OVERWRITE=1 (--overwrite)"
            )
    refuse_to_delete(job.run, [("--film", job.film)])


def check_reassembly(job: Job) -> None:
    """Check what the last step needs; say on stderr what becomes of the sound."""
    info = probe_film(job.film)
    output, side_by_side = (job.folder / name for name in _FILMS)
    options = ReassemblyOptions(side_by_side=side_by_side, overwrite=True)
    check_outputs(job.film, output, options)
    sound = plan_sounds(info, output, options)[output]
    for track in sound.tracks:
        if track.encoding is not None:
            change = f"{track.codec} will be re-encoded as {track.encoding.name}: {track.reason}"
            print(visible(f"note: {job.film}: sound in {change}"), file=sys.stderr)
    for words in sound.left_out:
        print(visible(f"note: {job.film}: left out: {words}"), file=sys.stderr)
    most = job.height_of((info.timing.frames_estimate or 0) / info.timing.frame_rate)
    height, width = info.picture.stored
    written = min(height, most or height)
    preset = presets.preset(job.preset)
    memory = _model(job).sized(info.timing.frames_estimate or 0, asked=False).memory_bytes
    needed = estimate_bytes(
        info,
        preset.pixels,
        (written, width * written // height),
        preset.run_bytes + _COPIES_OF_MEMORY * memory,
    )
    fix = "free some, choose another disk with OUT=folder, or lower films with MAX_HEIGHT=360"
    check_space(job.folder, needed, fix)


def make_film(job: Job) -> str:
    """Run every step of a job that is not finished; return a line that sums it up.

    SystemExit, with the step's exit code, if one failed and has said why.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    from_start = not job.run.exists()
    clock = [time.monotonic()]
    _show(_run("1/4 the film becomes records", job.convert()))
    clock.append(time.monotonic())
    key = _key(job)
    result = finished_result(job, key)
    if result is None:
        _show(_run("2/4 the network watches the film", job.train()))
        if not (job.run / "export" / "autoencoder").is_dir():  # it was asked to stop, and did
            print("training was stopped before its end; the same command resumes", file=sys.stderr)
            raise SystemExit(128 + signal.SIGTERM)
        job.result.unlink(missing_ok=True)  # only now: a step that is refused changes nothing
        clock.append(time.monotonic())
        _show(_run("3/4 what it remembers", job.evaluate()))
        clock.append(time.monotonic())
        films = json.loads(_run("4/4 the film, dreamt", job.reassemble()))
        _show("".join(f"{WrittenFilm.from_json(film).report()}\n" for film in films))
        clock.append(time.monotonic())
        seconds = [round(end - start, 1) for start, end in pairwise(clock)]
        result = {
            "key": key,
            "films": films,
            # The time of an interrupted job's first part is not known.
            "seconds": dict(zip(_STEPS, seconds, strict=True)) if from_start else None,
            "made": {name: _stamp(job.folder / name) for name in _MADE},
        }
        write_json(job.result, result)
    print(f"done in {time.monotonic() - clock[0]:.0f} s", file=sys.stderr)
    return f"{job.folder / _FILMS[0]}: {_quality(job)}; {_timeline(job, result['films'][0])}"


def _quality(job: Job) -> str:
    """Word the figures of the evaluation; "" if its file does not hold them."""
    try:
        groups = _json_object(job.folder / _EVALUATION)["groups"]
        return "; ".join(
            f"{label} PSNR {group['psnr']:.1f} dB, SSIM {group['ssim']:.2f} "
            f"({group['frames']} frames)"
            for label, group in groups.items()
            if label in (SEEN, HELD_OUT, UNSEEN)
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return ""


def _timeline(job: Job, film: Any) -> str:
    """Word what verification found of a film, from result.json."""
    if isinstance(film, str):  # earlier versions wrote the words
        return film.removeprefix(f"{job.folder / _FILMS[0]}: ")
    return WrittenFilm.from_json(film).describe()


def _show(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _run(title: str, arguments: list[str]) -> str:
    """Show and run one step; return its stdout. It does not outlive this process."""
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
            env={**os.environ, signals.PARENT: str(watched), OVERWRITE_HINT: _HINT},
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
    return output


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask a step to stop and wait until it has; a second request meanwhile is passed on."""
    request = signals.StopRequest()
    request.repeats(signal.SIGTERM)

    def pass_on(number: int, _: FrameType | None) -> None:
        if request.repeats(number):
            process.send_signal(number)

    with signals.handled_by(pass_on):
        process.terminate()
        process.wait()


def _key(job: Job) -> dict[str, Any]:
    """Return what the films are made from: any change of it makes them again."""
    return {
        **FilmUse.of(load_card(job.data)).identity(),
        **{name: getattr(job, name) for name in _DECIDING},
        **{n: value for n in _DECIDING_IF_GIVEN if (value := getattr(job, n)) is not None},
    }


def finished_result(job: Job, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the result of an earlier run with the same key if all it made is there, unchanged."""
    result = _json_object(job.result)
    films, made = result.get("films"), result.get("made", {})
    if job.overwrite or result.get("key") != key or not isinstance(made, dict):
        return None
    if not isinstance(films, list) or not films or not _quality(job):
        return None
    try:
        _timeline(job, films[0])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    paths = {name: job.folder / name for name in _MADE}
    if "made" not in result:  # of an earlier version, which did not note what it had made
        made = {name: _stamp(path) for name, path in paths.items() if path.is_file()}
    return result if all(_is_as_made(path, made.get(n)) for n, path in paths.items()) else None


def _json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} if the file is missing, damaged or holds something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _stamp(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": _digest(path)}


def _is_as_made(path: Path, stamp: Any) -> bool:
    if not isinstance(stamp, dict) or not path.is_file():
        return False
    status = path.stat()
    # A film is read again only if it was touched, as by copying it.
    return status.st_size == stamp.get("bytes") and (
        status.st_mtime_ns == stamp.get("mtime_ns") or _digest(path) == stamp.get("sha256")
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
