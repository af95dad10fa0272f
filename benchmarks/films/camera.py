"""Makes a film that is harder to remember than a trailer: four moving cameras look at a film.

A film of a minute is remembered almost whole by 200 principal components, so that nothing can be
seen of what training adds. Here windows of different size and speed wander over it, two of them
mirrored, one after the other: four times as many frames, none like another. For lack of a long
film that may be had everywhere.

Examples:
  python -m benchmarks.films.camera --film="$(python tools/fetch_demo_film.py)" --output=camera.mp4
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg

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
    """The graph of ffmpeg's filters."""
    count = len(_CAMERAS)
    parts = [f"[0:v]split={count}" + "".join(f"[in{i}]" for i in range(count))]
    for i, (size, across, down, phase, look) in enumerate(_CAMERAS):
        x = f"(iw-ow)*(0.5+0.5*sin(t*{across}+{phase}))"
        y = f"(ih-oh)*(0.5+0.5*cos(t*{down}))"
        window = f"crop=w=iw*{size}:h=ih*{size}:x='{x}':y='{y}'"
        parts.append(f"[in{i}]{look}{window},scale={_WIDTH}:{_HEIGHT},setsar=1[out{i}]")
    return ";".join(parts) + ";" + "".join(f"[out{i}]" for i in range(count)) + f"concat=n={count}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the film and prints its path."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--film", type=Path, required=True, help="the film to look at")
    parser.add_argument("--output", type=Path, required=True, help="the film to make, .mp4")
    options = parser.parse_args(arguments)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-i", options.film,
               "-an", "-filter_complex", filters(), "-c:v", "libx264", "-preset", "superfast",
               "-crf", "18", options.output]  # fmt: skip
    code = subprocess.run(list(map(str, command)), check=False).returncode
    if code == 0:
        print(options.output)
    return code


if __name__ == "__main__":
    sys.exit(main())
