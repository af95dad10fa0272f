"""Pictures of a run, drawn, packed and written beside training, in a thread of their own."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from PIL import Image

from bladerunner_ae.pictures.png import to_png
from bladerunner_ae.training.monitoring.event_files import Summaries
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
        self._taken: list[Future[None]] = []

    def add(
        self, name: str, draw: Callable[[], Image.Image], step: int, file: Location | None = None
    ) -> None:
        """Takes a picture; it is written later, in the order of the calls.

        What goes wrong with it is told by `wait`, so that nothing else is broken off by a picture.

        Args:
            name: in TensorBoard.
            draw: makes the picture, from what does not change any more.
            step: that it is of.
            file: is written too, if given; its folder exists.
        """
        while len(waiting := [one for one in self._taken if not one.done()]) >= _WAITING:
            wait(waiting, return_when=FIRST_COMPLETED)
        self._taken = [one for one in self._taken if not one.done() or one.exception()]
        self._taken.append(self._thread.submit(self._write, name, draw, step, file))

    def wait(self) -> None:
        """Returns when all are written; raises what went wrong with the first that is not."""
        while self._taken:
            try:
                self._taken[0].result()
            finally:
                if self._taken[0].done():  # not so where an interruption ended the waiting
                    self._taken.pop(0)

    def close(self) -> None:
        """Writes what waits and ends the thread; may be called again.

        Raises nothing: whoever has to know waits first.
        """
        self._thread.shutdown()

    def _write(
        self, name: str, draw: Callable[[], Image.Image], step: int, file: Location | None
    ) -> None:
        png = to_png(draw())
        if file is not None:
            storage.write_bytes(file, png)
        self._summaries.picture(name, png, step)
