"""Exports a run's newest checkpoint as SavedModels.

Writes RUN/export/{autoencoder,encoder,decoder}/<version>/. Training does the same at its end. Their
signatures are listed in `saved_models.py`.

Examples:
  python -m bladerunner_ae.export --model_dir=out/my_film/run
  saved_model_cli show --dir out/my_film/run/export/decoder/1 --all
"""

import bladerunner_ae.interruption  # noqa: F401  first: signals are one line from here on

# isort: split
from absl import flags

from bladerunner_ae.cli import run as run_command
from bladerunner_ae.errors import InputError
from tfrecords import storage
from tfrecords.storage import Location


def export_run(run: Location) -> list[Location]:
    """Exports the newest checkpoint of a run folder.

    Raises:
        InputError: the folder is no run, or has no checkpoint that can be read.
    """
    from bladerunner_ae import training
    from bladerunner_ae.checkpoints import restore
    from bladerunner_ae.run_folder import load_config, writing

    config = load_config(run)
    with writing(run):
        trainer = training.build_trainer(config)
        if restore(trainer, run) == 0:
            raise InputError(f"{run}: has no checkpoint yet; train first")
        return training.export(trainer, config, run)


def main() -> None:
    """Reads the flags and exports."""
    for path in export_run(storage.location(flags.FLAGS.model_dir)):
        print(path)


def cli() -> None:
    """Entry point: `python -m bladerunner_ae.export`."""
    flags.DEFINE_string("model_dir", None, "Run folder to export.", required=True)
    run_command(main)


if __name__ == "__main__":
    cli()
