"""The options of a training, and the configuration of the run that they ask for."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bladerunner_ae.errors import UsageError
from bladerunner_ae.objectives import make_objective
from bladerunner_ae.runs.config import (
    MEMORY_FIELDS,
    ModelConfig,
    TrainConfig,
    check_hold_out,
    check_one_length,
)
from bladerunner_ae.runs.fields import check, option
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.presets import PRESETS, preset
from bladerunner_ae.runs.run_config import Reading, RunConfig
from bladerunner_ae.runs.training_set import Shots, hold_out_runs, hold_out_shots
from bladerunner_ae.training.distributed import devices
from bladerunner_ae.training.run_length import length_asked, pass_frames, warmup
from tfrecords.card import FilmCard, load_card
from tfrecords.mixture import BALANCES, FilmPart, check_together
from tfrecords.reader import fits
from tfrecords.storage import AnyPath
from tfrecords.wording import counted


@dataclass(frozen=True)
class TrainingOptions:
    """Everything that a training can be asked for; the help of every field is that of its flag.

    Attributes:
        changes: fields of `ModelConfig`, `TrainConfig` and of the objective that differ from the
            preset's: name -> value.
        flagfile: the text of RUN/flags.txt; empty: none is written.
        flagfiles: that the command read; --overwrite never deletes them.
    """

    data: Sequence[AnyPath] = option(
        help="Folder of a film's records (DATA/<film>); may be repeated.", group="data"
    )
    model_dir: AnyPath = option(  # noqa: RUF009  it is a field
        help="Run folder; created if it does not exist, resumed if it does.", group="output"
    )
    data_weights: Sequence[str | float] = option(
        (), "How often a frame of each --data is seen, relatively.", "data"
    )
    balance: str = option(
        "none",
        "shots: see the frames of a shot of N frames in proportion to 1 / sqrt(N), so that long "
        "shots do not outweigh the rest.",
        "data",
        choices=BALANCES,
    )
    holdout: float = option(
        0.0,
        "Fraction of the film to keep from training, in whole shots.",
        "data",
        least=0.0,
        below=1.0,
        allowed="a fraction from 0 to below 1",
    )
    holdout_seconds: float = option(
        0.0,
        "Hold out runs of this length instead of whole shots.",
        "data",
        least=0.0,
        below=math.inf,
        allowed="0 or more seconds",
    )
    cache_limit: int = option(
        2048, "MiB of records up to which they are kept in memory.", "data", least=0
    )
    data_service: str = option(
        "", "grpc://HOST:PORT of a tf.data service that reads and decodes.", "data"
    )
    preset: str = option("preview", f"Starting point: {', '.join(PRESETS)}.", "network")
    objective: str | None = option(
        None, "Who learns from what: OBJECTIVES. Default: the preset's.", "objective"
    )
    fine_tune_from: AnyPath | None = option(  # noqa: RUF009
        None, "Run folder whose newest weights to begin with.", "learning"
    )
    refit_linear_path: bool | None = option(
        None,
        "With --fine_tune_from: fit the linear path to this film, the default where there is one; "
        "--norefit_linear_path keeps the other film's.",
        "learning",
    )
    strategy: str = option(
        "auto",
        "none (one device), mirrored (all GPUs of this machine), multi_worker (all workers of "
        "TF_CONFIG), or auto, which chooses.",
        "learning",
    )
    device: str = option("auto", "auto, cpu or gpu (refuse to start without one).", "learning")
    overwrite: bool = option(
        False,
        "Start over in place of the run folder's earlier run, which is deleted once this one has a "
        "checkpoint. Other files stay.",
        "output",
    )
    report: bool = option(
        True, "At the end write RUN/report.html, what is remembered of the film.", "output"
    )
    spool_dir: AnyPath | None = option(  # noqa: RUF009
        None,
        "Where copies of remote records and the work on a remote run are kept. Default: in the "
        "user's cache.",
        "output",
    )
    dry_run: bool = option(False, "Say what would be trained, and stop.", "output")
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    flagfile: str = ""
    flagfiles: Sequence[str] = ()

    def __post_init__(self) -> None:
        check(self)


def run_config(options: TrainingOptions) -> RunConfig:
    """Return the configuration of the run that is asked for; reads the cards of its films."""
    check_hold_out(options.holdout, options.holdout_seconds)
    chosen = preset(options.preset)
    weights = _data_weights(options.data_weights, len(options.data))
    parts = [
        FilmPart(directory, load_card(directory), weight=weight)
        for directory, weight in zip(options.data, weights, strict=True)
    ]
    check_together(parts)
    for_model, for_train, for_objective = _divided(options.changes)
    card = parts[0].card
    model = ModelConfig(card.height, card.width, **{**chosen.model, **for_model})
    if for_model.get("refinement_blocks") and not model.linear_path:
        raise UsageError(
            f"--refinement_blocks={model.refinement_blocks} correct what the linear path draws, "
            "and these networks have none; add --linear_path, or leave --refinement_blocks out"
        )
    model = model.resolve()
    films = tuple(
        FilmUse.of(part.card, part.weight, _held_out(part.card, options)) for part in parts
    )
    model = model.sized(
        sum(film.frames - film.held_out_frames for film in films),
        asked=any(for_model.get(name) for name in MEMORY_FIELDS),
    )
    check_one_length(for_train)
    train = {**chosen.train, **for_train}
    train.update(length_asked(chosen, train, pass_frames(films), devices.on_cpu()))
    fits_path = not options.fine_tune_from or options.refit_linear_path is not False
    # The memory's fit sees moved frames already.
    if "augment" not in for_train and (
        model.moments or (fits_path and _remembers_all(model, films))
    ):
        train["augment"] = 0.0
    train["warmup_steps"] = warmup(train.get("warmup_steps", 0), train["steps"])
    train["precision"] = devices.choose_precision(train.get("precision", "auto"))
    objective = make_objective(options.objective or chosen.objective, for_objective)
    rate = for_train.get("discriminator_learning_rate")
    if rate is not None and "discriminator" not in objective.players:
        raise UsageError(
            f"--discriminator_learning_rate={rate:g}: objective {objective.name} has no "
            "discriminator with these flags; leave it out"
        )
    in_memory = not options.data_service and fits(parts, options.cache_limit << 20)
    return RunConfig(
        preset=options.preset,
        objective=objective.name,
        weights=dataclasses.asdict(objective),  # type: ignore[call-overload]
        model=model,
        train=TrainConfig(**train),
        films=films,
        reading=Reading("memory" if in_memory else "streamed", options.balance),
    )


def _divided(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Divide changes between the networks, the training and the objective."""
    model, train = ({f.name for f in dataclasses.fields(k)} for k in (ModelConfig, TrainConfig))
    return (
        {name: value for name, value in changes.items() if name in model},
        {name: value for name, value in changes.items() if name in train},
        {name: value for name, value in changes.items() if name not in model | train},
    )


def _remembers_all(model: ModelConfig, films: Sequence[FilmUse]) -> bool:
    """Return whether the films are so short that their components remember nearly every frame.

    Then moved frames teach nothing that is needed and cost what was remembered (docs/decisions.md).
    Not so in a grid, whose components are those of blocks.
    """
    frames = sum(film.frames - film.held_out_frames for film in films)
    return model.linear_path and model.latent == "vector" and frames < 2 * model.latent_size


def _data_weights(given: Sequence[str | float], films: int) -> list[float]:
    """Return one weight for each film; all are 1 if none were given."""
    try:
        weights = [float(weight) for weight in given] or [1.0] * films
    except ValueError:
        weights = []
    if len(weights) != films or not all(0.0 < weight < math.inf for weight in weights):
        raise UsageError(
            f"--data_weights={','.join(map(str, given))}: give one number above 0 for each --data "
            f"({films})"
        )
    return weights


def _held_out(card: FilmCard, options: TrainingOptions) -> Shots:
    if options.holdout_seconds > 0:
        return hold_out_runs(card, options.holdout, options.holdout_seconds)
    return hold_out_shots(card, options.holdout)


def describe(config: RunConfig, replicas: int) -> str:
    """Return one line on what is going to be trained."""
    model, train = config.model, config.train
    names = ", ".join(film.name for film in config.films)
    frames = sum(film.frames for film in config.films)
    held = sum(film.held_out_frames for film in config.films)
    return (
        f"{names}: {counted(frames, 'frame')} ({held} held out), "
        f"{model.height}x{model.width}, preset {config.preset}, objective {config.objective}, "
        f"{_length(train)} of {counted(train.batch_size, 'frame')}, "
        f"{train.precision}, {counted(replicas, 'device')}"
    ) + (
        f"; memory of {counted(model.moments, 'key moment')} in {model.components} components, "
        f"{model.memory_bytes / 1e6:.0f} MB"
        if model.moments
        else ""
    )


def _length(train: TrainConfig) -> str:
    steps = counted(train.steps, "step")
    if train.minutes is None:
        return steps
    minutes = f"{train.minutes:g} minute" + "s" * (train.minutes != 1)
    return f"{minutes} of steps" if train.epochs is None else f"{steps}, at most {minutes},"
