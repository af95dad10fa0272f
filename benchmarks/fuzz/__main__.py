"""Damages films and records in a thousand ways and looks at what becomes of them.

Films of six containers and codecs are flipped, cut, holed and shuffled by a random generator that
follows from the seed, and converted in processes of their own. Every one must end in records equal
to the undamaged film's, in records whose card says what is damaged, or in one line that refuses the
film. Damaged records must be refused by every reader with a line that names the shard.

Ends with exit code 3 if anything else happened; each such case is listed with its number.

Examples:
  python -m benchmarks.fuzz --output=fuzz.md
  python -m benchmarks.fuzz --cases=200 --seed=7
  python -m benchmarks.fuzz --only=123 --keep=case_123
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from absl import flags

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.fuzz import films as fuzz_films
from benchmarks.fuzz import records as fuzz_records
from benchmarks.fuzz.films import FAILURES, Case, Converted, Outcome
from benchmarks.fuzz.workers import Resources, Workers
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.errors import OutputError

Results = list[tuple[Case, Outcome]]


def convert_whole(films: dict[str, Path], scratch: Path) -> dict[str, Converted]:
    """What the undamaged films become; looking for bars must make no difference."""
    whole = {}
    for name, path in films.items():
        whole[name] = fuzz_films.convert(path, scratch / f"whole-{name}", find_bars=False)
        with_bars = fuzz_films.convert(path, scratch / f"bars-{name}", find_bars=True)
        if with_bars != whole[name]:
            raise AssertionError(f"{name}: bars were found where there are none")
    return whole


def fuzz_all_films(
    cases: int, seed: int, folder: Path, workers: int, limit_seconds: float
) -> tuple[Results, list[Resources]]:
    """Runs the cases; returns each with its outcome, and what the processes used."""
    films = fuzz_films.make_films(folder)
    whole = convert_whole(films, folder)
    results: Results = []
    with (
        Workers(films, whole, folder, seed, workers, limit_seconds) as pool,
        Progress("fuzz", cases, "films") as progress,
    ):
        for case, outcome in pool.run(fuzz_films.make_case(number) for number in range(cases)):
            results.append((case, outcome))
            if outcome.kind in FAILURES:
                print(f"case {case.number}: {case.film}, {case.damage}: {outcome.kind}: "
                      f"{outcome.detail}", file=sys.stderr)  # fmt: skip
            progress.update()
    return sorted(results, key=lambda result: result[0].number), pool.resources


def table(results: Results) -> list[str]:
    """Markdown: how many films of each kind ended how."""
    count = Counter((case.film, outcome.kind) for case, outcome in results)
    films = list(dict.fromkeys(case.film for case, _ in results))
    lines = [
        f"| outcome | {' | '.join(films)} | all |",
        f"|---|{'---:|' * (len(films) + 1)}",
    ]
    for kind in fuzz_films.CLASSES:
        numbers = [count[film, kind] for film in films]
        lines.append(f"| {kind} | {' | '.join(map(str, numbers))} | {sum(numbers)} |")
    return lines


def resource_lines(resources: list[Resources]) -> list[str]:
    """One line for each process that lived long enough: whether it leaks."""
    lines = []
    for number, used in enumerate(resources):
        if used.first is None or used.last is None or used.cases < 2:
            continue
        lines.append(
            f"process {number}, {used.cases} films: "
            f"{used.first.rss / 2**20:.0f} MiB resident early, {used.last.rss / 2**20:.0f} MiB at "
            f"the end, {used.most_rss / 2**20:.0f} MiB at most; descriptors "
            f"{used.first.descriptors} -> {used.last.descriptors}, threads "
            f"{used.first.threads} -> {used.last.threads}"
        )
    return lines


def failures(results: Results) -> list[str]:
    """One line for each case that must not be."""
    return [
        f"case {case.number}: {case.film}, {case.damage}: {outcome.kind}: {outcome.detail}"
        for case, outcome in results
        if outcome.kind in FAILURES
    ]


def run_one(number: int, seed: int, folder: Path) -> None:
    """Repeats one case in this process and leaves film and records in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    films = fuzz_films.make_films(folder)
    case = fuzz_films.make_case(number)
    film = films[case.film]
    whole = fuzz_films.convert(film, folder / "whole", find_bars=False)
    outcome = fuzz_films.run_case(case, film, whole, folder / "case", seed, keep=True)
    print(f"{case}: {outcome.kind}: {outcome.detail}")


def main() -> None:
    """Reads the flags, fuzzes, prints and writes the tables."""
    values = flags.FLAGS
    if values.only is not None:
        run_one(values.only, values.seed, Path(values.keep or tempfile.mkdtemp()))
        return
    start = time.monotonic()
    lines, bad = [], []
    with tempfile.TemporaryDirectory() as name:
        if values.cases:
            results, resources = fuzz_all_films(
                values.cases, values.seed, Path(name), values.workers, values.limit_seconds
            )
            seconds = time.monotonic() - start
            lines += [f"{len(results)} damaged films, seed {values.seed}, {seconds:.0f} s:", ""]
            lines += [*table(results), "", *resource_lines(resources)]
            bad += failures(results)
        if values.rounds:
            found = fuzz_records.attack(Path(name) / "records", values.rounds, values.seed)
            lines += ["", f"damaged records, {values.rounds} rounds, seed {values.seed}:", ""]
            lines += fuzz_records.table(found)
            bad += [str(one) for one in found if one.failed]
    lines += ["", *(bad or ["no failures"])]
    print("\n".join(lines))
    if values.output:
        Path(values.output).write_text("\n".join(lines) + "\n", "utf-8")
    if bad:
        raise OutputError(f"{len(bad)} cases failed; --only=NUMBER --keep=FOLDER repeats a film's")


def cli() -> None:
    """Runs the benchmark."""
    flags.DEFINE_integer("cases", 1000, "Damaged films.", lower_bound=0)
    flags.DEFINE_integer("rounds", 10, "Times each kind of damage to records.", lower_bound=0)
    flags.DEFINE_integer("seed", 0, "Other seed, other damage.", lower_bound=0)
    flags.DEFINE_integer("workers", 2, "Processes.", lower_bound=1)
    flags.DEFINE_float("limit_seconds", 30, "Time for one film.", lower_bound=1)
    flags.DEFINE_integer("only", None, "Repeat this case alone.")
    flags.DEFINE_string("keep", None, "Folder for film and records of that case.")
    flags.DEFINE_string("output", None, "File for the tables, in Markdown.")
    run_command(main)


if __name__ == "__main__":
    cli()
