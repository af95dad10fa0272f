"""Named starting points of a run: networks, objective, length."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bladerunner_ae.errors import UsageError


@dataclass(frozen=True)
class Preset:
    """A named starting point: networks, training and the raster they are meant for.

    Attributes:
        pixels: that a frame should have, approximately.
        multiple: that height and width must be multiples of.
        objective: name in `objectives.REGISTRY`.
        model, train: arguments of `ModelConfig`, besides height and width, and of `TrainConfig`,
            besides its length.
        epochs: passes over the seen frames that a run takes by default.
        least_steps: that it takes even of a short film.
        most_cpu_minutes: that it takes at most of a long film without a GPU; None: no bound.
        run_bytes: approximate size of a finished run folder.
    """

    pixels: int
    multiple: int
    objective: str
    model: Mapping[str, Any]
    train: Mapping[str, Any]
    epochs: float
    least_steps: int
    run_bytes: int
    description: str
    most_cpu_minutes: float | None = None


MANY_FRAMES = 168_480
"""Frames of a film of 117 minutes at 24 a second."""

# The paper's networks as they are, beside a memory at 72x128 that they enlarge and correct.
_WITH_MEMORY = {
    "linear_path": True,
    "memory": 0.5,
    "refinement_blocks": 1,
    "initial_log_var": -4.0,
}

PRESETS: dict[str, Preset] = {
    "preview": Preset(
        pixels=72 * 128,
        multiple=8,
        objective="dream",
        model={
            "filters": (24, 48, 96),
            "kernel_size": 4,
            "activation": "silu",
            "normalization": "none",
            "residual_blocks": 1,
            "bottleneck_channels": 32,
            "linear_path": True,
            "memory": 0.5,
            "linear_pool": 1,
            "refinement_blocks": 3,
            "initial_log_var": -4.0,
            "discriminator_filters": (24, 48, 96),
        },
        train={
            "batch_size": 32,
            "learning_rate": 1e-3,
            "warmup_steps": 100,
            "beta_1": 0.9,
            "beta_2": 0.99,
            "augment": 0.25,
            "checkpoint_every": 250,
            "sample_every": 100,
        },
        epochs=3.0,
        least_steps=500,
        # Conversion, evaluation and the dreamt films of two hours take some half an hour more.
        most_cpu_minutes=38.0,
        # Three checkpoints of 85 MB, the best weights until each, of 55 MB, exports of 110 MB.
        run_bytes=600_000_000,
        description="72x128, minutes on two CPU cores",
    ),
    "base": Preset(
        pixels=144 * 256,
        multiple=16,
        objective="vae_gan",
        model={**_WITH_MEMORY, "linear_pool": 2},
        train={"batch_size": 12, "checkpoint_every": 1000, "sample_every": 1000},
        epochs=6.0,  # the paper's
        least_steps=5000,
        # Three checkpoints with weights and two moments in float32, 0.9 GB each, the best weights
        # until each, 0.25 GB; exports, 0.5 GB.
        run_bytes=5_500_000_000,
        description="144x256, the paper's widths, 75.7 M parameters, for a GPU",
    ),
    "large": Preset(
        pixels=288 * 512,
        multiple=32,
        objective="vae_gan",
        model={
            "filters": (40, 80, 160, 320, 640),
            "discriminator_filters": (40, 80, 160, 320, 640),
            **_WITH_MEMORY,
            "linear_pool": 4,
        },
        train={"batch_size": 12, "checkpoint_every": 1000, "sample_every": 1000},
        epochs=6.0,  # the paper's
        least_steps=5000,
        run_bytes=5_500_000_000,
        description="288x512, twice the raster of base, for a large GPU",
    ),
}


def preset(name: str) -> Preset:
    """Return the preset called `name`; raise a `UsageError` that lists all if there is none."""
    if name not in PRESETS:
        raise UsageError(f"--preset={name}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
