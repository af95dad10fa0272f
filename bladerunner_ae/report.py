"""Writes the memory of a film as one page: what a network keeps of each shot, and what it loses.

The page is complete in itself: it needs no network and no other file. Training writes it at its
end, as RUN/report.html. docs/report.md explains it.

Examples:
  python -m bladerunner_ae.report --model=RUN --data=DATA/my_film --output=report.html
  python -m bladerunner_ae.report --model=RUN --data=DATA/a --data=DATA/b --output=report.html
  python -m bladerunner_ae.report --model=RUN --data=DATA/another_film --max_frames=2000 --output=report.html
"""  # noqa: E501

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import parse_output
from bladerunner_ae.command_line.tensorflow_import import import_tensorflow
from bladerunner_ae.errors import UsageError
from bladerunner_ae.evaluation.choice import MAX_FRAMES
from bladerunner_ae.memory_report.write import FILE_NAME, write_report
from tfrecords.storage import location


def main() -> None:
    values = flags.FLAGS
    output = parse_output("output", values.output, "HTML", ".html", ".htm")
    assert output is not None, "the flag is required"
    records = [location(folder) for folder in values.data]
    if len(set(map(str, records))) < len(records):
        raise UsageError("--data: a folder is given twice; give each once")
    import_tensorflow()
    write_report(location(values.model), records, output, values.max_frames)
    print(output)


def cli() -> None:
    flags.DEFINE_string(
        "model", None, "SavedModel, folder of its versions, or run folder.", required=True
    )
    flags.DEFINE_multi_string(
        "data", None, "Folder of a film's records (DATA/<film>); may be repeated.", required=True
    )
    flags.DEFINE_string("output", FILE_NAME, "HTML file to write.")
    flags.DEFINE_integer(
        "max_frames", MAX_FRAMES, "Most frames to measure, over all films, some of every shot; 0: "
        "all.", lower_bound=0,
    )  # fmt: skip
    run_command(main, less_memory="a smaller --max_frames takes less")


if __name__ == "__main__":
    cli()
