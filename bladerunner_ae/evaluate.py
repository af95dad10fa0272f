"""Measures how well an exported autoencoder remembers a film, and what it dreams by itself.

For frames that training saw, and for shots that were held out of it: PSNR, SSIM, MS-SSIM, VMAF,
perceptual distance, sharpness, flicker, black level and bits per frame, each with a 95 % interval
over shots, compared with those of the mean frame and of as many principal components as a frame has
latent numbers; then scores of samples, and the worst shots. Figures are measured at the records'
size. docs/evaluation.md explains each of them. The complete result goes to --output as JSON. Of a
film of more than 5,000 frames a sample is measured unless --max_frames says otherwise.

Examples:
  python -m bladerunner_ae.evaluate --model=RUN/export/autoencoder --data=DATA/my_film
  python -m bladerunner_ae.evaluate --model=RUN --data=DATA/my_film --pictures=OUT --output=OUT/figures.json
  python -m bladerunner_ae.evaluate --model=RUN --data=DATA/another_film --vmaf=off
  python -m bladerunner_ae.evaluate --model=RUN --data=DATA/my_film --max_frames=0 --output=all.json
"""  # noqa: E501

import json

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import parse_folder, parse_output, parse_png
from bladerunner_ae.command_line.tensorflow_import import slow_imports
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.evaluation.choice import MAX_FRAMES
from bladerunner_ae.evaluation.text import describe
from tfrecords import storage
from tfrecords.storage import Location, location


def refuse_other_json(output: Location) -> None:
    """Raise InputError if the output would replace other JSON, such as a run's configuration."""
    if not storage.is_file(output):
        return
    try:
        found = json.loads(storage.read_text(output))
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict) and found and "groups" not in found:
        raise InputError(f"{output}: is not a result of this command; choose another --output")


def parse_sizes(given: list[str]) -> tuple[int, ...]:
    """Return the numbers of --pca; UsageError if one is none."""
    sizes = tuple(int(text) if text.isascii() and text.isdecimal() else 0 for text in given)
    if 0 in sizes:
        raise UsageError(f"--pca={','.join(given)}: give whole numbers from 1, such as 16,200")
    return sizes


def main() -> None:
    with slow_imports():
        from bladerunner_ae.evaluation.evaluate_film import EvaluationOptions, evaluate_film
        from bladerunner_ae.runs.folder import write_json

    values = flags.FLAGS
    output = parse_output("output", values.output, "JSON", ".json")
    if output is not None:
        refuse_other_json(output)
    options = EvaluationOptions(
        batch_size=values.batch_size,
        max_frames=values.max_frames,
        vmaf=values.vmaf == "auto",
        perceptual=values.perceptual == "auto",
        baselines=values.baselines,
        pca=parse_sizes(values.pca),
        pictures=parse_folder("pictures", values.pictures),
        contact_sheet=parse_png("contact_sheet", values.contact_sheet),
    )
    result = evaluate_film(location(values.model), location(values.data), options)
    for line in describe(result):
        print(line)
    if output is not None:
        storage.make_parent(output)
        write_json(output, result)


def cli() -> None:
    flags.DEFINE_string(
        "model", None, "SavedModel, folder of its versions, or run folder.", required=True
    )
    flags.DEFINE_string("data", None, "Folder of the film's records (DATA/<film>).", required=True)
    flags.DEFINE_string("output", None, "JSON file for the result.")
    flags.DEFINE_string(
        "contact_sheet", None, "PNG file for frames across the film, each next to its dream."
    )
    flags.DEFINE_string(
        "pictures", None, "Folder for prior.png, samples from latent space, and interpolation.png, "
        "ways through it from one scene to another."
    )  # fmt: skip
    flags.DEFINE_integer("batch_size", 64, "Frames at once.", lower_bound=1)
    flags.DEFINE_integer(
        "max_frames", MAX_FRAMES, "Most frames to measure, some of every shot, VMAF on a fifth of "
        "them; 0: all.", lower_bound=0,
    )  # fmt: skip
    flags.DEFINE_enum(
        "vmaf", "auto", ["auto", "off"], "auto: measure VMAF if the bundled ffmpeg can, with a "
        "note if it cannot. Film and dream are both scaled to 288 rows for it."
    )  # fmt: skip
    flags.DEFINE_enum(
        "perceptual", "auto", ["auto", "off"], "auto: measure the perceptual distance, on 256 "
        "frames of each group at most, and the Frechet distance of samples, if the extra "
        "[perceptual] is installed, with a note if it is not."
    )  # fmt: skip
    flags.DEFINE_bool("baselines", True, "Measure the mean frame and principal components too.")
    flags.DEFINE_list(
        "pca", [], "Numbers of principal components to measure, such as 16,200. Default: as many "
        "as a frame has latent numbers."
    )  # fmt: skip
    run_command(
        main,
        less_memory="a smaller --batch_size or --max_frames takes less, and so does --nobaselines",
    )


if __name__ == "__main__":
    cli()
