"""Turn a film into its autoencoded self: records, training, evaluation, reassembly.

Runs the commands of this project one after the other, each printed as it is run, and leaves in
OUTPUT_DIR/<film>/:

  autoencoded.mp4    the film as the network dreams it, with the original soundtrack
  side_by_side.mp4   original left, dream right
  contact_sheet.png  pairs of frames across the film
  run/               the run: samples, curves, checkpoints, exported models
  records/<film>/    the film as TFRecords

Stopped at any moment, the same command resumes with the first step that is not finished.

Examples:
  python tools/make_film.py --film=my_film.mp4
  python tools/make_film.py --film=my_film.mp4 --output_dir=out --holdout=0.1
  python tools/make_film.py --film=my_film.mp4 --minutes=60
  python tools/make_film.py --film=my_film.mp4 --preset=base --steps=50000
"""

import os
import sys

if __package__ in (None, ""):  # `python tools/NAME.py` where the package is not installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import parse_local
from bladerunner_ae.command_line.tensorflow_import import need_tensorflow
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.source import Source
from bladerunner_ae.film.writing.ffmpeg import ffmpeg_program
from bladerunner_ae.pipeline import Job, check_job, job_folder, make_film
from bladerunner_ae.runs import presets


def main() -> None:
    """Read the flags, make the film, print the summary as the last line."""
    need_tensorflow()
    ffmpeg_program()
    values = flags.FLAGS
    film = parse_local("film", values.film)
    if not Source(film).exists:
        flag = "FILM" if "MAKELEVEL" in os.environ else "--film"  # as the person gave it
        raise InputError(f"{film}: no such file or folder; check the path given to {flag}")
    job = Job(
        film=film,
        folder=job_folder(parse_local("output_dir", values.output_dir), film),
        preset=values.preset,
        steps=values.steps,
        epochs=values.epochs,
        minutes=values.minutes,
        memory=values.memory,
        holdout=values.holdout,
        holdout_seconds=values.holdout_seconds,
        max_height=values.max_height,
        overwrite=values.overwrite,
    )
    check_job(job)
    print(make_film(job))


def cli() -> None:
    flags.DEFINE_string("film", None, "Film file, or folder of numbered images.", required=True)
    flags.DEFINE_string("output_dir", "out", "Folder for the results of all films.")
    flags.DEFINE_string("preset", "preview", f"Model: {', '.join(presets.PRESETS)}.")
    flags.DEFINE_integer("steps", None, "Training steps. Default: by --epochs.")
    flags.DEFINE_float(
        "epochs", None, "Passes over the film in training. Default: the preset's number."
    )
    flags.DEFINE_float("minutes", None, "Minutes of learning on this machine.")
    flags.DEFINE_float(
        "memory", None, "What the network knows before it learns: 0 hazy, 1 all. Default: 0.5."
    )
    flags.DEFINE_float("holdout", 0.0, "Fraction of the film to keep from training.")
    flags.DEFINE_float(
        "holdout_seconds", 0.0, "Hold out runs of this length instead of whole shots."
    )
    flags.DEFINE_integer(
        "max_height",
        None,
        "Largest height of the films; 0: any. Default: 720, or 360 for films of more than half an "
        "hour.",
    )
    flags.DEFINE_bool("overwrite", False, "Start over: records, training and films.")
    run_command(main, less_memory="a smaller --max_height takes less")


if __name__ == "__main__":
    cli()
