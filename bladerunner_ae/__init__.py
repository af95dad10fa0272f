"""Let a neural network watch a film and dream it back.

    from bladerunner_ae import convert_film, load_autoencoder, reassemble_film, train

Importing this package is cheap: TensorFlow, Keras and the film libraries are imported with the
function that needs them.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bladerunner_ae.command_line import signals

if TYPE_CHECKING:
    from bladerunner_ae.client import connect
    from bladerunner_ae.conversion.convert import convert_film
    from bladerunner_ae.exports.loading import load_autoencoder
    from bladerunner_ae.reassembly import reassemble_film
    from bladerunner_ae.training.from_python import train

__all__ = ["connect", "convert_film", "load_autoencoder", "reassemble_film", "train"]
__version__ = "0.1.0"

_PLACES = {
    "connect": "client",
    "convert_film": "conversion.convert",
    "load_autoencoder": "exports.loading",
    "reassemble_film": "reassembly",
    "train": "training.from_python",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


class _Package(ModuleType):
    """This package; its `train` stays the function when `bladerunner_ae.train` is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _PLACES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
signals.start_in_command()
