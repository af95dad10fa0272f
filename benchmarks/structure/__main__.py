"""Put films together at random, in every way films are, and judge what the commands make of them.

Container, codecs, rates, clocks, offsets, edit lists, matrices, crops, shapes, fields, tracks,
programmes, names, titles follow from a seed. What is right follows from how a film was made, and
ffmpeg's own program reads it so; other films are drawn again. Each is converted to records and
reassembled through an autoencoder that changes nothing; frames carry numbers, some flash and beep.
Results are kept as they come: a stopped run resumes. Ends with exit code 3 if anything is wrong, or
refused without one of the reasons in `benchmarks.structure.judge.allowed_refusals`.

Examples:
  python -m benchmarks.structure --output=docs/measured/structure_fuzz.md
  python -m benchmarks.structure --only=123 --keep=case_123
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.judging.forked_commands import REASSEMBLE, RECORDS, Commands, write_identity_model
from benchmarks.judging.kept_results import Kept, code_digest, work_off
from benchmarks.judging.player import UnreadableError
from benchmarks.markdown import numbers, publish, table
from benchmarks.runs import say
from benchmarks.structure.judge import (
    REFUSED,
    RIGHT,
    UNEXPLAINED,
    WRONG,
    Source,
    Verdict,
    check_source,
    judge_command,
    judge_film,
    judge_records,
)
from benchmarks.structure.making import Truth, make
from benchmarks.structure.recipes import CONTAINERS, Recipe, draw
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import OutputError

STEPS = ("records", "film")
_ORDER = (WRONG, UNEXPLAINED, REFUSED, RIGHT)
_MOST_ATTEMPTS = 20
_LONGEST_REASON = 80

Results = Mapping[str, Mapping[str, Any]]


def run_case(
    seed: int, number: int, commands: Commands, folder: Path, model: Path
) -> dict[str, Any]:
    """Make a film in an emptied folder, convert it, reassemble it and judge both.

    Returns "recipe" in words, "container", by step [kind, detail], and "redrawn": the reasons for
    which other films were drawn before.
    """
    redrawn = []
    for attempt in range(_MOST_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        recipe = draw(seed, number, attempt)
        try:
            path, truth = make(recipe, folder)
            source = check_source(recipe, path, truth)
        except UnreadableError as error:
            # ffmpeg's own words hold addresses and speeds: never the same twice.
            words = f"ffmpeg does not read {recipe.video} in {recipe.container}"
            redrawn.append(words if len(str(error)) > _LONGEST_REASON else str(error))
            continue
        verdicts = judge(recipe, path, truth, source, commands, model)
        return {
            "recipe": recipe.describe(),
            "container": recipe.container,
            "redrawn": redrawn,
            **{step: [one.kind, one.detail] for step, one in zip(STEPS, verdicts, strict=True)},
        }
    raise RuntimeError(f"case {number}: no film could be made: {redrawn[-1]}")


def judge(
    recipe: Recipe, path: Path, truth: Truth, source: Source, commands: Commands, model: Path
) -> tuple[Verdict, Verdict]:
    """Return (verdict on the records, verdict on the film) that the commands make of a film."""
    folder = path.parent
    film = path.name if recipe.relative else str(path)
    stem = f"{recipe.name} dreamt" if recipe.relative else "dream"
    output, records = folder / f"{stem}{recipe.output}", folder / "records"
    rate = [f"--frame_rate={recipe.rate}"] if recipe.container == "images" else []
    ended = commands.run(
        RECORDS, f"--film={film}", "--output_dir=records", "--format=png", "--num_shards=2",
        "--pixels=16384", "--multiple=8", *rate, folder=folder,
    )  # fmt: skip
    converted = judge_command(recipe, ended, bool(list(records.glob("*/film.json"))), late=False)
    if converted is None:
        converted = judge_records(recipe, truth, source, records)
    ended = commands.run(
        REASSEMBLE, f"--film={film}", f"--model={model}", "--crf=10", *rate,
        f"--output={output.name if recipe.relative else output}", folder=folder,
    )  # fmt: skip
    dreamt = judge_command(recipe, ended, output.exists(), late="dream:" in ended.err)
    if dreamt is None:
        dreamt = judge_film(recipe, truth, source, output)
    return converted, dreamt


def worst(result: Mapping[str, Any]) -> str:
    """Return the worse of the verdicts of a case."""
    return min((result[step][0] for step in STEPS), key=_ORDER.index)


def container_table(results: Results) -> list[str]:
    """Return the number of films of each container by outcome, as a table."""
    count = Counter((result["container"], worst(result)) for result in results.values())
    kinds = _ORDER[::-1]
    rows = [[name, *(count[name, kind] for kind in kinds)] for name in CONTAINERS]
    rows = [row for row in rows if any(row[1:])]
    sums = [sum(count[name, kind] for name in CONTAINERS) for kind in kinds]
    return table(["container", *kinds], [*rows, ["all", *sums]], numbers(len(kinds)))


def failures(results: Results) -> list[str]:
    """Return one line for each failed step of each case."""
    return [
        f"* {number}, {step}: {result[step][0]}: {result[step][1]} ({result['recipe']})"
        for number, result in sorted(results.items(), key=lambda item: int(item[0]))
        for step in STEPS
        if result[step][0] in (WRONG, UNEXPLAINED)
    ]


def refusals(results: Results) -> list[str]:
    """Return one line for each reason for which films were rightly refused."""
    count = Counter(
        result[step][1]
        for result in results.values()
        for step in STEPS
        if result[step][0] == REFUSED
    )
    return [f"* {why}: {number}" for why, number in count.most_common()]


def page(results: Results, seed: int, seconds: float) -> list[str]:
    """Return the lines of the page."""
    redrawn = Counter(reason for result in results.values() for reason in result["redrawn"])
    steps = Counter(result[step][0] for result in results.values() for step in STEPS)
    return [
        "# Films put together at random",
        "",
        f"Written by `python -m benchmarks.structure --seed={seed}`: {len(results)} films, "
        f"each converted and reassembled, {seconds:.0f} s. Of the {sum(steps.values())} results "
        + ", ".join(f"{steps[kind]} are {kind.lower()}" for kind in reversed(_ORDER))
        + ". A film counts by the worse of its two.",
        "",
        *container_table(results),
        "",
        "Refused, as it should be:",
        "",
        *(refusals(results) or ["* none"]),
        "",
        "Wrong or unexplained (`--only=NUMBER --keep=FOLDER` repeats one):",
        "",
        *(failures(results) or ["* none"]),
        "",
        f"{sum(redrawn.values())} films were drawn again: ffmpeg could not make them, or did not "
        "read them as they were meant. Most often:",
        "",
        *(f"* {reason}: {number}" for reason, number in redrawn.most_common(12)),
    ]


def main() -> None:
    """Work off the cases that have no result yet and write the page."""
    values = flags.FLAGS
    commands, start = Commands(values.limit_seconds), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(values.keep or temporary).absolute()
        scratch.mkdir(parents=True, exist_ok=True)
        model = write_identity_model(scratch / "identity")
        if values.only is not None:
            result = run_case(values.seed, values.only, commands, scratch / "case", model)
            print(f"{result['recipe']}\n" + "\n".join(f"{s}: {result[s]}" for s in STEPS))
            return

        def work(number: str) -> dict[str, Any]:
            folder = scratch / number
            result = run_case(values.seed, int(number), commands, folder, model)
            if not values.keep:
                shutil.rmtree(folder)
            return result

        state = Path(values.state or f"build/structure_fuzz_{values.seed}.jsonl")
        kept = Kept(state, f"{code_digest()} {values.seed}")
        cases = [str(number) for number in range(values.cases)]
        for number, result in work_off(cases, work, kept, values.workers):
            if worst(result) in (WRONG, UNEXPLAINED):
                say("\n".join(failures({number: result})))
    results = {number: kept.results[number] for number in cases}
    publish("\n".join(page(results, values.seed, time.monotonic() - start)), values.output)
    if bad := failures(results):
        raise OutputError(f"{len(bad)} results are wrong or unexplained")


def cli() -> None:
    flags.DEFINE_integer("cases", 500, "Films.", lower_bound=1)
    flags.DEFINE_integer("seed", 1, "Other seed, other films.", lower_bound=0)
    flags.DEFINE_integer("workers", 2, "Films at once.", lower_bound=1)
    flags.DEFINE_float("limit_seconds", 240, "Time for one command.", lower_bound=1)
    flags.DEFINE_integer("only", None, "Repeat this case alone.")
    flags.DEFINE_string("keep", None, "Folder to keep the films and what became of them in.")
    flags.DEFINE_string("state", None, "File of results. Default: build/structure_fuzz_SEED.jsonl.")
    flags.DEFINE_string("output", None, "File for the table, in Markdown.")
    run_command(main)


if __name__ == "__main__":
    cli()
