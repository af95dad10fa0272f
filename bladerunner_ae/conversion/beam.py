"""Conversion of films as an Apache Beam pipeline: many films, many machines, the same records.

Beam decides which machine does which item of `shard_items`, and when; the items themselves reach
films through a file system that all machines share, and records there or in a bucket. A small file
in a hidden folder of the call says how a film ended, because a pipeline returns nothing to its
caller.
"""

import importlib
import importlib.util
import json
import logging
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.conversion.shard_items import Item, Job, finish_film, make_item, plan_film
from bladerunner_ae.errors import BladerunnerError, InputError, UsageError
from bladerunner_ae.film.reading.source import film_name
from tfrecords import storage
from tfrecords.card import FilmCard, load_card
from tfrecords.hidden_names import fitted_name, longest_name
from tfrecords.record_errors import ConnectionLostError, RecordsError, StorageError
from tfrecords.storage import Location

_Result = TypeVar("_Result")

_MISSING = (
    "--runner=beam: Apache Beam is not installed here; install it in an environment of its own, "
    "from requirements/beam.txt as docs/beam.md says, or here: pip install 'bladerunner_ae[beam]'"
)
# Beam's own DirectRunner first looks for a server program on the network.
_LOCAL_RUNNER = "FnApiRunner"
# An item that failed for a reason other than its film, such as an absent file system, is retried.
_TRIES = 3
_PAUSE_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 1.0
_LOOK_REMOTELY_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """The end of a film's conversion; a failed one has no `card` but an `error` of one line."""

    film: Path
    card: FilmCard | None
    error: str = ""
    up_to_date: bool = False


@dataclass(frozen=True)
class _Done:
    """An attempted item: the reason for a single pass, and of its failure, if any."""

    item: Item
    reason: str
    error: str


def convert_films(
    films: list[Path],
    output_dir: storage.AnyPath,
    options: ConversionOptions,
    beam_options: str = "",
    *,
    strict: bool = False,
    overwrite: bool = False,
    threads: int = 0,
    keep_damaged: bool = False,
) -> list[Outcome]:
    """Convert films, each whole or not at all; one that fails does not stop the others.

    Args:
        films: of different names.
        output_dir: a folder that every worker reaches by this path, as it does the films; or a
            bucket's.
        beam_options: flags for Beam as in a shell, such as "--runner=FlinkRunner"; without a runner
            all is done on this machine.
        strict, overwrite, keep_damaged: as for `convert_film`.
        threads: decoders at once in each item, 0 for one, or for as many as suit the machine if one
            item is done after the other.

    Returns:
        The end of each film, in the order given.

    Raises:
        UsageError: Beam is not installed, or does not know an option.
        StorageError: the bucket cannot be written.
        InputError: Beam ended without a result for any film.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise UsageError(_MISSING)
    pipeline, one_by_one = _pipeline(shlex.split(beam_options))
    if not one_by_one:
        threads = threads or 1
    # Workers have working directories of their own.
    directory = storage.location(output_dir)
    if isinstance(directory, Path):
        directory = Path(os.path.abspath(directory))
    job = Job(uuid4().hex, directory, options, strict, overwrite, threads, keep_damaged)
    paths = [Path(os.path.abspath(film)) for film in films]
    outcomes = _outcomes(job)
    storage.make_directories(outcomes)
    storage.write_text(outcomes / "begun", "")  # a bucket that cannot be written is told at once
    try:
        with _telling_progress(outcomes, len(films)):
            if one_by_one:  # what goes wrong with an item is told at the end, in a line
                logging.disable(logging.CRITICAL)
            problem = _run(paths, job, pipeline)
        if problem and not any(storage.exists(_told(job, film)) for film in films):
            raise InputError(
                f"--runner=beam: Beam did not finish ({problem}); the same command resumes"
            )
        return [_outcome(job, film, problem) for film in films]
    finally:
        logging.disable(logging.NOTSET)
        with suppress(StorageError):
            storage.remove_folder(outcomes)


def _run(films: list[Path], job: Job, pipeline: Any) -> str:
    """Run the pipeline to its end; return its problem, or ""."""
    beam = importlib.import_module("apache_beam")
    _ = (
        pipeline
        | "films" >> beam.Create([str(film) for film in films])
        | "a film a worker" >> beam.Reshuffle()
        | "plan" >> beam.FlatMap(plan, job)
        | "a shard a worker" >> beam.Reshuffle()
        | "make" >> beam.Map(make, job)
        | "by film" >> beam.GroupByKey()
        | "finish" >> beam.Map(finish, job)
    )
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:  # every runner has its own
        if isinstance(error, RuntimeError) and str(error).startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt from error
        return _line(error)
    return ""


def _pipeline(arguments: list[str]) -> tuple[Any, bool]:
    """Return an empty pipeline of some options, and whether it does one item after the other.

    Options that a local runner would silently ignore are refused.
    """
    logging.disable(logging.WARNING)  # of packages that Beam would like to have for other work
    try:
        beam = importlib.import_module("apache_beam")
        module = importlib.import_module("apache_beam.options.pipeline_options")
        options = module.PipelineOptions(arguments)
        standard = options.view_as(module.StandardOptions)
        local = standard.runner in (None, "DirectRunner", _LOCAL_RUNNER)
        if local:
            known = options.get_all_options(drop_default=True)
            given = options.get_all_options(drop_default=True, retain_unknown_options=True)
            if unknown := sorted(set(given) - set(known)):
                raise UsageError(f"--beam_options: Beam has no option --{unknown[0]}")
            _let_local_workers_import()
        standard.runner = standard.runner or _LOCAL_RUNNER
        one_by_one = local and options.view_as(module.DirectOptions).direct_num_workers == 1
        return beam.Pipeline(options=options), one_by_one
    except (ValueError, SystemExit) as error:  # Beam's parser leaves the program
        reason = str(error).split(". ")[0] if isinstance(error, ValueError) else "cannot be read"
        raise UsageError(f"--beam_options={shlex.join(arguments)}: {reason}") from error
    finally:
        logging.disable(logging.NOTSET)


def _let_local_workers_import() -> None:
    """Make this package importable, if not installed, in processes that the local runner starts."""
    root = str(Path(__file__).resolve().parent.parent.parent)
    known = os.environ.get("PYTHONPATH", "")
    if root not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, known)))


def plan(film: str, job: Job) -> list[tuple[str, Item]]:
    """First step: return the items of a film, each with the film's name."""
    items, error = _guarded(lambda: plan_film(Path(film), job))
    if not items:
        _tell(job, Path(film), error, up_to_date=not error)
    return [(film, item) for item in items or []]


def make(named: tuple[str, Item], job: Job) -> tuple[str, _Done]:
    """Second step: do an item, or give the reason of its failure."""
    film, item = named
    reason, error = _guarded(lambda: make_item(item, job))
    return film, _Done(item, reason or "", error)


def finish(named: tuple[str, Iterable[_Done]], job: Job) -> None:
    """Third step: put a film together from its items."""
    film, done = named[0], sorted(named[1], key=lambda one: one.item.shard)
    error = next((one.error for one in done if one.error), "")
    if not error and not storage.exists(_told(job, Path(film))):
        reasons = [one.reason for one in done]
        _, error = _guarded(lambda: finish_film(done[0].item, reasons, job))
    _tell(job, Path(film), error)


def _guarded(work: Callable[[], _Result]) -> tuple[_Result | None, str]:
    """Return the result of some work, or the line that says why there is none."""
    for left in reversed(range(_TRIES)):
        try:
            return work(), ""
        except Exception as error:
            ours = isinstance(error, BladerunnerError)
            if not left or (ours and not isinstance(error, ConnectionLostError)):
                return None, _line(error)
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError("unreachable")


def _line(error: Exception) -> str:
    from bladerunner_ae.command_line.app import explain

    return explain(error)[0]


def _outcomes(job: Job) -> Location:
    return job.output_dir / f".beam-{job.name}"


def _told(job: Job, film: Path) -> Location:
    folder, name = _outcomes(job), film_name(film)
    if isinstance(folder, Path):
        name = fitted_name(name, longest_name(folder) - len("..json.partial"))
    return folder / f"{name}.json"


def _tell(job: Job, film: Path, error: str, up_to_date: bool = False) -> None:
    path = _told(job, film)
    if not storage.exists(path):  # by an earlier try of the same step
        with suppress(FileNotFoundError):  # the caller was stopped and waits no longer
            storage.write_text(path, json.dumps({"error": error, "up_to_date": up_to_date}))


def _outcome(job: Job, film: Path, problem: str) -> Outcome:
    """Return the end of a film; `problem` is that of the pipeline."""
    try:
        told = json.loads(storage.read_text(_told(job, film)))
        if told["error"]:
            return Outcome(film, None, told["error"])
        card = load_card(job.output_dir / film_name(film))
        return Outcome(film, card, up_to_date=told["up_to_date"])
    except FileNotFoundError:
        reason = f" ({problem})" if problem else ""
        return Outcome(
            film, None, f"{film}: Beam did not finish it{reason}; the same command resumes"
        )
    except RecordsError as error:
        return Outcome(film, None, str(error))


@contextmanager
def _telling_progress(outcomes: Location, films: int) -> Iterator[None]:
    """Count on stderr the films that have ended."""
    over = threading.Event()
    local = isinstance(outcomes, Path)
    pause = _LOOK_EVERY_SECONDS if local else _LOOK_REMOTELY_EVERY_SECONDS

    def watch(progress: Progress) -> None:
        seen, ends = 0, False
        while not ends:
            ends = over.wait(pause)
            with suppress(StorageError):
                count = sum(name.endswith(".json") for name in storage.names(outcomes))
                progress.update(count - seen)
                seen = count

    with Progress("convert", films, unit="films") as progress:
        watcher = threading.Thread(target=watch, args=(progress,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
