"""Pictures of a run, drawn, encoded and written in a thread of their own."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from PIL import Image

from bladerunner_ae.pictures.png import to_png
from bladerunner_ae.training.monitoring.event_files import Summaries
from tfrecords import storage
from tfrecords.storage import Location

# Each holds its frames, so at most this many wait for the thread.
_WAITING = 8


class PictureQueue:
    """Writes pictures to TensorBoard, and some to files of the run folder.

    Encoding a PNG takes longer than computing what it shows, and one core; training continues
    meanwhile. Must be closed before the summaries.
    """

    def __init__(self, summaries: Summaries) -> None:
        self._summaries = summaries
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._taken: list[Future[None]] = []

    def add(
        self, name: str, draw: Callable[[], Image.Image], step: int, file: Location | None = None
    ) -> None:
        """Queue a picture; all are written in the order of the calls, and `wait` raises errors.

        `draw` makes it from data that no longer changes. If `file` is given, whose folder exists,
        that is written too.
        """
        while len(waiting := [one for one in self._taken if not one.done()]) >= _WAITING:
            wait(waiting, return_when=FIRST_COMPLETED)
        self._taken = [one for one in self._taken if not one.done() or one.exception()]
        self._taken.append(self._thread.submit(self._write, name, draw, step, file))

    def wait(self) -> None:
        """Block until all are written; raise the error of the first that could not be."""
        while self._taken:
            try:
                self._taken[0].result()
            finally:
                if self._taken[0].done():  # not so where an interruption ended the waiting
                    self._taken.pop(0)

    def close(self) -> None:
        """Write what is queued and end the thread; may be called again. Raises nothing."""
        self._thread.shutdown()

    def _write(
        self, name: str, draw: Callable[[], Image.Image], step: int, file: Location | None
    ) -> None:
        png = to_png(draw())
        if file is not None:
            storage.write_bytes(file, png)
        self._summaries.picture(name, png, step)
