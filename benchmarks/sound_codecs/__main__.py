"""Reassemble films with the sound of every codec into every kind of output, and listen.

The films flash and beep at known moments; so do the results, read by ffmpeg's own program. An
autoencoder that changes nothing stands for the network. In each cell: `copied` (the packets are
those of the film), `anew` (another codec, as the command said), `refused` (before any frame was
dreamt), or `WRONG`; and how far, in milliseconds, beeps moved against their flashes. Results are
kept as they come: a stopped run resumes. Ends with exit code 3 if anything is wrong.

Examples:
  python -m benchmarks.sound_codecs --output=docs/measured/sound_codecs.md
  python -m benchmarks.sound_codecs --only="truehd" --keep=scratch
"""

import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import markdown
from benchmarks.judging.forked_commands import REASSEMBLE, Commands, Ended, write_identity_model
from benchmarks.judging.kept_results import Kept, code_digest, work_off
from benchmarks.judging.player import UnreadableError, describe, packets, payload
from benchmarks.runs import say
from benchmarks.sound_codecs.beeping_films import (
    FLASHES,
    RATE,
    SPECIAL_FILMS,
    Film,
    Made,
    codec_films,
    look,
    make,
    make_master,
)
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import OutputError

OUTPUTS = ("mp4", "m4v", "mov", "mkv")
COPIED, ANEW, REFUSED, WRONG, UNMADE = "copied", "anew", "refused", "WRONG", "unmade"

# A quarter of a frame: Matroska's clock rounds by a millisecond a stream, and the times of Vorbis
# in Ogg, which ffmpeg makes up, shake by nine.
MOST_APART_SECONDS = 0.25 / RATE


def judge(film: Film, made: Made, output: Path, ended: Ended) -> dict[str, Any]:
    """Return "kind", "apart" (milliseconds) and "detail" of the result of a command."""
    if ended.failure:
        return _row(WRONG, ended.failure)
    if ended.code:
        dreamt = "dream:" in ended.err or output.exists()
        return _row(WRONG if dreamt else REFUSED, ended.error)
    try:
        result = look(output, output.suffix[1:], len(film.tracks))
        described = describe(output)
        problems, kinds = _compare(film, made, result, output, ended)
    except (UnreadableError, ValueError) as error:
        return _row(WRONG, f"the result: {error}")
    if len(described.sounds) != len(film.tracks):
        problems.append(f"{len(described.sounds)} sound tracks of {len(film.tracks)}")
    elif described.languages != [track.language for track in film.tracks]:
        problems.append(f"languages {described.languages}")
    moved = _moved(made, result)
    if moved > MOST_APART_SECONDS:
        problems.append(f"{1000 * moved:.1f} ms out of sync")
    kind = WRONG if problems else " + ".join(dict.fromkeys(kinds))
    return _row(kind, "; ".join(problems), moved)


def _row(kind: str, detail: str, moved: float = 0) -> dict[str, Any]:
    return {"kind": kind, "detail": detail, "apart": round(1000 * moved, 2)}


def _moved(made: Made, result: Made) -> float:
    """Return the seconds by which a beep moved against its flash, at most."""
    if len(made.apart()) != len(result.apart()):
        raise ValueError("beeps are missing")
    pairs = zip(made.apart(), result.apart(), strict=True)
    return max(abs(after - before) for before, after in pairs)


def _compare(
    film: Film, made: Made, result: Made, output: Path, ended: Ended
) -> tuple[list[str], list[str]]:
    """Return (problems of the result, kind of each of its sound tracks)."""
    problems, kinds = [], []
    if len(result.flashes) != len(FLASHES):
        raise ValueError(f"{len(result.flashes)} flashes of {len(FLASHES)}")
    between = [
        abs((after - result.flashes[0]) - (before - made.flashes[0]))
        for before, after in zip(made.flashes, result.flashes, strict=True)
    ]
    if max(between) > 0.002:
        problems.append(f"pictures {max(between):.4f} s off")
    before, after = describe(made.path).sounds, describe(output).sounds
    for track, (old, new) in enumerate(zip(made.heard, result.heard, strict=True)):
        if len(new.tones) != len(FLASHES):
            raise ValueError(f"{len(new.tones)} beeps of {len(FLASHES)} in track {track}")
        stream = f"0:a:{track}"
        # By the bytes: MPEG's layers 2 and 3 have one name in .mp4.
        copied = _same(made, output, stream, before[track])
        kinds.append(COPIED if copied else ANEW)
        if not copied and ended.out.count("copied (") > len(film.tracks) - 1:
            problems.append(f"track {track}: said to be copied, but {before[track]} became "
                            f"{after[track]} of other bytes")  # fmt: skip
        if new.channels != old.channels:
            problems.append(f"track {track}: {new.channels} channels of {old.channels}")
        allowed = max(packets(path, stream).longest for path in (made.path, output))
        shift = result.flashes[0] - made.flashes[0]
        begin = abs(new.begin - shift - old.begin)
        end = abs(new.begin + new.seconds - shift - old.begin - old.seconds)
        # Of hidden sound Matroska gets the packet that a decoder needs to begin, and the next.
        early = 2 if film.cut and output.suffix == ".mkv" else 1
        if begin > early * float(allowed) + 0.001 or end > float(allowed) + 0.001:
            problems.append(
                f"track {track}: sound begins {begin:.3f} s and ends {end:.3f} s from where it did"
            )
    return problems, kinds


def _same(made: Made, output: Path, stream: str, codec: str) -> bool:
    """Return whether a track's packets hold the same bytes on both sides."""
    if codec.startswith(("pcm", "adpcm", "mp2", "mp3")):  # containers cut it as they like
        return payload(made.path, stream) == payload(output, stream)
    # Broadcasts repeat in each packet what files keep once.
    unpack = "aac_adtstoasc" if codec == "aac" and made.container in ("ts", "m2ts") else ""
    before = packets(made.path, stream, unpack).digests
    after = packets(output, stream).digests
    if made.container in ("mp4", "mov") and len(after) < len(before):
        # An edit list hides packets; what no decoder needs may be left out.
        before = before[len(before) - len(after) :]
    return before == after


def run_case(film: Film, commands: Commands, folder: Path, model: Path) -> dict[str, Any]:
    """Make a film, reassemble it into every kind of output and judge each.

    Returns "container" and, by output, what `judge` gives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = make(film, folder, make_master(folder))
    except UnreadableError as error:
        return {"container": "-", UNMADE: str(error)}
    rows: dict[str, Any] = {"container": made.container}
    for suffix in OUTPUTS:
        output = folder / f"{made.path.stem}_{made.container}_dream.{suffix}"
        ended = commands.run(
            REASSEMBLE, f"--film={made.path}", f"--model={model}", f"--output={output}",
            "--overwrite", "--crop_bars=none", "--crf=10",
        )  # fmt: skip
        rows[suffix] = judge(film, made, output, ended)
    return rows


def films() -> dict[str, Film]:
    """Return all films by name."""
    return {film.name: film for film in (*codec_films(), *SPECIAL_FILMS)}


def table(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a table: a row for each film, a column for each kind of output."""
    rows = [
        [name, cells["container"], *(
            cells[suffix]["kind"]
            + (f", {cells[suffix]['apart']:.1f} ms" if cells[suffix]["kind"] != REFUSED else "")
            for suffix in OUTPUTS
        )]
        for name, cells in results.items()
        if UNMADE not in cells
    ]  # fmt: skip
    return markdown.table(["sound", "film", *OUTPUTS], rows)


def summary(results: Mapping[str, Mapping[str, Any]], codecs: int) -> list[str]:
    """Return the number of cells of each kind, and the wrong and refused ones with reasons."""
    made = {name: rows for name, rows in results.items() if UNMADE not in rows}
    cells = [(name, suffix, made[name][suffix]) for name in made for suffix in OUTPUTS]
    kinds = Counter(cell["kind"] for _, _, cell in cells)
    counted = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    wrong = [
        f"* {name} -> {suffix}: {cell['detail']}"
        for name, suffix, cell in cells
        if cell["kind"] == WRONG
    ]
    refused: dict[str, list[str]] = {}
    for name, suffix, cell in cells:
        if cell["kind"] == REFUSED:
            words = cell["detail"].rpartition("/")[2]
            refused.setdefault(words, []).append(f"{name} -> {suffix}")
    lines = [f"{codecs} codecs, {len(cells)} films written or refused: {counted}.", ""]
    lines += ["Wrong:", "", *(wrong or ["* none wrong"]), ""]
    if refused:
        lines += ["Refused before dreaming:", ""]
        lines += [f"* {words}: {', '.join(which)}" for words, which in refused.items()]
        lines += [""]
    unmade = [name for name, rows in results.items() if UNMADE in rows]
    if unmade:
        lines += [f"ffmpeg encodes these too, but puts them into no film that it can read back in "
                  f"step: {', '.join(unmade)}.", ""]  # fmt: skip
    return lines


def main() -> None:
    """Work off all films that have no result yet and write the page."""
    values = flags.FLAGS
    chosen = {name: film for name, film in films().items() if values.only in name}
    commands = Commands(values.limit_seconds)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(values.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        model = write_identity_model(folder / "identity")
        make_master(folder)
        state = Path(values.state or "build/sound_codecs.jsonl")
        kept = Kept(folder / "results.jsonl" if values.keep else state, code_digest())

        def work(name: str) -> dict[str, Any]:
            # Several films at once write files of the same name.
            own = folder / "".join(c if c.isalnum() else "_" for c in name)
            return run_case(chosen[name], commands, own, model)

        for name, rows in work_off(chosen, work, kept, values.workers):
            for suffix in OUTPUTS:
                if rows.get(suffix, {}).get("kind") == WRONG:
                    say(f"{name} -> {suffix}: {rows[suffix]['detail']}")
    results = {name: kept.results[name] for name in chosen}
    codecs = sum(UNMADE not in results.get(film.name, {UNMADE: ""}) for film in codec_films())
    lines = ["# The sound of every codec, in every kind of output", "",
             f"Written by `python -m benchmarks.sound_codecs`, {time.monotonic() - start:.0f} s. "
             f"Flashes and beeps of {RATE} frames a second, read by ffmpeg; the figure is how far "
             "a beep moved against its flash.", "",
             *summary(results, codecs), *table(results)]  # fmt: skip
    markdown.publish("\n".join(lines), values.output)
    bad = sum(rows.get(s, {}).get("kind") == WRONG for rows in results.values() for s in OUTPUTS)
    if bad:
        raise OutputError(f"{bad} results are wrong; --only=NAME --keep=FOLDER repeats a film's")


def cli() -> None:
    flags.DEFINE_string("only", "", "Films whose name has this in it.")
    flags.DEFINE_string("keep", None, "Folder to keep films and results in; starts over there.")
    flags.DEFINE_string("state", None, "File of results. Default: build/sound_codecs.jsonl.")
    flags.DEFINE_integer("workers", 2, "Films at once.", lower_bound=1)
    flags.DEFINE_float("limit_seconds", 240, "Time for one command.", lower_bound=1)
    flags.DEFINE_string("output", None, "File for the table, in Markdown.")
    run_command(main)


if __name__ == "__main__":
    cli()
