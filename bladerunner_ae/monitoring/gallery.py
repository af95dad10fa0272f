"""Pictures of a run, drawn, packed and written beside training, in a thread of their own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from PIL import Image

from bladerunner_ae.monitoring.events import Summaries
from bladerunner_ae.probes import to_png
from tfrecords import storage
from tfrecords.storage import Location

# Each holds its frames: so many at most wait for the thread.
_WAITING = 8


class Gallery:
    """Hands pictures to TensorBoard, and some to files of the run folder.

    Packing a PNG takes longer than to compute what it shows, and one core; steps go on meanwhile.

    Args:
        summaries: of the run; are to be closed after this.
    """

    def __init__(self, summaries: Summaries) -> None:
        self._summaries = summaries
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gallery")
        self._waiting: list[Future[None]] = []

    def add(
        self, name: str, draw: Callable[[], Image.Image], step: int, file: Location | None = None
    ) -> None:
        """Takes a picture; it is written later, in the order of the calls.

        Args:
            name: in TensorBoard.
            draw: makes the picture, from what does not change any more.
            step: that it is of.
            file: is written too, if given; its folder exists.

        Raises:
            Exception: whatever went wrong with an earlier one.
        """
        self._wait(at_most=_WAITING - 1)
        self._waiting.append(self._thread.submit(self._write, name, draw, step, file))

    def wait(self) -> None:
        """Returns when all are written; raises what went wrong with one of them."""
        self._wait(at_most=0)

    def close(self) -> None:
        """Writes what waits and ends the thread; may be called again.

        Raises nothing: whoever has to know waits first.
        """
        self._thread.shutdown()

    def _wait(self, at_most: int) -> None:
        while self._waiting and (len(self._waiting) > at_most or self._waiting[0].done()):
            self._waiting.pop(0).result()

    def _write(self, name: str, draw: Callable[[], Any], step: int, file: Location | None) -> None:
        png = to_png(draw())
        if file is not None:
            storage.write_bytes(file, png)
        self._summaries.picture(name, png, step)
