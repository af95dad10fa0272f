"""Run fuzz cases in processes of their own, so that a crash or a hang costs one case."""

import multiprocessing
import resource
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.fuzz.damaged_films import CRASHED, HUNG, Case, Converted, Outcome, run_case

_ADDRESS_SPACE = 8 << 30


@dataclass
class _Worker:
    """A process and its present case."""

    process: BaseProcess
    connection: Connection
    case: Case | None = None
    deadline: float = 0.0


@dataclass
class Resources:
    """The resources of one process, after an early case and after the last one.

    `most_rss` is the most resident memory after any case, in bytes.
    """

    cases: int = 0
    first: Outcome | None = None
    last: Outcome | None = None
    most_rss: int = 0

    def add(self, outcome: Outcome, warm: int) -> None:
        """Note the resources after a case; the first `warm` ones fill caches."""
        self.cases += 1
        self.last = outcome
        self.most_rss = max(self.most_rss, outcome.rss)
        if self.cases == warm:
            self.first = outcome


class Workers:
    """Some processes that work on cases; use as a context manager.

    Args:
        films: the undamaged films by name.
        whole: their records.
        limit_seconds: time for one case.
        warm: number of cases after which a process has its normal size.
    """

    def __init__(
        self,
        films: dict[str, Path],
        whole: dict[str, Converted],
        scratch: Path,
        seed: int,
        count: int = 2,
        limit_seconds: float = 30,
        warm: int = 20,
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._arguments = (films, whole, scratch, seed)
        self._limit, self._warm = limit_seconds, warm
        self.resources: list[Resources] = []
        self._used: dict[int, Resources] = {}
        self._workers = [self._start(number) for number in range(count)]

    def run(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Outcome]]:
        """Yield each case with its outcome, in the order in which they end."""
        left = iter(cases)
        for worker in self._workers:
            self._give(worker, next(left, None))
        while any(worker.case for worker in self._workers):
            busy = [worker for worker in self._workers if worker.case is not None]
            until = min(worker.deadline for worker in busy) - time.monotonic()
            ready = wait([worker.connection for worker in busy], max(until, 0))
            for worker in busy:
                outcome = self._outcome(worker, worker.connection in ready)
                if outcome is None:
                    continue
                case, worker.case = worker.case, None
                assert case is not None
                if outcome.kind in (HUNG, CRASHED):
                    self._workers[self._workers.index(worker)] = worker = self._start(case.number)
                else:
                    assert worker.process.pid is not None
                    self._used[worker.process.pid].add(outcome, self._warm)
                self._give(worker, next(left, None))
                yield case, outcome

    def _outcome(self, worker: _Worker, ready: bool) -> Outcome | None:
        """Return the outcome of a worker's case, None while it works on it."""
        if ready:
            try:
                received = worker.connection.recv()
                assert isinstance(received, Outcome)
                return received
            except (EOFError, ConnectionResetError):
                worker.process.join()
                code = worker.process.exitcode or 0
                name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                return Outcome(CRASHED, name)
        if time.monotonic() < worker.deadline:
            return None
        worker.process.kill()
        worker.process.join()
        return Outcome(HUNG, f"more than {self._limit} s")

    def _start(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, *self._arguments), name=f"fuzz-{number}", daemon=True
        )
        process.start()
        theirs.close()
        assert process.pid is not None
        used = self._used[process.pid] = Resources()
        self.resources.append(used)
        return _Worker(process, ours)

    def _give(self, worker: _Worker, case: Case | None) -> None:
        worker.case = case
        if case is not None:
            worker.deadline = time.monotonic() + self._limit
            worker.connection.send(case)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            if worker.case is not None:
                worker.process.kill()
            else:
                worker.connection.send(None)
            worker.process.join()
            worker.connection.close()


def _work(
    connection: Connection,
    films: dict[str, Path],
    whole: dict[str, Converted],
    scratch: Path,
    seed: int,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (case := connection.recv()) is not None:
        folder = scratch / f"case-{case.number}"
        connection.send(run_case(case, films[case.film], whole[case.film], folder, seed))
