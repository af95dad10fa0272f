"""Side data of a decoded frame, by name."""

from collections.abc import Mapping
from typing import Any

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from bladerunner_ae.film.picture.filters import build_graph

# libav numbers its types from 0; there are about 32, and a few more with each of its versions.
_TYPES = range(128)


def read_side_data(frame: VideoFrame, *names: str) -> dict[str, bytes]:
    """Contents of a frame's side data by name, as far as present."""
    try:
        found: Mapping[Any, Any] = frame.side_data
    except ValueError:
        # PyAV before 19 gives nothing at all where there is one type that it has no name for.
        found = _named_only(frame).side_data
    return {name: bytes(found[name]) for name in names if name in found}


def _named_only(frame: VideoFrame) -> VideoFrame:
    """The same frame without the side data that PyAV has no names for."""
    named = {one.value for one in Type}
    unnamed = [number for number in _TYPES if number not in named]
    graph = build_graph(frame, [("sidedata", f"mode=delete:type={one}") for one in unnamed])
    graph.vpush(frame)
    return graph.vpull()
