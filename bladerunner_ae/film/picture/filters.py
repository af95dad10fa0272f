"""libav's filters, as graphs with one way in and one way out."""

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame


def build_graph(frame: VideoFrame, filters: list[tuple[str, str]]) -> Graph:
    """Graph for frames like this one; `filters` are (name, arguments) in order of application."""
    graph = Graph()
    # Decoding already takes all cores; threads inside a small filter only get in its way.
    graph.threads = 1
    nodes = [
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            # Frames that a decoder gave when it was emptied have none; it does not matter here.
            time_base=frame.time_base or Fraction(1, 1000),
        )
    ]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
