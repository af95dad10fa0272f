"""Trains a network on the records of one film.

Interrupted at any moment, the same command goes on from the last checkpoint and ends with the
same weights as an unbroken run. Watch it with `tensorboard --logdir RUN`, or look at
RUN/samples/. At the end the run's networks are exported to RUN/export/.

Examples:
  python -m bladerunner_ae.train --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --flagfile=flagfiles/preview.flags --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --preset=base --objective=vae_gan --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --data=DATA/my_film --model_dir=RUN --holdout=0.1 --steps=2000
"""  # noqa: E501

import dataclasses
import shlex
import sys
from typing import Any

from absl import flags

from bladerunner_ae import config as configuration
from bladerunner_ae.cli import run as run_command
from bladerunner_ae.errors import UsageError
from tfrecords import storage
from tfrecords.storage import Location

_TRAIN_FLAGS = ("steps", "batch_size", "learning_rate", "seed", "checkpoint_every",
                "sample_every", "log_every")  # fmt: skip
_WEIGHT_FLAGS = {
    "kl_weight": "Weight of the KL divergence averaged over latent numbers.",
    "noise": "Posterior sample's standard deviation, in units of the posterior's own.",
    "gamma": "Weight of the learned similarity in the decoder's loss.",
    "pixel_weight": "Weight of the squared pixel error beside the features.",
    "adversarial_weight": "Weight of the adversarial term in the decoder's loss.",
    "gan_scale": "Scale of the discriminator's cross-entropies (broad2016).",
}


def define_flags() -> None:
    """Defines the command's flags. Those left out take the preset's value."""
    text, whole, number = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float
    text("data", None, "Folder of the film's records (DATA/<film>).", required=True)
    text("model_dir", None, "Run folder; made if need be, gone on with if it exists.",
         required=True)  # fmt: skip
    text("preset", "preview", f"Starting point: {', '.join(configuration.PRESETS)}.")
    text("objective", None, "Who learns from what: vae, vae_gan, broad2016. Default: the preset's.")
    number("holdout", 0.0, "Fraction of the film to keep from training, in whole shots.")
    number("holdout_seconds", 0.0, "Hold out runs of this length instead of whole shots.")
    text("strategy", "auto", "auto, none or mirrored (several devices).")
    text("precision", "auto", "auto, float32 or mixed_bfloat16.")
    whole("steps", None, "Optimizer steps in all.")
    whole("batch_size", None, "Frames in a step, over all devices.")
    number("learning_rate", None, "Peak learning rate.")
    whole("seed", None, "Seed of weights, data order and noise.")
    whole("checkpoint_every", None, "Steps between checkpoints.")
    whole("sample_every", None, "Steps between sample pictures.")
    whole("log_every", None, "Steps between log lines.")
    for name, help_text in _WEIGHT_FLAGS.items():
        number(name, None, help_text)
    flags.DEFINE_bool("overwrite", False, "Delete the run folder's earlier run and start over.")
    flags.DEFINE_bool("dry_run", False, "Say what would be trained, and stop.")


def run_config(values: Any) -> Any:
    """Turns flag values into a `RunConfig`; the only place where training flags are read."""
    from bladerunner_ae import training
    from bladerunner_ae.objectives import make_objective
    from bladerunner_ae.run_folder import RunConfig
    from tfrecords.card import check_shards, load_card

    if not 0.0 <= values.holdout < 1.0:
        raise UsageError(f"--holdout={values.holdout}: give a fraction from 0 to below 1")
    preset = configuration.preset(values.preset)
    card = load_card(values.data)
    check_shards(values.data, card)
    given = {name: getattr(values, name) for name in _TRAIN_FLAGS}
    train = {**preset.train, **{k: v for k, v in given.items() if v is not None}}
    train["warmup_steps"] = min(train.get("warmup_steps", 0), train["steps"] // 3)
    weights = {name: getattr(values, name) for name in _WEIGHT_FLAGS}
    objective = make_objective(
        values.objective or preset.objective, {k: v for k, v in weights.items() if v is not None}
    )
    return RunConfig(
        preset=values.preset,
        objective=objective.name,
        weights=dataclasses.asdict(objective),  # type: ignore[call-overload]
        model=configuration.ModelConfig(height=card.height, width=card.width, **preset.model),
        train=configuration.TrainConfig(
            **train, precision=training.choose_precision(values.precision)
        ),
        film={"name": card.source["name"], "film_id": card.film_id, "frames": card.frames},
        held_out=[list(run) for run in _held_out(card, values.holdout, values.holdout_seconds)],
    )


def _held_out(card: Any, fraction: float, seconds: float) -> list[tuple[int, int]]:
    from bladerunner_ae import data

    if seconds > 0:
        return data.hold_out_runs(card, fraction, seconds)
    return data.hold_out_shots(card, fraction)


def main() -> None:
    """Reads the flags, then trains, or goes on, and exports."""
    from bladerunner_ae import training
    from bladerunner_ae.run_folder import open_run, writing

    values = flags.FLAGS
    records, run = storage.location(values.data), storage.location(values.model_dir)
    config = run_config(values)
    strategy = training.choose_strategy(values.strategy)
    _check_replicas(config.train.batch_size, strategy.num_replicas_in_sync)
    print(_plan(config, strategy.num_replicas_in_sync), file=sys.stderr)
    if values.dry_run:
        return
    with writing(run):
        open_run(run, config, values.overwrite)
        # One argument a line and nothing quoted: that is what --flagfile reads.
        storage.write_text(run / "flags.txt", "\n".join(sys.argv[1:]) + "\n")
        for path in _train(config, strategy, records, run):
            print(path)


def _train(config: Any, strategy: Any, records: Location, run: Location) -> list[Location]:
    """Trains from the newest checkpoint to the end and exports; returns the SavedModels."""
    from bladerunner_ae import training

    with strategy.scope():
        trainer = training.build_trainer(config)
        start = training.restore(trainer, run)
    print(f"tensorboard --logdir {shlex.quote(str(run))}", file=sys.stderr)
    if start >= config.train.steps:
        print(f"already trained to step {start}; nothing to do", file=sys.stderr)
    else:
        if start:
            print(f"going on from step {start}", file=sys.stderr)
        training.fit(trainer, config, records, run, start)
    return training.export_if_new(trainer, config, run)


def _check_replicas(batch_size: int, replicas: int) -> None:
    if batch_size % replicas:
        raise UsageError(f"--batch_size={batch_size} does not divide by {replicas} devices")


def _plan(config: Any, replicas: int) -> str:
    model, train = config.model, config.train
    held = sum(end - start for start, end in config.held_out)
    return (
        f"{config.film['name']}: {config.film['frames']} frames ({held} held out), "
        f"{model.height}x{model.width}, preset {config.preset}, objective {config.objective}, "
        f"{train.steps} steps of {train.batch_size} frames, {train.precision}, "
        f"{replicas} device{'s' if replicas > 1 else ''}"
    )


def cli() -> None:
    """Entry point: `python -m bladerunner_ae.train`."""
    define_flags()
    run_command(main)


if __name__ == "__main__":
    cli()
