"""Films that are none, films cut short, and films made from other films by ffmpeg."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from tests.helpers.number_panel import Picture

BAD_FILMS = {
    "missing": "no such file",
    "empty": "is empty",
    "text": "is not a film",
    "sound": "has only sound; a film with a video stream is needed",
    "cover": "has only sound and a cover picture",
    "no_index": "is cut off or was never finished",
    "still": "is not a film",
    "no_images": "is a folder without images",
    "no_numbers": "has no number in its name",
    "same_number": "have the same number",
}
"""Kinds of inputs that are no films, each with words of the message that says so."""


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg; existing outputs are replaced."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    subprocess.run([*program, *map(str, arguments)], check=True, stdin=subprocess.DEVNULL)


def convert(film: Path, output: Path, *arguments: object) -> Path:
    """Make another film of a film; `arguments` go between input and output."""
    ffmpeg("-i", film, *arguments, output)
    return output


def film_of(path: Path, pictures: list[Picture], *arguments: object) -> Path:
    """Make a lossless film of RGB pictures, uint8 [height, width, 3], at 24 a second."""
    height, width = pictures[0].shape[:2]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}"]
    codec = arguments or ("-c:v", "ffv1", "-pix_fmt", "gbrp")
    subprocess.run(
        [*program, *raw, "-framerate", "24", "-i", "pipe:0", *map(str, codec), str(path)],
        input=b"".join(picture.tobytes() for picture in pictures),
        check=True,
    )
    return path


def cut(film: Path, output: Path, part: float) -> Path:
    """Copy the first part of a file, 0..1 of its bytes."""
    data = film.read_bytes()
    output.write_bytes(data[: int(part * len(data))])
    return output


def bad_film(kind: str, folder: Path, film: Path) -> Path:
    """Make one of `BAD_FILMS` in an empty folder out of a good film with sound."""
    path = folder / f"{kind}.mp4"
    picture = Image.fromarray(np.full((16, 16, 3), 99, np.uint8))
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("Attack ships on fire off the shoulder of Orion\n" * 30)
    elif kind == "sound":
        convert(film, path, "-vn", "-c:a", "copy")
    elif kind == "cover":
        picture.save(folder / "cover.png")
        path = path.with_suffix(".mp3")
        ffmpeg("-i", film, "-i", folder / "cover.png", "-map", "0:a", "-map", "1:v",
               "-c:v", "copy", "-disposition:v", "attached_pic", path)  # fmt: skip
    elif kind == "no_index":
        cut(film, path, 0.6)
    elif kind == "still":
        path = path.with_suffix(".png")
        picture.save(path)
    elif kind in ("no_images", "no_numbers", "same_number"):
        path = folder / kind
        path.mkdir()
        names = {"no_numbers": ["1.png", "cover.png"], "same_number": ["a1.png", "b01.png"]}
        for name in names.get(kind, []):
            picture.save(path / name)
        (path / "notes.txt").write_text("no picture")
    else:
        assert kind == "missing"
    return path
