"""First images of a training data set, and the address of a tf.data service that reads them."""

import socket
from urllib.parse import urlsplit

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError, UsageError


def collect_images(dataset: tf.data.Dataset, count: int) -> NDArray[np.uint8]:
    """Return the first `count` images of a training data set, uint8 [count, H, W, 3]."""
    found: list[NDArray[np.uint8]] = []
    for batch in dataset:
        found.append(batch["image"].numpy())
        if sum(map(len, found)) >= count:
            break
    return np.concatenate(found)[:count]


def is_black(images: NDArray[np.uint8]) -> bool:
    """Return whether pictures, uint8 of any shape, are black, JPEG's rounding aside."""
    return int(images.max()) <= 1


def are_black(dataset: tf.data.Dataset, count: int) -> bool:
    """Return whether the first `count` images of a data set are; read up to the first other."""
    seen = 0
    for batch in dataset:
        if not is_black(batch["image"].numpy()):
            return False
        seen += len(batch["image"])
        if seen >= count:
            break
    return True


_SERVICE_SECONDS = 5.0


def check_service(address: str) -> None:
    """Check that a tf.data service is at grpc://HOST:PORT; TensorFlow would retry for minutes."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme != "grpc" or not host or not port or parts.path.strip("/"):
        raise UsageError(f"--data_service={address}: give it as grpc://HOST:PORT")
    try:
        socket.create_connection((host, port), _SERVICE_SECONDS).close()
    except OSError as error:
        raise InputError(
            f"{address}: no tf.data service answers there ({error}); start its dispatcher first, "
            "or leave out --data_service"
        ) from None
