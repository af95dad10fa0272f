"""Devices, strategy and precision of a run."""

import sys
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from bladerunner_ae.command_line import signals
from bladerunner_ae.errors import UsageError
from bladerunner_ae.training.distributed.cluster import check_port, cluster_of, needed_cluster
from bladerunner_ae.training.distributed.workers import Workers

# Where Linux shows that a driver for NVIDIA's GPUs is loaded.
_NVIDIA_DRIVER = Path("/proc/driver/nvidia")


def choose_device(name: str) -> None:
    """Make TensorFlow use one kind of device; to be called before its first operation.

    "auto": GPUs if there are any. "cpu": no GPU. "gpu": required.
    """
    if name not in ("auto", "cpu", "gpu"):
        raise UsageError(f"--device={name}: choose auto, cpu or gpu")
    if name == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif name == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise UsageError(
            "--device=gpu: TensorFlow finds no GPU on this machine; leave it out to train on the "
            "CPU, or see that `nvidia-smi` works and the package is installed with [gpu]"
        )


def on_cpu() -> bool:
    """Return whether this process computes on processors alone."""
    return not tf.config.get_visible_devices("GPU")


def why_no_gpu() -> str:
    """Return why TensorFlow uses no GPU where one could be expected; else an empty text."""
    if tf.config.list_physical_devices("GPU"):
        return ""
    if tf.test.is_built_with_cuda():
        return "TensorFlow finds no GPU (does `nvidia-smi` work?)"
    if _NVIDIA_DRIVER.exists():
        return 'this TensorFlow is for the CPU; for the GPU: pip install "bladerunner_ae[gpu]"'
    return ""


def choose_strategy(name: str) -> tf.distribute.Strategy:
    """Return the strategy called `name` for a process that trains alone.

    "none": one device. "mirrored": all GPUs, or all logical CPUs if there is none. "auto": mirrored
    with two GPUs or more, else none, which is quicker on one.
    """
    if name not in ("auto", "none", "mirrored"):
        raise UsageError(f"--strategy={name}: choose auto, none, mirrored or multi_worker")
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def join(name: str, environment: Mapping[str, str]) -> Workers:
    """Return the strategy called `name`, with this process's place among the workers.

    As `choose_strategy`; "multi_worker", and "auto" where it names several: the workers of
    TF_CONFIG, which wait here for each other. To be called before TensorFlow's first operation.
    """
    cluster = needed_cluster(environment) if name == "multi_worker" else None
    if name == "auto" and (found := cluster_of(environment)) and found.count > 1:
        cluster = found
    if cluster is None or cluster.count == 1:
        return Workers(choose_strategy("auto" if cluster else name))
    check_port(cluster)
    others = [a for i, a in enumerate(cluster.addresses) if i != cluster.index]
    print(
        f"worker {cluster.index} of {cluster.count}, waiting for {', '.join(others)}",
        file=sys.stderr,
    )
    with signals.left_to_native_code():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Workers(strategy, cluster)


def choose_precision(name: str) -> str:
    """Resolve "auto": bfloat16 if the hardware has it, else float32.

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
