"""Trains a network on the records of a film, or of several.

Interrupted at any moment, the same command resumes from the last checkpoint and ends with the
same weights as an unbroken run. Watch it with `tensorboard --logdir RUN`, or open RUN/samples/.
At the end the run's networks are exported to RUN/export/, and RUN/report.html shows what is
remembered of each shot. Flags without a default take the value of --preset.

With --data=A --data=B --data_weights=2,1 each frame of A is seen twice as often as each of B. In
one pass over the films every frame of the one of smallest weight is seen once.

Examples:
  python -m bladerunner_ae.train --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --flagfile=flagfiles/preview.flags --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --preset=base --objective=vae_gan --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --data=DATA/my_film --model_dir=RUN --holdout=0.1 --steps=2000
  python -m bladerunner_ae.train --data=DATA/a --data=DATA/b --data_weights=2,1 --model_dir=RUN
  python -m bladerunner_ae.train --data=DATA/b --model_dir=RUN_B --fine_tune_from=RUN_A
"""  # noqa: E501

import sys

from absl import flags

from bladerunner_ae.command_line.app import run
from bladerunner_ae.command_line.tensorflow_import import slow_imports


def define_flags() -> dict[str, list[str]]:
    """Define the flags, some of which are fields of objectives: needs TensorFlow."""
    with slow_imports():
        from bladerunner_ae.training.flags import define_flags

    return define_flags()


def main() -> None:
    with slow_imports():
        from bladerunner_ae.training.flags import training_options
        from bladerunner_ae.training.run import run_training

    for model in run_training(training_options(flags.FLAGS, sys.argv[1:])):
        print(model)


def cli() -> None:
    run(
        main,
        exits="130 Ctrl-C, 143 SIGTERM (0 in the training loop, with a checkpoint written)",
        less_memory="a smaller --batch_size or --preset takes less, and so does --cache_limit=0",
        define_flags=define_flags,
    )


if __name__ == "__main__":
    cli()
