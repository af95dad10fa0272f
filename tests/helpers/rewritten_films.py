"""Films written as dreams are: pictures at the times of another film, with its sound."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.writing.encoder import Encoding, PictureWriter
from bladerunner_ae.film.writing.mux import Timeline, join_with_sound, make_timeline
from bladerunner_ae.film.writing.raw_packets import read_original
from bladerunner_ae.film.writing.sound import SoundPlan, plan_sound
from bladerunner_ae.film.writing.verify import Verification, verify_film
from bladerunner_ae.geometry import Size
from bladerunner_ae.reassembly import expected_film
from tests.helpers.number_panel import Picture

FILTERS = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"


def write_film(
    info: FilmInfo,
    pts: Sequence[int],
    end: int,
    pictures: Iterable[Picture],
    output: Path,
    size: Size = (16, 32),
) -> tuple[Timeline, SoundPlan]:
    """Write pictures of one size at the times `pts`, with the sound of a film."""
    encoded, rate = output.with_suffix(".pictures.mp4"), info.timing.frame_rate
    with PictureWriter(encoded, size, FILTERS, rate, Encoding()) as writer:
        for picture in pictures:
            writer.write(picture)
    timeline, plan = make_timeline(pts, end, info), plan_sound(info, output.suffix)
    join_with_sound(encoded, output, timeline, info, plan, rate)
    return timeline, plan


def verify(
    output: Path,
    info: FilmInfo,
    pts: Sequence[int],
    end: int,
    plan: SoundPlan,
    jumps: bool = False,
) -> Verification:
    """Verify a film that `write_film` wrote."""
    expected = expected_film(info, pts, end, make_timeline(pts, end, info), plan, jumps)
    return verify_film(output, read_original(info), expected, output)
