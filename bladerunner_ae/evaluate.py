"""Measures how well an exported autoencoder remembers a film, frame by frame.

PSNR (dB) and SSIM between each record and its reconstruction, averaged over frames, apart for
frames that training saw and shots that were held out of it; and the worst shots. Figures hold at
the record's size. The whole result goes to --output as JSON.

Examples:
  python -m bladerunner_ae.evaluate --model=RUN/export/autoencoder --data=DATA/my_film
  python -m bladerunner_ae.evaluate --model=RUN --data=DATA/another_film --output=another.json
"""

import bladerunner_ae.interruption  # noqa: F401  first: signals are one line from here on

# isort: split
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from bladerunner_ae.cli import run as run_command
from bladerunner_ae.errors import InputError
from bladerunner_ae.parsing import parse_png
from bladerunner_ae.progress import Progress
from tfrecords import storage
from tfrecords.card import FilmCard
from tfrecords.storage import Location, location
from tfrecords.wording import counted

_WORST_SHOTS = 5
_SHEET_FRAMES = 18


def evaluate_film(
    model: Location, records: Location, batch_size: int = 64, max_frames: int = 0
) -> dict[str, Any]:
    """Runs a film's records through an exported autoencoder.

    Args:
        model: SavedModel, the folder of its versions, or the run folder.
        records: folder of a film's records at the model's raster.
        batch_size: frames at once; the figures do not depend on it.
        max_frames: measure at most so many frames, every n-th of the film; 0: all.

    Returns:
        {"film", "frames", "every", "groups": {label: {"frames", "psnr", "ssim"}}, "shots"}: the
        labels are "seen" and "held out" for the film the model was trained on, "unseen film" for
        any other.

    Raises:
        InputError: no such model, or the records have another size than it takes.
        RecordsError: the records are missing or damaged.
    """
    from bladerunner_ae.autoencoder import load_autoencoder
    from bladerunner_ae.saved_models import load_model_card
    from tfrecords.card import check_shards, load_card

    card = load_card(records)
    check_shards(records, card)
    autoencoder = load_autoencoder(model)
    if autoencoder.raster != (card.height, card.width):
        height, width = autoencoder.raster
        raise InputError(
            f"{records}: frames are {card.height}x{card.width} but the model takes "
            f"{height}x{width}; convert the film with --height={height} --width={width}"
        )
    every = -(-card.frames // max_frames) if max_frames else 1
    psnr, ssim = _measure(autoencoder, records, card, batch_size, every)
    measured = np.isfinite(psnr)
    labels = frame_labels(card, load_model_card(autoencoder.path))
    return {
        "model": str(autoencoder.path),
        "film": card.source["name"],
        "frames": card.frames,
        "every": every,
        "groups": {
            label: _means(psnr, ssim, (labels == label) & measured)
            for label in sorted(set(labels[measured].tolist()))
        },
        "shots": [
            {
                "first_frame": start,
                "label": str(labels[start]),
                **_means(psnr[start:end], ssim[start:end], measured[start:end]),
            }
            for start, end in card.shots()
            if measured[start:end].any()
        ],
    }


def frame_labels(card: FilmCard, model_card: Mapping[str, Any]) -> NDArray[np.str_]:
    """Returns for each frame "seen", "held out" or "unseen film", as str [frames]."""
    from bladerunner_ae.data import in_shots
    from bladerunner_ae.run_folder import films_of

    for film in films_of(model_card):
        if (film["film_id"], film["frames"]) == (card.film_id, card.frames):
            return np.where(in_shots(card.frames, film["held_out"]), "held out", "seen")
    return np.full(card.frames, "unseen film")


def _measure(
    autoencoder: Any, records: Location, card: FilmCard, batch_size: int, every: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import tensorflow as tf

    from bladerunner_ae import metrics
    from tfrecords.reader import explain_data_loss, film_frames, find_damage

    psnr, ssim = np.full((2, card.frames), np.nan, np.float32)
    try:
        with Progress("evaluate", card.frames) as progress:
            for batch in film_frames(records, batch_size=batch_size):
                index = batch["index"].numpy()
                chosen = index % every == 0
                if chosen.any():
                    images = batch["image"].numpy()[chosen]
                    dreams = autoencoder.reconstruct(images)
                    psnr[index[chosen]] = metrics.psnr(images, dreams).numpy()
                    ssim[index[chosen]] = metrics.ssim(images, dreams).numpy()
                progress.update(len(index))
    except tf.errors.DataLossError:
        raise explain_data_loss(records, card) from None
    except tf.errors.InvalidArgumentError:
        if error := find_damage(records, card):
            raise error from None
        raise
    return psnr, ssim


def _means(
    psnr: NDArray[np.float32], ssim: NDArray[np.float32], chosen: NDArray[np.bool_]
) -> dict[str, float | int]:
    return {
        "frames": int(chosen.sum()),
        "psnr": round(float(psnr[chosen].mean(dtype=np.float64)), 3),
        "ssim": round(float(ssim[chosen].mean(dtype=np.float64)), 4),
    }


def write_contact_sheet(model: Location, records: Location, output: Location) -> None:
    """Writes a PNG of frames across the film, each beside the model's dream of it.

    Args:
        model, records: as for `evaluate_film`, which has checked them.
        output: the PNG; replaced if it is there.
    """
    from bladerunner_ae.autoencoder import load_autoencoder
    from bladerunner_ae.contact_sheet import make_contact_sheet, spread_frames
    from bladerunner_ae.data import read_images
    from bladerunner_ae.saved_models import load_model_card
    from tfrecords.card import load_card

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


def describe(result: Mapping[str, Any]) -> list[str]:
    """Says the result in lines for a terminal."""
    lines = [
        f"{label}: PSNR {group['psnr']:.2f} dB, SSIM {group['ssim']:.3f} "
        f"over {counted(group['frames'], 'frame')}"
        for label, group in result["groups"].items()
    ]
    worst = sorted(result["shots"], key=lambda shot: shot["psnr"])[:_WORST_SHOTS]
    lines.append(
        "most forgotten shots: "
        + ", ".join(
            f"frame {shot['first_frame']} ({shot['psnr']:.1f} dB, {shot['label']})"
            for shot in worst
        )
    )
    return lines


def main() -> None:
    """Reads the flags, evaluates, prints, writes JSON."""
    from bladerunner_ae.run_folder import write_json

    values = flags.FLAGS
    contact_sheet = parse_png("contact_sheet", values.contact_sheet)
    result = evaluate_film(
        location(values.model), location(values.data), values.batch_size, values.max_frames
    )
    for line in describe(result):
        print(line)
    if contact_sheet is not None:
        write_contact_sheet(location(values.model), location(values.data), contact_sheet)
    if values.output:
        output = location(values.output)
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
    flags.DEFINE_integer("batch_size", 64, "Frames at once.", lower_bound=1)
    flags.DEFINE_integer(
        "max_frames", 0, "Measure at most so many frames, spread evenly; 0: all.", lower_bound=0
    )
    run_command(main)


if __name__ == "__main__":
    cli()
