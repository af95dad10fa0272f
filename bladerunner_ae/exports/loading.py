"""A trained autoencoder as a SavedModel: found, checked and run. No training code is needed.

TensorFlow is imported only when a model is loaded.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.model_card import load_model_card
from bladerunner_ae.geometry import Size
from bladerunner_ae.runs.folder import refuse_unexported
from tfrecords import spool, storage
from tfrecords.storage import AnyPath, Location

SIGNATURE = "reconstruct"
INPUT, OUTPUT = "image", "reconstruction"


class Autoencoder:
    """Pictures in, dreamt pictures out.

    Attributes:
        path: folder of the SavedModel; use `load_autoencoder` to make one.
        raster: (height, width) of the pictures it takes and gives.
    """

    def __init__(
        self, path: Location, raster: Size, model: Any, function: Callable[..., dict[str, Any]]
    ) -> None:
        self.path, self.raster = path, raster
        # The function alone would not keep the variables of its model alive.
        self._model, self._function = model, function

    def reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Dreams some pictures; each result depends on its own picture alone.

        Args:
            images: uint8 [batch, height, width, 3], RGB, of any batch size.

        Returns:
            uint8 [batch, height, width, 3].
        """
        import tensorflow as tf

        return self._function(**{INPUT: tf.constant(images)})[OUTPUT].numpy()


def load_autoencoder(path: AnyPath) -> Autoencoder:
    """Loads an exported autoencoder.

    Args:
        path: the folder of one version, the folder of all versions (the newest is taken), or the
            run folder that holds them as export/autoencoder.

    Raises:
        InputError: there is no such folder, it holds no SavedModel, a damaged one, one that does
            something else, or one of a newer version of this program.
    """
    folder = find_saved_model(storage.location(path))
    load_model_card(folder)  # an export of a newer version may not mean what it meant
    readable = str(spool.local_folder(folder))
    import tensorflow as tf

    try:
        model = tf.saved_model.load(readable)
    except Exception as error:  # TensorFlow raises almost anything for a damaged file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise InputError(
            f"{folder}: is a SavedModel that cannot be loaded ({reason}); export it again"
        ) from error
    function = model.signatures.get(SIGNATURE)
    if function is None:
        names = ", ".join(sorted(model.signatures)) or "none"
        raise InputError(
            f"{folder}: has no signature {SIGNATURE!r} (it has: {names}); "
            "give an exported autoencoder, such as RUN/export/autoencoder"
        )
    autoencoder = Autoencoder(folder, _raster(folder, function), model, function)
    # The first call is slow, as it prepares the graph; and a signature can only promise.
    blank = np.zeros((1, *autoencoder.raster, 3), np.uint8)
    if autoencoder.reconstruct(blank).shape != blank.shape:
        raise InputError(f"{folder}: gives pictures of another size than it takes")
    return autoencoder


def find_saved_model(path: Location) -> Location:
    """The folder of the SavedModel meant by `path`; see `load_autoencoder`.

    A local one is found without TensorFlow.

    Raises:
        InputError: there is none.
    """
    if not storage.exists(path):
        storage.explain_missing(path)
        raise InputError(f"{path}: no such model folder; check the name, or train a model first")
    if not storage.is_directory(path):
        raise InputError(f"{path}: is a file; give the folder of a SavedModel")
    for folder in (path, path / "export" / "autoencoder", path / "autoencoder"):
        if _is_saved_model(folder):
            return folder
        versions = _versions(folder)
        if versions:
            return versions[-1]
    refuse_unexported(path)
    raise InputError(
        f"{path}: holds no SavedModel; give RUN/export/autoencoder of a run that was exported"
    )


def _is_saved_model(folder: Location) -> bool:
    return any(storage.is_file(folder / name) for name in ("saved_model.pb", "saved_model.pbtxt"))


def _versions(folder: Location) -> list[Location]:
    """The numbered SavedModels of a folder, oldest first."""
    names = [name for name in storage.names(folder) if name.isdecimal()]
    return [folder / name for name in sorted(names, key=int) if _is_saved_model(folder / name)]


def _raster(folder: Location, function: Any) -> Size:
    """(height, width) from the signature, after a check that it is what we can use."""
    inputs = function.structured_input_signature[1]
    outputs = function.structured_outputs
    wanted = f"uint8 {INPUT!r} [None, height, width, 3] -> uint8 {OUTPUT!r} of the same shape"
    if set(inputs) != {INPUT} or OUTPUT not in outputs:
        raise InputError(
            f"{folder}: signature {SIGNATURE!r} takes {', '.join(sorted(inputs))} and gives "
            f"{', '.join(sorted(outputs))}; it must be {wanted}"
        )
    shape = tuple(inputs[INPUT].shape)
    uint8 = inputs[INPUT].dtype.name == outputs[OUTPUT].dtype.name == "uint8"
    if not uint8 or len(shape) != 4 or shape[0] is not None or shape[3] != 3 or None in shape[1:]:
        raise InputError(
            f"{folder}: signature {SIGNATURE!r} takes {inputs[INPUT].dtype.name} {list(shape)}; "
            f"it must be {wanted}"
        )
    return shape[1], shape[2]
