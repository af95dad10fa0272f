"""Measures how well an exported autoencoder remembers a film, and what it dreams up by itself.

For frames that training saw, and for shots that were held out of it: PSNR, SSIM, MS-SSIM, VMAF,
sharpness, flicker, black level and bits a frame, each with a 95 % interval over shots, beside
those of the mean frame and of as many principal components as a frame has latent numbers; then
scores of samples, and the worst shots. Figures hold at the records' size. docs/evaluation.md
says what each of them means. The whole result goes to --output as JSON. Of a film of more than
5,000 frames a sample is measured unless --max_frames says otherwise.

Examples:
  python -m bladerunner_ae.evaluate --model=RUN/export/autoencoder --data=DATA/my_film
  python -m bladerunner_ae.evaluate --model=RUN --data=DATA/my_film --pictures=OUT --output=OUT/figures.json
  python -m bladerunner_ae.evaluate --model=RUN --data=DATA/another_film --vmaf=off
  python -m bladerunner_ae.evaluate --model=RUN --data=DATA/my_film --max_frames=0 --output=all.json
"""  # noqa: E501

import io
import json

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import parse_folder, parse_output, parse_png
from bladerunner_ae.command_line.tensorflow_import import slow_imports
from bladerunner_ae.errors import InputError
from bladerunner_ae.evaluation.choice import MAX_FRAMES
from bladerunner_ae.evaluation.labels import frame_labels
from bladerunner_ae.evaluation.text import describe
from tfrecords import storage
from tfrecords.storage import Location, location

_SHEET_FRAMES = 18


def write_contact_sheet(model: Location, records: Location, output: Location) -> None:
    """Writes a PNG of frames across the film, each beside the model's dream of it.

    Args:
        model, records: as for `evaluate_film`, which has checked them.
        output: the PNG; replaced if it is there.
    """
    from bladerunner_ae.exports.loading import load_autoencoder
    from bladerunner_ae.exports.model_card import load_model_card
    from bladerunner_ae.pictures.contact_sheet import make_contact_sheet, spread_frames
    from tfrecords.card import load_card
    from tfrecords.frames import read_images

    card = load_card(records)
    chosen = spread_frames(card.shots(), card.frames, _SHEET_FRAMES)
    originals = read_images(records, card, chosen)
    autoencoder = load_autoencoder(model)
    labels = frame_labels(card, load_model_card(autoencoder.path))
    captions = [f"frame {index}, {labels[index]}" for index in chosen]
    dreams = autoencoder.reconstruct(originals)
    sheet = make_contact_sheet(list(zip(originals, dreams, captions, strict=True)), columns=3)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    storage.make_parent(output)
    storage.write_bytes(output, png.getvalue())


def refuse_other_json(output: Location) -> None:
    """Checks that a file that is to be replaced is an earlier result, or nothing of use.

    Raises:
        InputError: it holds something else, such as a run's configuration or a film's card.
    """
    if not storage.is_file(output):
        return
    try:
        found = json.loads(storage.read_text(output))
    except (ValueError, RecursionError):
        return
    if isinstance(found, dict) and found and "groups" not in found:
        raise InputError(f"{output}: is not a result of this command; choose another --output")


def main() -> None:
    """Reads the flags, evaluates, prints, writes JSON."""
    with slow_imports():
        from bladerunner_ae.evaluation.evaluate_film import EvaluationOptions, evaluate_film
        from bladerunner_ae.runs.folder import write_json

    values = flags.FLAGS
    contact_sheet = parse_png("contact_sheet", values.contact_sheet)
    output = parse_output("output", values.output, "JSON", ".json")
    if output is not None:
        refuse_other_json(output)
    model, records = location(values.model), location(values.data)
    options = EvaluationOptions(
        batch_size=values.batch_size,
        max_frames=values.max_frames,
        vmaf=values.vmaf == "auto",
        baselines=values.baselines,
        pictures=parse_folder("pictures", values.pictures),
    )
    result = evaluate_film(model, records, options)
    for line in describe(result):
        print(line)
    if contact_sheet is not None:
        write_contact_sheet(model, records, contact_sheet)
    if output is not None:
        storage.make_parent(output)
        write_json(output, result)


def cli() -> None:
    """Entry point: `python -m bladerunner_ae.evaluate`."""
    flags.DEFINE_string(
        "model", None, "SavedModel, folder of its versions, or run folder.", required=True
    )
    flags.DEFINE_string("data", None, "Folder of the film's records (DATA/<film>).", required=True)
    flags.DEFINE_string("output", None, "JSON file for the result.")
    flags.DEFINE_string("contact_sheet", None, "PNG file for pairs of frames across the film.")
    flags.DEFINE_string(
        "pictures", None, "Folder for prior.png, samples from latent space, and interpolation.png, "
        "ways through it from one scene to another."
    )  # fmt: skip
    flags.DEFINE_integer("batch_size", 64, "Frames at once.", lower_bound=1)
    flags.DEFINE_integer(
        "max_frames", MAX_FRAMES, "Measure at most so many frames, some of every shot, VMAF on a "
        "fifth of them; 0: all.", lower_bound=0,
    )  # fmt: skip
    flags.DEFINE_enum(
        "vmaf", "auto", ["auto", "off"], "auto: measure VMAF if the bundled ffmpeg can, and say so "
        "if not. Film and dream are both scaled to 288 rows for it."
    )  # fmt: skip
    flags.DEFINE_bool(
        "baselines", True, "Measure the mean frame and principal components beside the model."
    )
    run_command(
        main,
        less_memory="a smaller --batch_size or --max_frames takes less, and so does --nobaselines",
    )


if __name__ == "__main__":
    cli()
