"""What `cross_film.py` was asked for: two films, the networks trained on them, who is shown what.

The plan lies in the work folder, so that the table can be written from there alone, and so that a
start with other flags does not add figures of another kind to those that are there.
"""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bladerunner_ae.runs.folder import write_json

PLAN_NAME = "plan.json"
HOLDOUT = 0.1


@dataclass(frozen=True)
class Film:
    """A film by its names.

    Attributes:
        name: of its folder of records.
        file: as people know it, without folder.
    """

    name: str
    file: str


@dataclass(frozen=True)
class Network:
    """A network that is to be trained.

    Attributes:
        folder: of its run, in the work folder.
        film: it is trained on.
        steps: of this training.
        source: the film whose network it begins with; None: begins with new weights.
    """

    folder: str
    film: Film
    steps: int
    source: Film | None = None


@dataclass(frozen=True)
class Plan:
    """All that decides the figures, and what they were taken on.

    Attributes:
        films: both.
        steps: of the whole training of a network.
        fine_tune_steps: of fine-tuning, and of the short training beside it; 0: neither.
        holdout_seconds: length of the runs of frames that are held out.
        fit: how a film goes into records of another shape, as in `make_tfrecords`.
        machine: in words.
    """

    films: tuple[Film, Film]
    steps: int
    fine_tune_steps: int
    holdout_seconds: float
    fit: str
    machine: str

    def other(self, film: Film) -> Film:
        """The film that is not this one."""
        first, second = self.films
        return second if film == first else first

    def own(self, film: Film) -> Network:
        """The network wholly trained on a film."""
        return Network(f"run_{film.name}", film, self.steps)

    def short(self, film: Film) -> tuple[Network, ...]:
        """The other film's network fine-tuned on this one, and one from scratch beside it."""
        if not self.fine_tune_steps:
            return ()
        other, steps = self.other(film), self.fine_tune_steps
        return (Network(f"tuned_{film.name}", film, steps, other),
                Network(f"short_{film.name}", film, steps))  # fmt: skip

    def networks(self) -> list[Network]:
        """All of them, those first that others begin with."""
        return [*map(self.own, self.films), *(n for film in self.films for n in self.short(film))]

    def shown(self, film: Film) -> list[Network]:
        """The networks that are shown a film, in the order of the table's rows."""
        return [self.own(film), self.own(self.other(film)), *self.short(film)]

    def command(self) -> str:
        """The command line that leaves such a work folder; films without their folders."""
        flags = [f"--film={film.file}" for film in self.films]
        flags += [f"--steps={self.steps}", f"--fine_tune_steps={self.fine_tune_steps}"]
        flags += [f"--holdout_seconds={self.holdout_seconds:g}", f"--fit={self.fit}"]
        return shlex.join(["python", "benchmarks/cross_film", *flags])

    def differences(self, earlier: "Plan") -> list[str]:
        """In which points an earlier plan differs, the machine aside: "steps: 4 -> 500"."""

        def value(plan: Plan, name: str) -> Any:
            found = getattr(plan, name)
            return ", ".join(film.file for film in found) if name == "films" else found

        names = [field.name for field in dataclasses.fields(self) if field.name != "machine"]
        return [
            f"{name}: {value(earlier, name)} -> {value(self, name)}"
            for name in names
            if getattr(self, name) != getattr(earlier, name)
        ]


def save_plan(work: Path, plan: Plan) -> None:
    """Writes the plan into the work folder, which is made if need be."""
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / PLAN_NAME, dataclasses.asdict(plan))


def load_plan(work: Path) -> Plan | None:
    """Reads the work folder's plan; None if there is none."""
    path = work / PLAN_NAME
    if not path.is_file():
        return None
    values = json.loads(path.read_text("utf-8"))
    first, second = (Film(**film) for film in values.pop("films"))
    return Plan(films=(first, second), **values)


def records_of(work: Path, film: Film) -> Path:
    """Where a film's records lie."""
    return work / "records" / film.name


def figures_of(work: Path, network: Network, film: Film) -> Path:
    """The JSON of a network that was shown a film."""
    return work / "figures" / network.folder / f"{film.name}.json"
