"""Shows what a network that was trained on one film makes of another, and the other way round.

Both films become records, a network is trained on each and shown both, and the network of each is
fine-tuned on the other one, beside a network trained from scratch for as many steps. Every part is
one of our commands, as anyone would start it, and is printed; the work folder keeps what they wrote.

Killed and started again it goes on: records and runs that are finished are left as they are by
their own commands, figures that are there are not taken again. --table writes table and picture
from the work folder alone, as far as it has come.

Examples:
  python -m benchmarks.cross_film --film=a.mp4 --film=b.mp4
  python -m benchmarks.cross_film --film=a.mp4 --film=b.mp4 --steps=500 --fine_tune_steps=100
  python -m benchmarks.cross_film --table --output=docs/measured/cross_film.md --picture=docs/images/cross_film.png
"""  # noqa: E501

import argparse
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.cross_film.plan import (
    HOLDOUT,
    Film,
    Network,
    Plan,
    figures_of,
    load_plan,
    records_of,
    save_plan,
)
from benchmarks.cross_film.table import table
from benchmarks.demo.__main__ import machine
from bladerunner_ae.command_line.signals import working
from bladerunner_ae.command_line.tensorflow_import import import_tensorflow
from bladerunner_ae.errors import BladerunnerError, InputError, UsageError
from bladerunner_ae.film.reading.source import film_name
from bladerunner_ae.geometry import FITS
from tfrecords.card import load_card

_ROOT = Path(__file__).resolve().parent.parent.parent
_HEIGHT, _WIDTH = 72, 128
# Enough for every shot of a long film; all frames of it would take longer than the training.
_MEASURED_FRAMES = 5000
_STOPPED = 128 + signal.SIGTERM


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--film", type=Path, action="append", default=[], help="twice, one each")
    parser.add_argument("--work", type=Path, default=Path("build/cross_film"), help="folder of all")
    parser.add_argument("--steps", type=int, default=500, help="of the training on each film")
    parser.add_argument("--fine_tune_steps", type=int, default=100,
                        help="of fine-tuning on the other film; 0: leave it out")  # fmt: skip
    parser.add_argument("--holdout_seconds", type=float, default=1.0,
                        help="a tenth of each film is held out in runs of this length; a film "
                        "needs ten of them")  # fmt: skip
    parser.add_argument("--fit", choices=FITS, default="contain",
                        help="how films of another shape go into the records")  # fmt: skip
    parser.add_argument("--table", action="store_true", help="train and measure nothing")
    parser.add_argument("--output", type=Path, help="file for the table")
    parser.add_argument("--picture", type=Path, help="PNG file for frames beside their dreams")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what is missing, then writes table and picture; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        plan = load_plan(options.work) if options.table else measure(options)
        if plan is None:
            raise InputError(f"{options.work}: nothing was measured here; give two --film")
        write_results(options, plan)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 128 + signal.SIGINT
    except BladerunnerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def measure(options: argparse.Namespace) -> Plan:
    """Converts, trains and evaluates what is not done yet."""
    plan = plan_of(options)
    work: Path = options.work
    earlier = load_plan(work)
    if earlier is not None and (different := plan.differences(earlier)):
        raise UsageError(f"{work}: holds other figures ({'; '.join(different)}); give another "
                         "--work, or the same flags as before")  # fmt: skip
    for path in options.film:
        run(["tools/make_tfrecords.py", f"--film={path}", f"--output_dir={work / 'records'}",
             f"--height={_HEIGHT}", f"--width={_WIDTH}", f"--fit={plan.fit}"])  # fmt: skip
    if earlier is None:
        # A film too short to hold out a run is better refused before the other one is trained on.
        for film in plan.films:
            run([*train_command(work, plan, plan.own(film)), "--dry_run"])
        save_plan(work, plan)
    # Both films through both networks first: that much of a table is worth reading.
    for networks in (list(map(plan.own, plan.films)), plan.networks()):
        for network in networks:
            if not measured(work, plan, network):
                train(work, plan, network)
        for film in plan.films:
            for network in plan.shown(film):
                if network in networks and not figures_of(work, network, film).is_file():
                    run(evaluate_command(work, plan, network, film))
    return plan


def plan_of(options: argparse.Namespace) -> Plan:
    """Turns the command line into a plan.

    Raises:
        UsageError: there are not two films of different names, or a number makes no sense.
        InputError: one is not there.
    """
    if len(options.film) != 2:
        raise UsageError(f"give two films, --film=A --film=B, not {len(options.film)}")
    for path in options.film:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; check the path given to --film")
    first, second = (Film(film_name(path), path.name) for path in options.film)
    if first.name == second.name:
        raise UsageError(f"both films would go to {records_of(options.work, first)}; rename one")
    if options.steps < 1 or options.fine_tune_steps < 0 or not options.holdout_seconds > 0:
        raise UsageError("--steps and --holdout_seconds are above 0, --fine_tune_steps is 0 or "
                         "more")  # fmt: skip
    return Plan((first, second), options.steps, options.fine_tune_steps, options.holdout_seconds,
                options.fit, machine())  # fmt: skip


def measured(work: Path, plan: Plan, network: Network) -> bool:
    """Whether all figures of a network are there, and it need not even be asked for."""
    shown = [film for film in plan.films if network in plan.shown(film)]
    exported = (work / network.folder / "export" / "autoencoder").is_dir()
    return exported and all(figures_of(work, network, film).is_file() for film in shown)


def train(work: Path, plan: Plan, network: Network) -> None:
    """Trains a network to its end, or finds it trained."""
    run(train_command(work, plan, network))
    if not (work / network.folder / "export" / "autoencoder").is_dir():
        # It was told to stop by somebody, and did; that is no error of its own.
        print("training was stopped before its end; the same command goes on", file=sys.stderr)
        raise SystemExit(_STOPPED)


def train_command(work: Path, plan: Plan, network: Network) -> list[str]:
    """Arguments of Python that train a network."""
    tuned = []
    if network.source is not None:
        tuned = [f"--fine_tune_from={work / plan.own(network.source).folder}"]
    return ["-m", "bladerunner_ae.train", f"--data={records_of(work, network.film)}",
            f"--model_dir={work / network.folder}", "--preset=preview", f"--holdout={HOLDOUT}",
            f"--holdout_seconds={plan.holdout_seconds:g}", f"--steps={network.steps}",
            *tuned]  # fmt: skip


def evaluate_command(work: Path, plan: Plan, network: Network, film: Film) -> list[str]:
    """Arguments of Python that show a film to a network."""
    # The baselines are the film's, not the network's: those of its longest training are enough.
    baselines = [] if network == plan.own(film) else ["--nobaselines"]
    return ["-m", "bladerunner_ae.evaluate",
            f"--model={work / network.folder / 'export' / 'autoencoder'}",
            f"--data={records_of(work, film)}", f"--output={figures_of(work, network, film)}",
            f"--max_frames={_MEASURED_FRAMES}", *baselines]  # fmt: skip


def run(arguments: Sequence[str]) -> None:
    """Runs one of our commands, which says itself what it does and what went wrong.

    Raises:
        SystemExit: it failed; its exit code is passed on.
    """
    print(f"\n$ python {shlex.join(arguments)}", file=sys.stderr, flush=True)
    script, *rest = arguments
    path = [str(_ROOT / script)] if script.endswith(".py") else [script]
    # Its results are ours only once they are in the table, which alone goes to stdout.
    process = subprocess.Popen([sys.executable, *path, *rest], stdout=sys.stderr)
    try:
        process.wait()
    except BaseException:
        process.terminate()  # and let it close its files before we go
        process.wait()
        raise
    if process.returncode:
        raise SystemExit(process.returncode if process.returncode > 0 else 128 - process.returncode)


def write_results(options: argparse.Namespace, plan: Plan) -> None:
    """Writes the table from the figures that are there, and the picture if it was asked for."""
    work: Path = options.work
    found = {
        (network.folder, film.name): json.loads(path.read_text("utf-8"))
        for film in plan.films
        for network in plan.shown(film)
        if (path := figures_of(work, network, film)).is_file()
    }
    cards = {film.name: load_card(records_of(work, film)) for film in plan.films}
    text = table(plan, found, cards)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n", "utf-8")
    if options.picture:
        # TensorFlow is needed for this alone, and takes seconds to import.
        import_tensorflow()
        from benchmarks.cross_film.picture import draw

        png = draw(work, plan)
        options.picture.parent.mkdir(parents=True, exist_ok=True)
        options.picture.write_bytes(png)


if __name__ == "__main__":
    # A signal must reach the command that is at work, which then writes a checkpoint.
    with working():
        code = main()
    sys.exit(code)
