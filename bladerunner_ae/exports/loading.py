"""Loading of exported autoencoders; TensorFlow is imported only when a model is loaded."""

from functools import partial
from typing import Any

import numpy as np

from bladerunner_ae.command_line.tensorflow_import import quiet_imports
from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.export_folders import is_saved_model, run_of, sibling, versions
from bladerunner_ae.exports.model_card import load_model_card
from bladerunner_ae.geometry import Size
from bladerunner_ae.model.autoencoder import Autoencoder, Halves, Latents, Pictures
from bladerunner_ae.runs.config import CODE_NUMBERS
from bladerunner_ae.runs.files import CONFIG_NAME
from bladerunner_ae.runs.folder import refuse_unexported
from tfrecords import local_copies, storage
from tfrecords.storage import AnyPath, Location
from tfrecords.wording import first_line

SIGNATURE = "reconstruct"
INPUT, OUTPUT = "image", "reconstruction"


def load_autoencoder(path: AnyPath) -> Autoencoder:
    """Load an exported autoencoder.

    >>> from bladerunner_ae import load_autoencoder
    >>> autoencoder = load_autoencoder("out/my_film/run")
    >>> dreams = autoencoder.reconstruct(frames)  # uint8 [n, height, width, 3]
    >>> mean, log_var = autoencoder.encode(frames)  # float32 [n, latent numbers]
    >>> between = autoencoder.decode((mean[:1] + mean[-1:]) / 2)  # uint8 [1, height, width, 3]

    Args:
        path: folder of one version, of all versions (the newest is taken), or of the run that holds
            them as export/autoencoder.

    Raises:
        InputError: there is no such folder, or it holds no SavedModel, a damaged one, one that does
            something else, or one of a newer version of this program.
    """
    folder = find_saved_model(storage.location(path))
    card = load_model_card(folder)  # first: the contents of a newer export may mean something else
    model = _load(folder)
    if SIGNATURE not in model.signatures:
        names = ", ".join(sorted(model.signatures)) or "none"
        raise InputError(
            f"{folder}: has no signature {SIGNATURE!r} (it has: {names}); "
            "give an exported autoencoder, such as RUN/export/autoencoder"
        )
    import tensorflow as tf

    def dream(images: Pictures) -> Any:
        # Through the model: the function alone would not keep its variables alive.
        return model.signatures[SIGNATURE](**{INPUT: tf.constant(images)})[OUTPUT]

    run = run_of(folder)
    autoencoder = Autoencoder(
        raster=_raster(folder, model.signatures[SIGNATURE]),
        load_halves=partial(_load_halves, folder),
        dream=dream,
        path=folder,
        card=card,
        run=run if storage.is_file(run / CONFIG_NAME) else None,
        code_numbers=CODE_NUMBERS if card.get("model", {}).get("moments") else 0,
    )
    # The first call is slow, as it prepares the graph; and a signature can only promise.
    blank = np.zeros((1, *autoencoder.raster, 3), np.uint8)
    if autoencoder.reconstruct(blank).shape != blank.shape:
        raise InputError(f"{folder}: returns pictures of another size than it takes")
    return autoencoder


def find_saved_model(path: Location) -> Location:
    """Return the folder meant by `path`, see `load_autoencoder`; a local one without TensorFlow."""
    if not storage.exists(path):
        storage.explain_missing(path)
        raise InputError(f"{path}: no such model folder; check the name, or train a model first")
    if not storage.is_directory(path):
        raise InputError(f"{path}: is a file; give the folder of a SavedModel")
    for folder in (path, path / "export" / "autoencoder", path / "autoencoder"):
        if is_saved_model(folder):
            return folder
        if found := versions(folder):
            return found[max(found)]
    refuse_unexported(path)
    raise InputError(
        f"{path}: holds no SavedModel; give RUN/export/autoencoder of a run that was exported"
    )


def _load(folder: Location) -> Any:
    readable = str(local_copies.local_folder(folder))
    with quiet_imports():
        import tensorflow as tf

    try:
        return tf.saved_model.load(readable)
    except Exception as error:  # TensorFlow raises almost anything for a damaged file
        raise InputError(
            f"{folder}: is a SavedModel that cannot be loaded ({first_line(error)}); export it "
            "again"
        ) from error


def _load_halves(autoencoder: Location) -> Halves:
    import tensorflow as tf

    models = []
    for name, signature in (("encoder", "encode"), ("decoder", "decode")):
        folder = sibling(autoencoder, name)
        if not is_saved_model(folder):
            raise InputError(f"{folder}: is missing; export the run again")
        models.append(_load(folder))
        if signature not in models[-1].signatures:
            raise InputError(f"{folder}: has no signature {signature!r}; export the run again")
    encoder, decoder = models

    def encode(images: Pictures) -> tuple[Any, Any]:
        output = encoder.signatures["encode"](image=tf.constant(images))
        return output["latent"], output["log_var"]

    def decode(latents: Latents) -> Any:
        return decoder.signatures["decode"](latent=tf.constant(latents))["image"]

    shape = encoder.signatures["encode"].structured_outputs["latent"].shape
    return Halves(tuple(shape[1:]), encode, decode)


def _raster(folder: Location, function: Any) -> Size:
    """Return (height, width) from the signature, after a check that it can be used."""
    inputs = function.structured_input_signature[1]
    outputs = function.structured_outputs
    wanted = f"uint8 {INPUT!r} [None, height, width, 3] -> uint8 {OUTPUT!r} of the same shape"
    if set(inputs) != {INPUT} or OUTPUT not in outputs:
        raise InputError(
            f"{folder}: signature {SIGNATURE!r} takes {', '.join(sorted(inputs))} and returns "
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
