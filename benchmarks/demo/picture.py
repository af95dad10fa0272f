"""Writes docs/images/dream.png, the picture in README: dreamt frames only, none of the film's own.

Examples:
  python -m benchmarks.demo.picture out/big_buck_bunny_trailer
"""

import sys
from pathlib import Path

from PIL import Image

from bladerunner_ae.command_line.tensorflow_import import import_tensorflow
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.pictures.contact_sheet import spread_frames
from tfrecords.card import load_card
from tfrecords.frames import read_images

_OUTPUT = Path(__file__).resolve().parent.parent.parent / "docs" / "images" / "dream.png"
_COLUMNS, _ROWS, _ENLARGED = 4, 3, 2


def draw(folder: Path) -> Image.Image:
    """Dreams frames from all over a film that `make film` has been given.

    Args:
        folder: OUT/<film>.
    """
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


def main() -> None:
    """Draws and saves."""
    if len(sys.argv) != 2 or "--help" in sys.argv:
        print(__doc__)
        return
    import_tensorflow()
    _OUTPUT.parent.mkdir(exist_ok=True)
    draw(Path(sys.argv[1])).save(_OUTPUT, optimize=True)


if __name__ == "__main__":
    main()
