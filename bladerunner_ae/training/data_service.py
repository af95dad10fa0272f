"""The address of a tf.data service, checked before a run waits for it in vain."""

import socket
from urllib.parse import urlsplit

from bladerunner_ae.errors import InputError, UsageError

_SECONDS = 5.0


def check_service(address: str) -> None:
    """Checks that something answers at the address of a tf.data service.

    TensorFlow itself would try again and again for many minutes without a word.

    Args:
        address: grpc://host:port of the dispatcher.

    Raises:
        UsageError: it is no such address.
        InputError: nobody answers there.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme != "grpc" or not host or not port or parts.path.strip("/"):
        raise UsageError(f"--data_service={address}: give it as grpc://HOST:PORT")
    try:
        socket.create_connection((host, port), _SECONDS).close()
    except OSError as error:
        raise InputError(
            f"{address}: no tf.data service answers there ({error}); start its dispatcher first, "
            "or leave out --data_service"
        ) from None
