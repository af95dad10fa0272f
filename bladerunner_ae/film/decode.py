"""Every frame of a film in the order it is shown, scaled for the records in the same pass.

`FrameReader` is the only way pictures come out of a film. Decoding runs in threads of its own,
scaling in the thread that iterates, so two or more cores are kept busy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.film.probe import FilmInfo
from bladerunner_ae.geometry import Geometry, Size


@dataclass(frozen=True)
class DecodedFrame:
    """One frame.

    Attributes:
        index: place among the frames that are read, from 0.
        pts: time at which it is shown, in units of the film's time base; rises from frame to frame.
        image: uint8 [height, width, 3], RGB: the record's picture.
        display: uint8 [height, width, 3], RGB: the upright film frame, or None if not asked for.
    """

    index: int
    pts: int
    image: NDArray[np.uint8]
    display: NDArray[np.uint8] | None = None


class FrameReader:
    """Iterates once over the frames of a film; use as a context manager.

    A film that is damaged gives the frames that can be read; `problem` then says what is missing.

    Args:
        info: what `probe_film` found.
        geometry: makes `image` the record's picture: cropped, scaled by area, placed in the raster
            with black margins. None: `image` is the whole upright picture.
        size: (height, width) of `image` where there is no geometry; None: as stored.
        display_size: (height, width) at which the whole upright film frame comes along as
            `display`, or None for no such picture.
        start: seconds after the film's start at which to begin, or None for the beginning.
        duration: seconds to read, or None for the rest.

    Attributes:
        problem: after the last frame: one line on what could not be read, or "" if all was well.
        damaged_packets: how many pieces of the picture's stream could not be decoded.
    """

    problem: str
    damaged_packets: int

    def __init__(
        self,
        info: FilmInfo,
        *,
        geometry: Geometry | None = None,
        size: Size | None = None,
        display_size: Size | None = None,
        start: Fraction | None = None,
        duration: Fraction | None = None,
    ) -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[DecodedFrame]:
        raise NotImplementedError

    def close(self) -> None:
        """Stops the decoding threads; frames not yet taken are lost. Harmless twice."""

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
