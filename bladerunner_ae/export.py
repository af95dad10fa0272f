"""Exports a run's newest checkpoint, or the best weights until then, as SavedModels.

Writes RUN/export/{autoencoder,encoder,decoder}/<version>/, each when it is complete and has
answered its warm-up requests; older versions stay. Training does the same at its end.
docs/serving.md lists the signatures.

With --data the film's latents are exported too: the decoder's signature `sample` then draws
pictures that look like the film, and the explorer page can walk through it.

Examples:
  python -m bladerunner_ae.export --model_dir=out/my_film/run --data=out/my_film/records/my_film
  python -m bladerunner_ae.export --model_dir=out/my_film/run
  saved_model_cli show --dir out/my_film/run/export/decoder/1 --all
"""

from collections.abc import Sequence

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.tensorflow_import import slow_imports
from bladerunner_ae.errors import InputError
from tfrecords import storage
from tfrecords.storage import Location


def export_run(run: Location, records: Sequence[Location] = ()) -> list[Location]:
    """Export the best weights of a run folder, or with keep "last" those of its newest checkpoint.

    Returns the folders written, one for each model.
    `records` are the folders of those of the run's films that are available.

    Raises:
        InputError: the folder is no run, or has no checkpoint that can be read; or records are
            of a film that the run has not seen.
        OutputError: the disk is full, or another program is writing the run.
        RecordsError: records are missing or damaged.
    """
    with slow_imports():
        from bladerunner_ae.exports import from_run
        from bladerunner_ae.runs.folder import load_config, writing
        from bladerunner_ae.training import fit
        from bladerunner_ae.training.best_weights import networks_to_show
        from bladerunner_ae.training.checkpoints import restore

    config = load_config(run)
    with writing(run):
        trainer = fit.build_trainer(config)
        if restore(trainer, run) == 0:
            raise InputError(f"{run}: has no checkpoint yet; train first")
        networks, step = networks_to_show(trainer, run, config.train.keep)
        return from_run.export(networks, step, config, run, records, trainer.steps_done)


def main() -> None:
    values = flags.FLAGS
    records = [storage.location(directory) for directory in values.data]
    for path in export_run(storage.location(values.model_dir), records):
        print(path)


def cli() -> None:
    flags.DEFINE_string("model_dir", None, "Run folder to export.", required=True)
    flags.DEFINE_multi_string(
        "data", [], "Folder of records of a film that the run was trained on; repeat for several."
    )
    run_command(main)


if __name__ == "__main__":
    cli()
