"""Configuration of networks and training, as frozen dataclasses."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.runs.fields import check, option

LENGTHS = ("steps", "epochs", "minutes")
"""Ways to say how long a run is."""

REFINED_AT = 4
"""The decoder's map that sees the linear path's picture has this part of its height and width."""

_LATENT_SIZE, _LATENT_CHANNELS = 200, 4

CODE_NUMBERS = 32
"""Numbers of a frame's latent that name its key moment (`model/memory_codes.py`)."""

MEMORY_FIELDS = ("memory", "moments", "components")
"""Fields of `ModelConfig` that a memory's size depends on."""

MOST_MOMENTS = 1000
_FRAMES_A_MOMENT = 60
# More components for a longer film: frames, and components that know them.
_COMPONENTS, _LONG, _COMPONENTS_IF_LONG = 2048, 40_000, 3072
_LOCAL_SHARE = 0.25
_FEWEST_NUMBERS = 64


@dataclass(frozen=True)
class ModelConfig:
    """Shape of the three networks.

    Attributes:
        height, width: the raster in pixels; each a multiple of 2 ** len(filters).
        latent_size: numbers a frame is remembered by; 0: decided by `resolve`.
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
        linear_path: adds a linear autoencoder: the film's principal components, fitted before
            training and kept (`training/fit_linear_path.py`).
        memory, moments, components: what the linear path knows beyond as many components as there
            are latent numbers; after `sized`, moments is 0 where it knows no more
            (`model/memory.py`).
        initial_log_var: bias that the log-variance head starts from.
        discriminator_filters: channels of the discriminator's strided convolutions.
        resize: the 3x3 convolution of "upsample" cannot make checkerboards (Odena et al. 2016,
            doi:10.23915/distill.00003).
        latent: "vector": dense layers make a frame one vector, whose numbers have no place.
            "spatial": each place of a grid of the size of the smallest map remembers what was
            there; fewer weights. Outside the networks it is a vector too, the grid row by row.
        latent_channels: numbers in each place of a spatial latent; 0: decided by `resolve`.
        linear_pool: pixels, in each direction, that the linear path takes as one. 1 keeps all that
            the components can; each doubling has a quarter of the weights.
        refinement_blocks: residual blocks in the decoder that also see the linear path's picture,
            at a quarter of its height and width; 0: the convolutions add to it unseen.
    """

    height: int
    width: int
    latent_size: int = option(
        0,
        "Numbers that a frame is remembered by; fewer make hazier dreams. Default: 200; of a "
        "spatial latent what its places and channels come to.",
        "network",
        least=0,
        allowed="1 or more",
    )
    filters: tuple[int, ...] = (80, 160, 320, 640)
    kernel_size: int = 5
    activation: str = "leaky_relu"
    normalization: str = "group"
    residual_blocks: int = 0
    bottleneck_channels: int = 0
    linear_path: bool = option(
        False,
        "Add a linear autoencoder, the film's principal components, to the convolutions.",
        "network",
    )
    memory: float = option(
        0.0,
        "How much of the film the networks know before training: 0, its principal components as "
        "many as a frame has numbers, to 1, all that they can. Decides --moments and --components.",
        "network",
        least=0.0,
        most=1.0,
        allowed="0 to 1",
    )
    moments: int = option(
        0,
        "Key moments of the memory. Default: with --memory=1 one for 60 frames.",
        "network",
        least=0,
        most=MOST_MOMENTS,
        allowed=f"0 (as --memory says) to {MOST_MOMENTS}",
    )
    components: int = option(
        0,
        "Principal components in which the memory is written. Default: with --memory=1 2,048, of a "
        "film of over 40,000 frames 3,072.",
        "network",
        least=0,
        allowed="0 (as --memory says) or more than a frame has numbers",
    )
    initial_log_var: float = option(0.0, above=-math.inf, below=math.inf, allowed="a finite number")
    discriminator_filters: tuple[int, ...] = (80, 160, 320, 640)
    resize: str = option(
        "transposed",
        "How the decoder doubles a map: transposed (convolution), or upsample: nearest pixel, then "
        "a convolution, which makes no checkerboards.",
        "network",
        choices=("transposed", "upsample"),
    )
    latent: str = option(
        "vector",
        "vector, or spatial: a small grid that keeps more of a frame, in more numbers.",
        "network",
        choices=("vector", "spatial"),
    )
    latent_channels: int = option(
        0,
        "Numbers in each place of --latent=spatial. Default: 4.",
        "network",
        least=0,
        allowed="1 or more",
    )
    linear_pool: int = option(2, least=1)
    refinement_blocks: int = option(
        0,
        "Residual blocks that see what the linear path draws and correct it; 0: the convolutions "
        "only add to it.",
        "network",
        least=0,
    )

    def __post_init__(self) -> None:
        check(self)
        divisor = 2 ** max(len(self.filters), len(self.discriminator_filters))
        if self.height % divisor or self.width % divisor or min(self.height, self.width) < 1:
            raise InputError(
                f"frames of {self.height}x{self.width} do not fit {len(self.filters)} halvings: "
                f"convert the film again with --multiple={divisor}, or give --height and --width "
                f"as multiples of {divisor}"
            )
        halved = 2 ** len(self.filters)
        if halved % self.linear_pool:
            raise UsageError(
                f"linear_pool must be a power of 2 up to {halved}, not {self.linear_pool}"
            )
        if self.linear_path and self.refinement_blocks and halved < REFINED_AT:
            raise UsageError(
                f"--refinement_blocks={self.refinement_blocks} needs at least two halvings"
            )
        if self.latent == "vector" and self.latent_channels:
            raise UsageError(
                f"--latent_channels={self.latent_channels} belongs to --latent=spatial"
            )
        if self.latent == "spatial" and self.latent_size not in (0, self._grid_size):
            height, width = self.smallest
            raise UsageError(
                f"--latent=spatial: a grid of {height}x{width}x{self._channels} has "
                f"latent_size {self._grid_size}, not {self.latent_size}; leave latent_size out"
            )

    def resolve(self) -> "ModelConfig":
        """Return this configuration with every size decided that was left open."""
        blocks = self.refinement_blocks if self.linear_path else 0  # else there is nothing to see
        if self.latent == "vector":
            size = self.latent_size or _LATENT_SIZE
            return dataclasses.replace(self, latent_size=size, refinement_blocks=blocks)
        return dataclasses.replace(
            self,
            latent_size=self._grid_size,
            latent_channels=self._channels,
            refinement_blocks=blocks,
        )

    def sized(self, frames: int, asked: bool = True) -> "ModelConfig":
        """Return this configuration, resolved, with the memory's size for a film of `frames`.

        UsageError if a memory was `asked` for that these networks cannot have. A film that its
        components know by heart needs none, and gets none.
        """
        if not (self.moments or self.components or self.memory):
            return self
        if reason := self._why_no_memory():
            if not asked:
                return dataclasses.replace(self, memory=0.0)
            names = [name for name in MEMORY_FIELDS if getattr(self, name)]
            given = " ".join(f"--{name}={getattr(self, name):g}" for name in names)
            raise UsageError(f"{given}: {reason}; leave it out")
        limit = min(frames - 1, self._path_pixels)
        if frames < 2 * self.latent_size or limit <= self.latent_size:
            return dataclasses.replace(self, moments=0, components=0)
        share = self.memory or 1.0
        most = min(_COMPONENTS if frames <= _LONG else _COMPONENTS_IF_LONG, limit)
        components = self.components or round(
            self.latent_size * (most / self.latent_size) ** math.sqrt(share)
        )
        components = max(min(components, limit), self.latent_size + 1)
        moments = self.moments or round(frames / _FRAMES_A_MOMENT * share)
        moments = min(max(moments, 1), MOST_MOMENTS)
        return dataclasses.replace(self, components=components, moments=moments)

    def _why_no_memory(self) -> str:
        if not self.linear_path:
            return "these networks have no linear path, which a memory is a part of"
        if self.latent != "vector":
            return "a latent that is a grid has no memory"
        if self.latent_size < _FEWEST_NUMBERS:
            return f"a memory needs {_FEWEST_NUMBERS} numbers a frame, --latent_size"
        return ""

    @property
    def _path_pixels(self) -> int:
        """Numbers of a picture as the linear path sees it."""
        return self.height * self.width * 3 // self.linear_pool**2

    @property
    def local_numbers(self) -> int:
        """Latent numbers that mean something else in each key moment.

        Few of them leave a moment what stands still in it, and blur what moves.
        """
        return max(round(self.latent_size * _LOCAL_SHARE * (self.memory or 1.0) ** 2), 1)

    def fitted_components(self, frames: int) -> int:
        """Return the components of the film of which the memory's are chosen."""
        most = _COMPONENTS if frames <= _LONG else _COMPONENTS_IF_LONG
        limit = min(frames - 1, self._path_pixels)
        return max(min(2 * self.components, most, limit), self.components)

    @property
    def global_numbers(self) -> int:
        """Latent numbers that are coordinates along the film's first components."""
        return self.latent_size - self.local_numbers - CODE_NUMBERS

    @property
    def memory_bytes(self) -> int:
        """Bytes of the memory's weights, as `model/memory.py` stores them; 0 without moments."""
        if not self.moments:
            return 0
        pixels = self._path_pixels
        rest = self.components - self.global_numbers
        return 4 * self.components * pixels + (self.moments + 1) * rest * (
            2 * self.local_numbers + 4
        )

    @property
    def smallest(self) -> tuple[int, int]:
        """(height, width) of the smallest map."""
        divisor = 2 ** len(self.filters)
        return self.height // divisor, self.width // divisor

    @property
    def _channels(self) -> int:
        return self.latent_channels or _LATENT_CHANNELS

    @property
    def _grid_size(self) -> int:
        return math.prod(self.smallest) * self._channels


@dataclass(frozen=True)
class TrainConfig:
    """Training options of a run; see also the help of the flags below.

    Attributes:
        learning_rate: peak of the schedule (linear warm-up, then cosine decay to a hundredth).
        discriminator_learning_rate: None: as the others'.
        constant_learning_rate: keep the peak after the warm-up instead of decaying.
        beta_1, beta_2: Adam's moment decays.
        clip_norm: longest gradient of a player, measured over all of its variables after the
            replicas' sum; longer ones are shortened to it. 0: never.
        steps: what the length that was asked for has come to; with `minutes` and an empty `length`
            the most, or an estimate.
        epochs, minutes: the length as it was asked for; None: in another way. Both: `epochs`, but
            `minutes` at most.
        length: with `minutes`, (step, steps) in order: from this step on the run was to be so many
            steps long (`training/run_length.py`). The first pair begins at 0.
        augment, ema, watchdog: see the modules of `training`.
        profile_steps: "a,b", counted from 1; "": none.
    """

    steps: int = option(
        help="Optimizer steps in all. Default: by --epochs, a number of the preset's.",
        group="learning",
        least=1,
    )
    batch_size: int = option(help="Frames in a step, over all devices.", group="learning", least=1)
    epochs: float | None = option(
        None,
        "Length of the run in passes over the frames that it sees, in place of --steps.",
        "learning",
        above=0.0,
        below=math.inf,
        allowed="a finite number above 0",
    )
    minutes: float | None = option(
        None,
        "Length of the run in minutes of learning on this machine, in place of --steps.",
        "learning",
        above=0.0,
        below=math.inf,
        allowed="a finite number above 0",
    )
    length: tuple[tuple[int, int], ...] = ()
    learning_rate: float = option(
        2e-4,
        "Peak learning rate.",
        "learning",
        above=0.0,
        below=math.inf,
        allowed="a finite number above 0",
    )
    warmup_steps: int = option(0, least=0)
    constant_learning_rate: bool = False
    beta_1: float = option(0.5, least=0.0, below=1.0, allowed="0 to below 1")
    beta_2: float = option(0.999, least=0.0, below=1.0, allowed="0 to below 1")
    precision: str = option(
        "float32",
        "float32, mixed_bfloat16 or auto (default): mixed_bfloat16 where the hardware has it.",
        "learning",
        choices=("float32", "mixed_bfloat16"),
    )
    seed: int = option(
        0,
        "Seed of weights, data order and noise.",
        "learning",
        least=0,
        below=2**32,
        allowed=f"0 to {2**32 - 1}",
    )
    discriminator_learning_rate: float | None = option(
        None,
        "The discriminator's own peak learning rate.",
        "learning",
        above=0.0,
        below=math.inf,
        allowed="a finite number above 0",
    )
    clip_norm: float = option(
        0.0,
        "Longest gradient of a player; longer ones are shortened. 0: never.",
        "learning",
        least=0.0,
        below=math.inf,
        allowed="a finite number, 0 (never) or above",
    )
    augment: float = option(
        0.0,
        "Part of the frames shown as a moving camera might have: nearer, to one side, mirrored. It "
        "helps with frames that are never seen. Default: none for a film of fewer frames than two "
        "for each latent number.",
        "data",
        least=0.0,
        most=1.0,
        allowed="0 (none) to 1",
    )
    ema: float = option(
        0.0,
        "Decay of averages of the weights, such as 0.999, that samples, evaluation and export use. "
        "0: none.",
        "learning",
        least=0.0,
        below=1.0,
        allowed="0 (none) to below 1",
    )
    steps_per_execution: int = option(
        1,
        "Steps taken at once, without Python between them; on one device. Weights stay the same.",
        "learning",
        least=1,
    )
    jit: str = option(
        "auto", "XLA: on, off, or auto (on for one GPU).", "learning", choices=("auto", "on", "off")
    )
    watchdog: str = option(
        "warn",
        "When training goes wrong: warn, act (halve the adversarial weight when the discriminator "
        "has won), stop (with a checkpoint), off.",
        "watching",
        choices=("warn", "act", "stop", "off"),
    )
    checkpoint_every: int = option(500, "Steps between checkpoints.", "watching", least=1)
    sample_every: int = option(500, "Steps between sample pictures.", "watching", least=1)
    log_every: int = option(20, "Steps between log lines.", "watching", least=1)
    evaluate_every: int = option(
        0,
        "Steps between measurements on held out and seen frames, into log.txt, metrics.jsonl and "
        "TensorBoard, with prior.png. 0: none.",
        "watching",
        least=0,
        allowed="0 (never) or more",
    )
    keep: str = option(
        "best",
        "Weights to export and evaluate: best (of those measured in training, its start included) "
        "or last.",
        "watching",
        choices=("best", "last"),
    )
    profile_steps: str = option(
        "", "a,b: take a profile of steps a to b for TensorBoard, once.", "watching"
    )

    def __post_init__(self) -> None:
        check(self)
        self.profiled()

    def profiled(self) -> tuple[int, int] | None:
        """Return the first and the last step that a profile is taken of; None: no profile."""
        if not self.profile_steps:
            return None
        match = re.fullmatch(r"(\d+),(\d+)", self.profile_steps, re.ASCII)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"--profile_steps={self.profile_steps}: give the first and the last step, such as "
                "--profile_steps=100,105"
            )
        return int(match[1]), int(match[2])


def check_one_length(given: Mapping[str, float | None]) -> None:
    """Check that at most one of "steps", "epochs" and "minutes" is given."""
    asked = [f"--{name}={given[name]:g}" for name in LENGTHS if given.get(name) is not None]
    if len(asked) > 1:
        raise UsageError(f"{' '.join(asked)}: each says how long to train; give one of them")


def check_hold_out(fraction: float, seconds: float) -> None:
    """Check that a fraction can be held out in runs of `seconds`; 0: whole shots."""
    if not 0.0 <= fraction < 1.0:
        raise UsageError(f"--holdout={fraction:g}: give a fraction from 0 to below 1")
    if not 0.0 <= seconds < math.inf:
        raise UsageError(f"--holdout_seconds={seconds:g}: give 0 or more seconds")
    if seconds and not fraction:
        raise UsageError(
            f"--holdout_seconds={seconds:g} says how long the runs held out are, --holdout=0.1 how "
            "much of the film; give both"
        )
