"""Damage films and records in a thousand ways and judge the results.

Films of six containers and codecs are flipped, cut, holed and shuffled by a random generator that
follows from the seed, and converted in processes of their own. Every one must end in records equal
to the undamaged film's, in records whose card notes the damage, or in one line that refuses the
film. Damaged records must be refused by every reader with a line that names the shard.

Ends with exit code 3 if anything else happened; each such case is listed with its number.

Examples:
  python -m benchmarks.fuzz --output=fuzz.md
  python -m benchmarks.fuzz --cases=200 --seed=7
  python -m benchmarks.fuzz --only=123 --keep=case_123
"""

import tempfile
import time
from collections import Counter
from pathlib import Path

from absl import flags

from benchmarks.fuzz import damaged_films as fuzz_films
from benchmarks.fuzz import records as fuzz_records
from benchmarks.fuzz.damaged_films import FAILURES, Case, Converted, Outcome
from benchmarks.fuzz.pool import Resources, Workers
from benchmarks.markdown import numbers, publish, table
from benchmarks.runs import say
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.errors import OutputError

Results = list[tuple[Case, Outcome]]


def convert_whole(films: dict[str, Path], scratch: Path) -> dict[str, Converted]:
    """Convert the undamaged films; looking for bars must make no difference."""
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
    """Run the cases; return each with its outcome, and the resources of the processes."""
    films = fuzz_films.make_films(folder)
    whole = convert_whole(films, folder)
    results: Results = []
    with (
        Workers(films, whole, folder, seed, workers, limit_seconds) as pool,
        Progress("fuzz", cases, "films") as progress,
    ):
        for case, outcome in pool.run(fuzz_films.make_case(number) for number in range(cases)):
            results.append((case, outcome))
            for line in failures([(case, outcome)]):
                say(line)
            progress.update()
    return sorted(results, key=lambda result: result[0].number), pool.resources


def film_table(results: Results) -> list[str]:
    """Return the number of films of each kind by outcome, as a table."""
    count = Counter((case.film, outcome.kind) for case, outcome in results)
    films = list(dict.fromkeys(case.film for case, _ in results))
    rows = []
    for kind in fuzz_films.CLASSES:
        cells = [count[film, kind] for film in films]
        rows.append([kind, *cells, sum(cells)])
    return table(["outcome", *films, "all"], rows, numbers(len(films) + 1))


def resource_lines(resources: list[Resources]) -> list[str]:
    """Return one line for each process of several cases: whether it leaks."""
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
    """Return one line for each failed case."""
    return [
        f"case {case.number}: {case.film}, {case.damage}: {outcome.kind}: {outcome.detail}"
        for case, outcome in results
        if outcome.kind in FAILURES
    ]


def run_one(number: int, seed: int, folder: Path) -> None:
    """Repeat one case in this process and leave film and records in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    films = fuzz_films.make_films(folder)
    case = fuzz_films.make_case(number)
    film = films[case.film]
    whole = fuzz_films.convert(film, folder / "whole", find_bars=False)
    outcome = fuzz_films.run_case(case, film, whole, folder / "case", seed, keep=True)
    print(f"{case}: {outcome.kind}: {outcome.detail}")


def main() -> None:
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
            lines += [*film_table(results), "", *resource_lines(resources)]
            bad += failures(results)
        if values.rounds:
            found = fuzz_records.attack(Path(name) / "records", values.rounds, values.seed)
            lines += ["", f"damaged records, {values.rounds} rounds, seed {values.seed}:", ""]
            lines += fuzz_records.table(found)
            bad += [str(one) for one in found if one.failed]
    lines += ["", *(bad or ["no failures"])]
    publish("\n".join(lines), values.output)
    if bad:
        raise OutputError(f"{len(bad)} cases failed; --only=NUMBER --keep=FOLDER repeats a film's")


def cli() -> None:
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
