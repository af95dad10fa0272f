"""Clients of models that are served, by this package or by TensorFlow Serving.

    from bladerunner_ae.client import connect, decode_images

    with connect("http://127.0.0.1:8501", "decoder") as client:
        encoded = client.predict({"latent": latents})["image_bytes"]
        pictures = decode_images(encoded)

REST needs only Python and numpy, gRPC needs grpcio; neither imports TensorFlow.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.client.base import Client, RequestError, Signature, Tensor, UnreachableError
from bladerunner_ae.client.rest_client import RestClient
from bladerunner_ae.errors import UsageError

__all__ = ["Client", "RequestError", "Signature", "Tensor", "UnreachableError", "connect",
           "decode_images"]  # fmt: skip


def connect(
    url: str,
    model: str,
    version: int | None = None,
    label: str | None = None,
    timeout: float = 30.0,
) -> Client:
    """Return a client of a served model; nothing is sent yet.

    Args:
        url: http://host:8501, https://host or grpc://host:8500.
        model: its name on the server, such as "decoder".
        version: its number; by default the newest.
        label: another name of the version, in place of its number.
        timeout: seconds for each answer.

    Raises:
        UsageError: the URL is none of these, or there are both a version and a label.

    Example:
        >>> with connect("http://127.0.0.1:8501", "decoder") as client:
        ...     print(client.signatures())
        ...     png = client.predict({"latent": np.zeros((4, 200))}, "decode_png_bytes")
        >>> png["image_bytes"].shape
        (4,)
    """
    parts = urlsplit(url)
    if not _is_address_alone(parts):
        raise UsageError(f"{url}: give http://HOST:PORT or grpc://HOST:PORT, and nothing after it")
    if parts.scheme == "grpc" and parts.netloc:
        from bladerunner_ae.client.grpc_client import GrpcClient

        return GrpcClient(parts.netloc, model, version, label, timeout)
    if parts.scheme in ("http", "https") and parts.netloc:
        tls = parts.scheme == "https"
        return RestClient(parts.netloc, model, version, label, timeout, tls)
    raise UsageError(f"{url}: give http://HOST:PORT or grpc://HOST:PORT")


def _is_address_alone(parts: SplitResult) -> bool:
    try:
        parts.port  # noqa: B018  raises if it is no number of a port
    except ValueError:
        return False
    more = parts.path.removeprefix("/") or parts.query or parts.fragment
    return not more and "@" not in parts.netloc


def decode_images(encoded: Iterable[bytes]) -> NDArray[np.uint8]:
    """Decode JPEG or PNG files of one size to uint8 [batch, height, width, 3], RGB.

    Args:
        encoded: at least one file, such as the output `image_bytes`.

    Raises:
        PIL.UnidentifiedImageError: a file is neither JPEG nor PNG.
    """
    from PIL import Image

    def decode(file: bytes) -> NDArray[np.uint8]:
        # Without `formats` Pillow opens dozens of them, some by other programs.
        with Image.open(io.BytesIO(file), formats=("JPEG", "PNG")) as picture:
            return np.asarray(picture.convert("RGB"))

    return np.stack([decode(file) for file in encoded])
