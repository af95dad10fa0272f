"""On which devices a run trains, and in which precision: what flags ask for, made real."""

from pathlib import Path

import tensorflow as tf

from bladerunner_ae.errors import UsageError


def choose_device(name: str) -> None:
    """Makes TensorFlow use one kind of device; to be called before its first operation.

    Args:
        name: "auto": GPUs where there are any. "cpu": no GPU. "gpu": nothing else will do.

    Raises:
        UsageError: a GPU is asked for and TensorFlow finds none.
    """
    if name == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif name == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise UsageError(
            "--device=gpu: TensorFlow finds no GPU on this machine; leave it out to train on the "
            "CPU, or see that `nvidia-smi` works and the package is installed with [gpu]"
        )


def choose_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy called `name`.

    Args:
        name: "none": one device. "mirrored": all GPUs, or all logical CPUs where there is none.
            "auto": mirrored with two GPUs or more, else none, which is quicker on one.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    if name not in ("auto", "mirrored"):
        raise UsageError(f"--strategy={name}: choose auto, none or mirrored")
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def choose_precision(name: str) -> str:
    """Resolves "auto": bfloat16 where the hardware multiplies it, float32 where it would emulate.

    Emulated bfloat16 was measured several times slower than float32.
    """
    if name != "auto":
        return name
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        return "mixed_bfloat16" if capability and capability[0] >= 8 else "float32"
    cpu = Path("/proc/cpuinfo")
    native = cpu.exists() and any(
        flag in cpu.read_text("utf-8", "replace") for flag in ("avx512_bf16", "amx_bf16")
    )
    return "mixed_bfloat16" if native else "float32"
