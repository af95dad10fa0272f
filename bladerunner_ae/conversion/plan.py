"""Plan of a conversion: everything decided before its first frame is read."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import bladerunner_ae
from bladerunner_ae.conversion.options import ConversionOptions, refuse_too_large
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.probe import probe_film, without_deinterlacing
from bladerunner_ae.film.reading.source import Source
from bladerunner_ae.geometry import Geometry, decide_geometry
from bladerunner_ae.output_files import refuse_unwritable
from tfrecords.publication import work_folders
from tfrecords.schema import Frame
from tfrecords.wording import counted


@dataclass(frozen=True)
class ConversionPlan:
    """Everything that a conversion is going to do.

    `directory` is DATA/<film>; `source` has its stamp from before it was inspected.
    """

    info: FilmInfo
    options: ConversionOptions
    geometry: Geometry
    directory: Path
    source: Source

    @property
    def film_id(self) -> str:
        return self.source.sha256[:16]

    def identity(self) -> dict[str, Any]:
        """Return JSON values of all that decides the bytes of the records."""
        return {
            "film": self.source.sha256,
            **self.options.to_json(self.source.kind),
            "geometry": self.geometry.to_json(),
            "tool_version": bladerunner_ae.__version__,
        }

    def frame(self, encoded: bytes, index: int, pts: int) -> Frame:
        """Return the record of frame `index`, shown at `pts`, with the picture `encoded`."""
        raster = self.geometry.raster
        return Frame(encoded, self.options.image_format, *raster, index, pts, self.film_id)

    def frames_estimate(self) -> int | None:
        """Return the approximate number of frames to convert, or None if unknown."""
        frames, rate = self.info.timing.frames_estimate, self.info.timing.frame_rate
        if frames is None:
            return None
        left = max(frames / rate - (self.options.start or 0), Fraction(0))
        if self.options.duration is not None:
            left = min(left, self.options.duration)
        return round(left * rate)

    def describe(self) -> str:
        (height, width), stored = self.geometry.raster, self.info.picture.stored
        frames = self.frames_estimate()
        count = "an unknown number of frames" if frames is None else counted(frames, "frame")
        about = "" if frames is None else "about "
        return (
            f"{self.info.path}: {about}{count} of {stored[0]}x{stored[1]} -> "
            f"{self.directory}, {height}x{width}, {self.options.image_format}, "
            f"{counted(self.options.num_shards, 'shard')}"
        )


def plan_conversion(film: Path, output_dir: Path, options: ConversionOptions) -> ConversionPlan:
    """Inspect a film and decide how it is to be converted; writes nothing.

    Raises:
        InputError: the film cannot be read, or is none, or its records cannot be written there.
        UsageError: impossible sizes.
    """
    source = Source(film).stamped()
    directory = output_dir / source.name
    refuse_unwritable(directory)
    for folder in work_folders(directory.resolve()):
        if folder in film.resolve().parents:
            raise InputError(
                f"{film}: is in {folder.name}, where records are made and which is then removed; "
                "move the film elsewhere"
            )
    info = probe_film(film, options.frame_rate)
    if options.deinterlace == "off":
        info = without_deinterlacing(info)
    bars = find_bars(info) if options.bars is None else options.bars
    raster = (options.height, options.width)
    try:
        geometry = decide_geometry(
            info.picture.stored, info.picture.sample_aspect, bars, raster if any(raster) else None,
            options.fit, options.pixels, options.multiple,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{film}: {error}") from error
    refuse_too_large(geometry.raster)
    return ConversionPlan(info, options, geometry, directory, source)
