"""Remote files through fsspec, with errors that say what to do. For `storage` and `spool` alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tfrecords.record_errors import ConnectionLostError, RecordsError, StorageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# A file appears here only once it was sent whole; elsewhere it is written next to its name and
# renamed.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "memory"}
_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs",
    "az": "az", "abfs": "az", "abfss": "az", "hf": "hf",
}  # fmt: skip
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "hf": "HF_TOKEN, or hf auth login",
}
# Libraries of the stores refuse credentials by errors of their own, without a number.
_REFUSALS = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "TokenRetrievalError", "UnauthorizedSSOTokenError", "ClientAuthenticationError",
    "DefaultCredentialsError", "RefreshError", "LocalTokenNotFoundError", "GatedRepoError",
}  # fmt: skip
# s3fs tries five times itself; with botocore's own usual tries and times a wrong address would take
# many minutes to be named.
_S3_PATIENCE = {"connect_timeout": 5, "retries": {"max_attempts": 1}}
_FEW_BYTES = 64 << 10


def kind(url: str) -> str | None:
    """Return "file" or "directory" (also for a bucket), or None if there is nothing."""
    try:
        return str(_info(url)["type"])
    except FileNotFoundError:
        return None


def size(url: str) -> int:
    found = _info(url)
    if found["type"] != "file":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)
    return int(found["size"])


def check_bucket(url: str) -> None:
    """Raise StorageError if the bucket of `url` does not exist or may not be read."""
    scheme, bucket = urlsplit(url)[:2]
    if scheme not in _OBJECT_STORES - {"hf", "memory"} or not bucket:
        return
    if kind(f"{scheme}://{bucket}") is None:
        raise StorageError(
            f"{url}: there is no bucket {bucket!r}; make it, or check the name and the "
            f"credentials ({_credentials(url)})"
        )


def listing(url: str) -> dict[str, int | None]:
    """Return the size of each file in a folder by its name, None for a folder."""
    filesystem, key = _opened(url)
    found: dict[str, int | None] = {}
    with suppress(FileNotFoundError, NotADirectoryError), explained(url):
        filesystem.invalidate_cache()
        for entry in filesystem.ls(key, detail=True):
            name = _below(entry["name"], key)
            if name:
                found[name] = int(entry["size"]) if entry["type"] == "file" else None
    return found


def files_below(url: str) -> dict[str, tuple[int, str]]:
    """Return all files below a folder: relative path -> (bytes, tag of the version)."""
    filesystem, key = _opened(url)
    found: dict[str, tuple[int, str]] = {}
    with suppress(FileNotFoundError), explained(url):
        filesystem.invalidate_cache()
        for path, entry in filesystem.find(key, detail=True).items():
            name = _below(path, key)
            # A folder that somebody made in a web console is an empty object of that name; and a
            # name with ".." would leave the folder that it is copied to.
            if name and not path.endswith("/") and ".." not in name.split("/"):
                found[name] = int(entry["size"]), _tag(entry)
    return found


def _tag(entry: dict[str, Any]) -> str:
    """Return a tag that tells versions of a file apart as far as its store does."""
    for name in ("ETag", "etag", "md5Hash", "blob_id", "LastModified", "last_modified", "created"):
        if entry.get(name):
            return str(entry[name])
    return str(entry.get("mtime", ""))


def _below(path: str, key: str) -> str:
    base = key.strip("/") + "/"
    return path.strip("/").removeprefix(base) if path.strip("/").startswith(base) else ""


@contextmanager
def reading(url: str, block: int) -> Iterator[_Reader]:
    """Open a file of bytes, fetched in pieces of at least `block` bytes."""
    filesystem, key = _opened(url)
    with explained(url):
        filesystem.invalidate_cache()
        file = filesystem.open(key, "rb", block_size=block or _FEW_BYTES, cache_type="readahead")
    with file:
        yield _Reader(file, url)


class _Reader:
    """A remote file whose errors name its URL."""

    def __init__(self, file: Any, url: str) -> None:
        self._file, self._url = file, url

    def read(self, count: int = -1) -> bytes:
        with explained(self._url):
            return bytes(self._file.read(count))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


def read(url: str) -> bytes:
    filesystem, key = _opened(url)
    with explained(url):
        filesystem.invalidate_cache()
        return bytes(filesystem.cat_file(key))


def write(url: str, data: bytes) -> None:
    """Write a file whole or not at all, replacing one that exists."""
    with _target(url) as (filesystem, key):
        filesystem.pipe_file(key, data)


def send(source: Path, url: str, report: Callable[[int], None] | None = None) -> None:
    """Copy a local file, calling `report` with the bytes of each piece."""
    from fsspec.callbacks import Callback

    class Count(Callback):
        def relative_update(self, inc: int = 1) -> None:
            if report is not None:
                report(inc)

    os.stat(source)  # a local file that is missing is not the store's fault
    with _target(url) as (filesystem, key):
        filesystem.put_file(str(source), key, callback=Count())


@contextmanager
def _target(url: str) -> Iterator[tuple[AbstractFileSystem, str]]:
    """Yield a file system and a name to write to, which becomes `url` when the block succeeds."""
    filesystem, key = _opened(url)
    with explained(url, writing=True):
        if urlsplit(url).scheme in _OBJECT_STORES:
            yield filesystem, key
            return
        folder, _, name = key.rpartition("/")
        partial = f"{folder}/.{name}.partial"
        filesystem.makedirs(folder, exist_ok=True)
        try:
            yield filesystem, partial
            with suppress(FileNotFoundError):
                filesystem.rm_file(key)  # not every file system renames onto a file
            filesystem.mv(partial, key)
        except BaseException:
            with suppress(Exception):
                filesystem.rm_file(partial)
            raise


def remove(url: str) -> None:
    """Remove a file; a missing one is no error."""
    filesystem, key = _opened(url)
    with suppress(FileNotFoundError), explained(url):
        filesystem.rm_file(key)


def remove_folder(url: str) -> None:
    filesystem, key = _opened(url)
    found = [f"{key}/{name}" for name in files_below(url)]
    with suppress(FileNotFoundError), explained(url):
        if found:
            filesystem.rm(found)


def _info(url: str) -> dict[str, Any]:
    filesystem, key = _opened(url)
    with explained(url):
        filesystem.invalidate_cache()  # other processes and machines write, too
        return dict(filesystem.info(key))


def _opened(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URL and the URL's name in it.

    Raises StorageError if no installed package knows such URLs, or its settings are invalid.
    """
    import fsspec

    scheme = urlsplit(url).scheme
    settings: dict[str, Any] = {}
    if scheme in ("s3", "s3a"):
        if region := os.environ.get("AWS_REGION"):  # known to everything but boto
            os.environ.setdefault("AWS_DEFAULT_REGION", region)
        if "config_kwargs" not in fsspec.config.conf.get("s3", {}):
            settings["config_kwargs"] = _S3_PATIENCE
    try:
        filesystem, key = fsspec.core.url_to_fs(url, **settings)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        cure = f'pip install "bladerunner_ae[{extra}]"' if extra else "install what it needs"
        raise StorageError(f"{url}: {scheme}:// paths need another package; {cure}") from error
    except ValueError as error:
        if scheme in fsspec.available_protocols():
            reason = _reason(error)
            raise StorageError(f"{url}: cannot be used ({reason}); {_check(url)}") from error
        raise StorageError(
            f"{url}: unknown kind of path {scheme}://; known are s3://, gs://, az://, hf:// and "
            "the others of fsspec"
        ) from error
    except Exception as error:
        raise _explanation(error, url) from error
    return filesystem, key


@contextmanager
def explained(url: str, writing: bool = False) -> Iterator[None]:
    """Turn a store's errors into FileNotFoundError, StorageError or ConnectionLostError.

    StorageError means that a person can fix it, ConnectionLostError that a retry may work.
    """
    try:
        yield
    except (RecordsError, MemoryError):
        raise
    except FileNotFoundError as error:
        if writing or _code(error) == "NoSuchBucket":
            raise StorageError(
                f"{url}: there is no bucket {urlsplit(url).netloc!r}; make it, or check the name"
            ) from error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from error
    except Exception as error:
        raise _explanation(error, url) from error


def _explanation(error: Exception, url: str) -> StorageError:
    status = _status(error)
    denied = isinstance(error, PermissionError) or type(error).__name__ in _REFUSALS
    if denied or status in (401, 403):
        return StorageError(f"{url}: access denied ({_reason(error)}); {_check(url)}")
    if 400 <= status < 500 and status not in (408, 429):
        return StorageError(f"{url}: cannot be used ({_reason(error)}); {_check(url)}")
    return ConnectionLostError(
        f"{url}: {_reason(error)}; check the network, the address of the store and the path, then "
        "run the same command again"
    )


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:200].strip(" :.")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _check(url: str) -> str:
    return f"check the path and the credentials ({_credentials(url)})"


def _credentials(url: str) -> str:
    scheme = urlsplit(url).scheme
    return _CREDENTIALS.get(_EXTRAS.get(scheme, scheme), f"those of {scheme}://")


def _code(error: BaseException) -> str:
    response = getattr(error.__cause__ or error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _status(error: BaseException) -> int:
    """Return the HTTP status that an error stands for, 0 if none."""
    if type(error).__name__ == "ParamValidationError":  # refused before it was asked
        return 400
    for one in filter(None, (error, error.__cause__)):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        for owner in (response, one):
            for name in ("status_code", "status", "code"):
                if isinstance(value := getattr(owner, name, None), int):
                    return value
    return 0
