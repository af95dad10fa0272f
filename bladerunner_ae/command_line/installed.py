"""What must be installed beside this package, and the one line that names what is missing.

TensorFlow is an extra, and so are the packages of some commands: each of these lines says which.
"""

from importlib.machinery import PathFinder

from bladerunner_ae.errors import InputError

_EXTRAS = {
    "tensorflow": "[cpu]",
    "tensorflow_io": "[io]",
    "apache_beam": "[beam]",
    **dict.fromkeys(("grpc", "prometheus_client", "starlette", "uvicorn"), "[serve]"),
}
_NAMES = {"tensorflow": "TensorFlow", "PIL": "pillow", "grpc": "grpcio"}
_ALWAYS = {
    "PIL", "absl", "av", "fsspec", "google_crc32c", "google", "imageio_ffmpeg", "keras", "moviepy",
    "numpy", "simplejpeg", "tensorboard", "tqdm",
}  # fmt: skip


def missing_package(error: ModuleNotFoundError) -> str:
    """Returns a line on a package that cannot be imported; empty if it is none of those needed."""
    root = (error.name or "").partition(".")[0]
    if root not in _EXTRAS and root not in _ALWAYS:
        return ""
    name = _NAMES.get(root, root.replace("_", "-"))
    line = f'{name} is not installed: pip install "bladerunner_ae{_EXTRAS.get(root, "")}"'
    return f"{line} (or [gpu])" if root == "tensorflow" else line


def need_tensorflow() -> None:
    """Makes sure that TensorFlow is installed, without the seconds that its import takes.

    Raises:
        InputError: it is not.
    """
    # Not `importlib.util.find_spec`: what hides TensorFlow's chatter waits for its first search.
    if PathFinder.find_spec("tensorflow") is None:
        raise InputError(missing_package(ModuleNotFoundError(name="tensorflow")))
