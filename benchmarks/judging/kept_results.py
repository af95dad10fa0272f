"""Results of a long benchmark, kept case by case, so that a stopped run resumes."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.runs import ROOT

_JUDGED = ("bladerunner_ae", "tfrecords", "tools", "benchmarks")


def code_digest() -> str:
    """Digest of the code that is judged and of the judges: other code, other results."""
    digest = hashlib.sha256()
    for folder in _JUDGED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Kept:
    """One JSON object a line, by name of the case; those of another digest are ignored.

    The digest is that of the code (`code_digest`), and all else that decides the results.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest = path, digest
        self.results: dict[str, dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text("utf-8").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:  # half a line of a run that was killed
                continue
            if row["digest"] == digest:
                self.results[row["case"]] = row["result"]

    def add(self, case: str, result: dict[str, Any]) -> None:
        """Keep a result at once."""
        self.results[case] = result
        row = {"digest": self._digest, "case": case, "result": result}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def work_off(
    cases: Iterable[str],
    work: Callable[[str], dict[str, Any]],
    kept: Kept,
    workers: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Work in several threads on every case that has no result yet; yield each as it ends."""
    with ThreadPoolExecutor(workers) as pool:
        waiting = {pool.submit(work, case): case for case in cases if case not in kept.results}
        try:
            for done in as_completed(waiting):
                kept.add(waiting[done], done.result())
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
