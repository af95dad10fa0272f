"""What a run is made of, as frozen dataclasses: JSON round trip, comparison.

Flags become these values in `main` and nowhere else; nothing below ever sees a flag.
"""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bladerunner_ae.errors import InputError, UsageError

Config = TypeVar("Config")
REFINED_AT = 4
"""The decoder's map that sees the linear path's picture has this part of its height and width."""

_LARGEST = 2**53
_LATENT_SIZE, _LATENT_CHANNELS = 200, 4
_CHOICES = {
    "resize": ("transposed", "upsample"),
    "latent": ("vector", "spatial"),
    "precision": ("float32", "mixed_bfloat16"),
    "jit": ("auto", "on", "off"),
    "watchdog": ("warn", "act", "stop", "off"),
}


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the three networks.

    Attributes:
        height, width: the raster in pixels; each a multiple of 2 ** len(filters).
        latent_size: numbers a frame is remembered by; 0: 200 as a vector, and as a grid what its
            places and channels come to. A grid allows no other.
        filters: channels of the encoder's strided convolutions, outermost first; the decoder
            mirrors them.
        kernel_size: of the strided and transposed convolutions. 4 divides the stride and so
            leaves no checkerboard; 5 is the original's.
        activation: of encoder and decoder, a Keras name.
        normalization: "none" or "group". Never "batch": a frame's output must depend on that
            frame alone, and a film's scenes are too unlike for one set of statistics.
        residual_blocks: at the smallest resolution, in encoder and decoder.
        bottleneck_channels: a 1x1 convolution to this many channels before the dense layers,
            0 for none. Dense layers over wide maps dominate a small model's optimizer time.
        linear_path: adds a linear autoencoder beside the convolutions: the film's principal
            components, fitted before training and kept (`training/fit_linear_path.py`).
        linear_pool: pixels, in each direction, that the linear path takes as one. 1 keeps all that
            the components can; each doubling has a quarter of the weights.
        refinement_blocks: residual blocks in the decoder that also see the linear path's picture,
            at a quarter of its height and width; 0: the convolutions add to it unseen.
        initial_log_var: bias that the log-variance head starts from.
        discriminator_filters: channels of the discriminator's strided convolutions.
        resize: how the decoder doubles a map: "transposed" convolution, or "upsample": the nearest
            pixel followed by a 3x3 convolution, which cannot make checkerboards (Odena et al.
            2016, doi:10.23915/distill.00003).
        latent: "vector": dense layers make a frame one vector of numbers that know of no place.
            "spatial": a grid of the size of the smallest map, each place of which remembers what
            was there, which keeps more of a frame with fewer weights. Outside the networks it is
            a vector too, the grid row by row.
        latent_channels: numbers in each place of a spatial latent; 0: 4, and none in a vector.
    """

    height: int
    width: int
    latent_size: int = 0
    filters: tuple[int, ...] = (80, 160, 320, 640)
    kernel_size: int = 5
    activation: str = "leaky_relu"
    normalization: str = "group"
    residual_blocks: int = 0
    bottleneck_channels: int = 0
    linear_path: bool = False
    initial_log_var: float = 0.0
    discriminator_filters: tuple[int, ...] = (80, 160, 320, 640)
    resize: str = "transposed"
    latent: str = "vector"
    latent_channels: int = 0
    linear_pool: int = 2
    refinement_blocks: int = 0

    def __post_init__(self) -> None:
        _check_choices(self)
        divisor = 2 ** max(len(self.filters), len(self.discriminator_filters))
        if self.height % divisor or self.width % divisor or min(self.height, self.width) < 1:
            raise InputError(
                f"frames of {self.height}x{self.width} do not fit {len(self.filters)} halvings: "
                f"convert the film again with --multiple={divisor}, or give --height and --width "
                f"as multiples of {divisor}"
            )
        if self.linear_pool < 1 or 2 ** len(self.filters) % self.linear_pool:
            raise UsageError(
                f"linear_pool must be a power of 2 up to {2 ** len(self.filters)}, not "
                f"{self.linear_pool}"
            )
        self._settle_refinement()
        if not math.isfinite(self.initial_log_var):
            raise UsageError(f"initial_log_var must be finite, not {self.initial_log_var:g}")
        if self.latent == "spatial":
            self._settle_grid()
        elif self.latent_channels:
            raise UsageError(
                f"--latent_channels={self.latent_channels} belongs to --latent=spatial"
            )
        elif not self.latent_size:
            object.__setattr__(self, "latent_size", _LATENT_SIZE)
        if self.latent_size < 1:
            raise UsageError(f"latent_size must be at least 1, not {self.latent_size}")

    def _settle_refinement(self) -> None:
        if self.refinement_blocks < 0:
            raise UsageError(
                f"--refinement_blocks must be 0 or above, not {self.refinement_blocks}"
            )
        if not self.linear_path:  # then there is nothing to see
            object.__setattr__(self, "refinement_blocks", 0)
        if self.refinement_blocks and 2 ** len(self.filters) < REFINED_AT:
            raise UsageError(
                f"--refinement_blocks={self.refinement_blocks} needs at least two halvings"
            )

    def _settle_grid(self) -> None:
        if self.latent_channels < 0:
            raise UsageError(f"--latent_channels must be at least 1, not {self.latent_channels}")
        object.__setattr__(self, "latent_channels", self.latent_channels or _LATENT_CHANNELS)
        height, width = self.smallest
        size = height * width * self.latent_channels
        if self.latent_size not in (0, size):
            raise UsageError(
                f"--latent=spatial: a grid of {height}x{width}x{self.latent_channels} has "
                f"latent_size {size}, not {self.latent_size}; leave latent_size out"
            )
        object.__setattr__(self, "latent_size", size)

    @property
    def smallest(self) -> tuple[int, int]:
        """(height, width) of the smallest map."""
        divisor = 2 ** len(self.filters)
        return self.height // divisor, self.width // divisor


def _check_choices(config: Any) -> None:
    for name in _CHOICES.keys() & {field.name for field in dataclasses.fields(config)}:
        if getattr(config, name) not in _CHOICES[name]:
            raise UsageError(f"--{name}={getattr(config, name)}: choose {_either(_CHOICES[name])}")


@dataclass(frozen=True)
class TrainConfig:
    """How a run learns.

    Attributes:
        steps: optimizer steps in all.
        batch_size: frames in one step over all replicas.
        learning_rate: peak of the schedule (linear warm-up, then cosine decay to a hundredth).
        discriminator_learning_rate: the discriminator's own peak; None: the others'.
        warmup_steps: length of the warm-up.
        constant_learning_rate: keep the peak after the warm-up instead of decaying.
        beta_1, beta_2: Adam's moment decays.
        precision: "float32" or "mixed_bfloat16".
        seed: of weights, data order and noise.
        clip_norm: longest gradient of a player, measured over all of its variables after the
            replicas' sum; longer ones are shortened to it. 0: never.
        augment: part of the frames that are shown as a moving camera might have
            (`training/augmentation.py`), chosen anew in every step; 0: none.
        ema: decay of the averages of encoder's and decoder's weights that samples, evaluation and
            export use (`training/weight_averages.py`); 0: none are kept.
        steps_per_execution: steps between two looks of Python at the run; the weights are the same.
        jit: XLA compiles the step: "on", "off", "auto" (on one GPU, where it is quicker).
        watchdog: what is done about training that goes wrong (`training/watchdog.py`): "warn",
            "act" (also lower the adversarial weight), "stop", "off".
        checkpoint_every, sample_every, log_every: steps between checkpoints, sample pictures and
            log lines.
        evaluate_every: steps between measurements on held out and seen frames
            (`training/monitoring/evaluation.py`); 0: none.
        profile_steps: "a,b": steps, counted from 1, that a profile is taken of; "": none.
    """

    steps: int
    batch_size: int
    learning_rate: float = 2e-4
    warmup_steps: int = 0
    constant_learning_rate: bool = False
    beta_1: float = 0.5
    beta_2: float = 0.999
    precision: str = "float32"
    seed: int = 0
    discriminator_learning_rate: float | None = None
    clip_norm: float = 0.0
    augment: float = 0.0
    ema: float = 0.0
    steps_per_execution: int = 1
    jit: str = "auto"
    watchdog: str = "warn"
    checkpoint_every: int = 500
    sample_every: int = 500
    log_every: int = 20
    evaluate_every: int = 0
    profile_steps: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "sample_every", "log_every",
                     "steps_per_execution"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.evaluate_every < 0:
            raise UsageError(
                f"--evaluate_every must be 0 (never) or above, not {self.evaluate_every}"
            )
        for name in ("learning_rate", "discriminator_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0.0 < rate < math.inf:
                raise UsageError(f"--{name} must be above 0 and finite, not {rate:g}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed must be from 0 to {2**32 - 1}, not {self.seed}")
        if not 0.0 <= self.clip_norm < math.inf:
            raise UsageError(
                f"--clip_norm must be 0 (never) or above and finite, not {self.clip_norm:g}"
            )
        if not 0.0 <= self.augment <= 1.0:
            raise UsageError(f"--augment must be from 0 (none) to 1, not {self.augment:g}")
        if not 0.0 <= self.ema < 1.0:
            raise UsageError(f"--ema must be 0 (none) to below 1, not {self.ema:g}")
        for name in ("beta_1", "beta_2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"{name} must be 0 to below 1, not {getattr(self, name):g}")
        if self.warmup_steps < 0:
            raise UsageError(f"warmup_steps must be 0 or above, not {self.warmup_steps}")
        _check_choices(self)
        self.profiled()

    def profiled(self) -> tuple[int, int] | None:
        """Returns the first and the last step that a profile is taken of; None: no profile."""
        if not self.profile_steps:
            return None
        match = re.fullmatch(r"(\d+),(\d+)", self.profile_steps, re.ASCII)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"--profile_steps={self.profile_steps}: give the first and the last step, such as "
                "--profile_steps=100,105"
            )
        return int(match[1]), int(match[2])


def check_hold_out(fraction: float, seconds: float) -> None:
    """Raises UsageError if no film can be held out so.

    Args:
        fraction: of a film to keep from training.
        seconds: length of the runs that are held out; 0: whole shots.
    """
    if not 0.0 <= fraction < 1.0:
        raise UsageError(f"--holdout={fraction:g}: give a fraction from 0 to below 1")
    if not 0.0 <= seconds < math.inf:
        raise UsageError(f"--holdout_seconds={seconds:g}: give 0 or more seconds")
    if seconds and not fraction:
        raise UsageError(
            f"--holdout_seconds={seconds:g} says how long the runs held out are, --holdout=0.1 how "
            "much of the film; give both"
        )


def _either(choices: tuple[str, ...]) -> str:
    """("a", "b", "c") -> "a, b or c"."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def to_json(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(kind: type[Config], values: Any) -> Config:
    """Build dataclass `kind` from what `to_json` gave.

    Raises:
        InputError: a field is unknown to this version.
        ValueError: a field is missing or holds something else, or `values` is no object.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} is {_short(values)}")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    if unknown := values.keys() - {field.name for field in fields}:
        raise InputError(f"does not fit this version: unknown {', '.join(sorted(unknown))}")
    missing = [
        field.name
        for field in fields
        if field.name not in values
        and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{kind.__name__} has no {', '.join(missing)}")
    return kind(
        **{f.name: _decoded(f.name, values[f.name], f.type) for f in fields if f.name in values}
    )


def _decoded(name: str, value: Any, kind: Any) -> Any:
    """Return a JSON value as a field of type `kind` holds it."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return from_json(kind, value)  # type: ignore[arg-type]
    if origin is types.UnionType:  # of a type and None
        return None if value is None else _decoded(name, value, args[0])
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [args[0]] * len(value) if args[1] is ... else args
        if len(kinds) == len(value):
            return tuple(_decoded(name, item, k) for item, k in zip(value, kinds, strict=True))
    if origin is dict and isinstance(value, dict):
        return {key: _decoded(key, item, args[1]) for key, item in value.items()}
    allowed = {float: (int, float)}.get(kind, (kind,))
    small = not isinstance(value, int) or abs(value) <= _LARGEST
    if kind is Any or (type(value) in allowed and small):
        return value
    raise ValueError(f"{name} is {_short(value)}")


def _short(value: Any) -> str:
    return str(value)[:40]


def differences(ours: Any, theirs: Any, ignore: tuple[str, ...] = ()) -> list[str]:
    """Names the fields in which two values of one dataclass differ: "steps: 900 -> 300"."""
    if type(ours) is not type(theirs):
        return [f"{type(theirs).__name__} -> {type(ours).__name__}"]
    fields = [field.name for field in dataclasses.fields(ours) if field.name not in ignore]
    return [
        f"{name}: {getattr(theirs, name)} -> {getattr(ours, name)}"
        for name in fields
        if getattr(theirs, name) != getattr(ours, name)
    ]
