"""Make a film that is harder to remember than a trailer: four moving cameras look at a film.

200 principal components remember a film of a minute almost whole, so that training adds little.
Here windows of different size and speed wander over it, two of them mirrored, one after the other:
four times as many frames, none like another. `benchmarks.ablation` trains on it.

Examples:
  python tools/fetch_demo_film.py
  python -m benchmarks.ablation.camera --film=.cache/big_buck_bunny_trailer.mp4 --output=camera.mp4
"""

from pathlib import Path

import imageio_ffmpeg
from absl import flags

from benchmarks.runs import run
from bladerunner_ae.command_line.app import run as run_command

# Part of the picture's height and width, radians a second from side to side and up and down, where
# it begins, and what else is done.
_CAMERAS = (
    (0.60, 0.50, 0.37, 0, ""),
    (0.45, 0.70, 0.53, 1, "hflip,"),
    (0.80, 0.90, 0.31, 2, "eq=brightness=-0.05:saturation=1.4,"),
    (0.35, 0.40, 0.61, 3, "hflip,"),
)
_HEIGHT, _WIDTH = 360, 640


def filters() -> str:
    count = len(_CAMERAS)
    parts = [f"[0:v]split={count}" + "".join(f"[in{i}]" for i in range(count))]
    for i, (size, across, down, phase, look) in enumerate(_CAMERAS):
        x = f"(iw-ow)*(0.5+0.5*sin(t*{across}+{phase}))"
        y = f"(ih-oh)*(0.5+0.5*cos(t*{down}))"
        window = f"crop=w=iw*{size}:h=ih*{size}:x='{x}':y='{y}'"
        parts.append(f"[in{i}]{look}{window},scale={_WIDTH}:{_HEIGHT},setsar=1[out{i}]")
    return ";".join(parts) + ";" + "".join(f"[out{i}]" for i in range(count)) + f"concat=n={count}"


def make(film: Path, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    run(
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-y",
        "-i",
        film.absolute(),
        "-an",
        "-filter_complex",
        filters(),
        "-c:v",
        "libx264",
        "-preset",
        "superfast",
        "-crf",
        "18",
        output.absolute(),
    )


def main() -> None:
    make(Path(flags.FLAGS.film), Path(flags.FLAGS.output))
    print(flags.FLAGS.output)


def cli() -> None:
    flags.DEFINE_string("film", None, "Film to look at.", required=True)
    flags.DEFINE_string("output", None, "Film to make, .mp4.", required=True)
    run_command(main)


if __name__ == "__main__":
    cli()
