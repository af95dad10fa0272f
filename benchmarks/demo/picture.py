"""Write docs/images/dream.png, the picture in README: dreamt frames only, none of the film's.

Examples:
  python -m benchmarks.demo.picture out/big_buck_bunny_trailer
"""

from pathlib import Path

from PIL import Image

from benchmarks.runs import ROOT
from bladerunner_ae.command_line.app import run_with_arguments
from bladerunner_ae.command_line.tensorflow_import import slow_imports
from bladerunner_ae.errors import UsageError
from bladerunner_ae.pictures.contact_sheet import spread_frames
from tfrecords.card import load_card

_OUTPUT = ROOT / "docs" / "images" / "dream.png"
_COLUMNS, _ROWS, _ENLARGED = 4, 3, 2


def draw(folder: Path) -> Image.Image:
    """Dream frames from all over the film of OUT/<film>, which `make film` left."""
    with slow_imports():
        from bladerunner_ae.exports.loading import load_autoencoder
        from tfrecords.frames import read_images

    records = next(folder.glob("records/*/film.json")).parent
    card = load_card(records)
    chosen = spread_frames(card.shots(), card.frames, _COLUMNS * _ROWS)
    dreams = load_autoencoder(folder / "run").reconstruct(read_images(records, card, chosen))
    height, width = card.height * _ENLARGED, card.width * _ENLARGED
    sheet = Image.new("RGB", (width * _COLUMNS, height * _ROWS))
    for place, dream in enumerate(dreams):
        row, column = divmod(place, _COLUMNS)
        picture = Image.fromarray(dream).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(picture, (column * width, row * height))
    return sheet


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise UsageError("give one folder that `make film` left, such as out/my_film")
    _OUTPUT.parent.mkdir(exist_ok=True)
    draw(Path(arguments[0])).save(_OUTPUT, optimize=True)


if __name__ == "__main__":
    run_with_arguments(main)
