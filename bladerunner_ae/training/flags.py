"""The flags of `python -m bladerunner_ae.train`."""

import os
from collections.abc import Sequence

from absl import flags

from bladerunner_ae.runs import presets
from bladerunner_ae.training import flags as train_flags
from tfrecords.mixture import BALANCES
from tfrecords.storage import is_remote

TRAIN_FLAGS = ("steps", "batch_size", "learning_rate", "discriminator_learning_rate", "seed",
                "clip_norm", "augment", "ema", "steps_per_execution", "jit", "watchdog",
                "checkpoint_every", "sample_every", "log_every", "evaluate_every",
                "profile_steps")  # fmt: skip
_OBJECTIVES = "dream, vae, vae_gan, patch_gan, broad2016"
MODEL_FLAGS = ("resize", "latent", "latent_size", "latent_channels", "linear_path",
               "refinement_blocks")  # fmt: skip
WEIGHT_FLAGS = {
    "kl_weight": "Weight of the KL divergence averaged over latent numbers.",
    "noise": "Posterior sample's standard deviation, in units of the posterior's own.",
    "gamma": "Weight of the learned similarity in the decoder's loss.",
    "pixel_weight": "Weight of the squared pixel error beside the features.",
    "adversarial_weight": "Weight of the adversarial term in the decoder's loss; above 0, "
    "dream has an adversary too.",
    "adversarial_start": "Part of the run after which the adversary comes in (dream).",
    "adversarial_ramp": "Part of the run over which its weight rises then (dream).",
    "feature_weight": "Weight of the learned similarity, once the adversary is there (dream).",
    "band_weight": "Weight of the error in each octave of detail (dream).",
    "kl_warmup": "Part of the run over which the KL weight rises from 0 (dream).",
    "free_bits": "Nats of each latent number that cost nothing (dream).",
    "r1_weight": "Weight of the penalty on the discriminator's slope (dream).",
    "gan_scale": "Scale of the discriminator's cross-entropies (broad2016).",
}


def define_flags() -> None:
    """Defines the command's flags. Those left out take the preset's value."""
    text, whole, number = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float
    flags.DEFINE_multi_string("data", None, "Folder of a film's records (DATA/<film>); may be "
                              "repeated.", required=True)  # fmt: skip
    flags.DEFINE_list("data_weights", [], "How often a frame of each --data is seen, relatively.")
    flags.DEFINE_enum(
        "balance",
        "none",
        BALANCES,
        "shots: see the frames of a shot of N frames in "
        "proportion to 1 / sqrt(N), so that long shots do not drown the rest.",
    )
    whole("cache_limit", 2048, "MiB of records up to which they are kept in memory.", lower_bound=0)
    text("data_service", "", "grpc://HOST:PORT of a tf.data service that reads and decodes.")
    text("model_dir", None, "Run folder; made if need be, gone on with if it exists.",
         required=True)  # fmt: skip
    text("preset", "preview", f"Starting point: {', '.join(presets.PRESETS)}.")
    text("objective", None, f"Who learns from what: {_OBJECTIVES}. Default: the preset's.")
    text("resize", None, "How the decoder doubles a map: transposed (convolution), or upsample: "
         "nearest pixel, then a convolution, which makes no checkerboards.")  # fmt: skip
    text("latent", None, "vector, or spatial: a small grid that keeps more of a frame, in more "
         "numbers.")  # fmt: skip
    whole("latent_size", None, "Numbers that a frame is remembered by; fewer make hazier dreams.")
    whole("latent_channels", None, "Numbers in each place of --latent=spatial. Default: 4.")
    flags.DEFINE_bool("linear_path", None, "Put a linear autoencoder, the film's principal "
                      "components, beside the convolutions.")  # fmt: skip
    whole("refinement_blocks", None, "Residual blocks that see what the linear path draws and mend "
          "it; 0: the convolutions only add to it.")  # fmt: skip
    number("holdout", 0.0, "Fraction of the film to keep from training, in whole shots.")
    number("holdout_seconds", 0.0, "Hold out runs of this length instead of whole shots.")
    text("strategy", "auto", "none (one device), mirrored (all GPUs of this machine), multi_worker "
         "(all workers of TF_CONFIG), or auto, which looks.")  # fmt: skip
    text("device", "auto", "auto, cpu or gpu (refuse to start without one).")
    text("precision", "auto", "auto, float32 or mixed_bfloat16.")
    whole("steps", None, "Optimizer steps in all.")
    whole("batch_size", None, "Frames in a step, over all devices.")
    number("learning_rate", None, "Peak learning rate.")
    number("discriminator_learning_rate", None, "The discriminator's own peak learning rate.")
    number("clip_norm", None, "Longest gradient of a player; longer ones are shortened. 0: never.")
    number("augment", None, "Part of the frames shown as a moving camera might have: nearer, to "
           "one side, mirrored. It helps with frames that are never seen. Not by default for films "
           "of fewer frames than two for each latent number.")  # fmt: skip
    number("ema", None, "Decay of averages of the weights, such as 0.999, that samples, evaluation "
           "and export use. 0: none.")  # fmt: skip
    whole("steps_per_execution", None, "Steps taken in one go, without Python between them; on one "
          "device. Weights stay the same.")  # fmt: skip
    text("jit", None, "XLA: on, off, or auto (on for one GPU).")
    text("watchdog", None, "About training that goes wrong: warn, act (halve the adversarial "
         "weight when the discriminator has won), stop (with a checkpoint), off.")  # fmt: skip
    text("fine_tune_from", None, "Run folder whose newest weights to begin with.")
    flags.DEFINE_bool("refit_linear_path", None, "With --fine_tune_from: fit the linear path to "
                      "this film, which is the default where there is one; "
                      "--norefit_linear_path keeps the other film's.")  # fmt: skip
    whole("seed", None, "Seed of weights, data order and noise.")
    whole("checkpoint_every", None, "Steps between checkpoints.")
    whole("sample_every", None, "Steps between sample pictures.")
    whole("log_every", None, "Steps between log lines.")
    whole("evaluate_every", None, "Steps between measurements on held out and seen frames, into "
          "log.txt, metrics.jsonl and TensorBoard, with prior.png. 0: none.")  # fmt: skip
    text("profile_steps", None, "a,b: take a profile of steps a to b for TensorBoard, once.")
    for name, help_text in WEIGHT_FLAGS.items():
        number(name, None, help_text)
    flags.DEFINE_bool(
        "overwrite",
        False,
        "Start over in place of the run folder's earlier run, which is "
        "deleted once this one has a checkpoint. Other files stay.",
    )
    flags.DEFINE_bool("report", True, "At the end write RUN/report.html, the film's memory.")
    text("spool_dir", None, "Where copies of remote records and the work on a remote run lie. "
         "Default: in the user's cache.")  # fmt: skip
    flags.DEFINE_bool("dry_run", False, "Say what would be trained, and stop.")


_FOLDERS = ("data", "model_dir", "fine_tune_from")
# What a start was asked for, not a run: read from a file, the first would delete what it is to
# go on with.
_NOT_THE_RUN_S = ("overwrite", "dry_run", "spool_dir")


def given_flags(values: flags.FlagValues) -> str:
    """Returns the training flags that a person gave, as the text of a flagfile.

    Flagfiles among them are gone through, so that the text needs none of them. Folders are named
    from the root on, so that it can be used from anywhere.

    Args:
        values: parsed, with the flags of `train_flags`.

    Returns:
        A flag a line. Nothing is quoted, for absl reads every line as it stands. What no line can
        hold, such as a line break, is named in a comment.
    """
    lines = []
    for flag in values.get_flags_for_module(train_flags):
        if flag.present and flag.name not in _NOT_THE_RUN_S:
            if flag.name in _FOLDERS:
                folders = flag.value if isinstance(flag.value, list) else [flag.value]
                lines += [_line(flag.name, f"--{flag.name}={_rooted(f)}") for f in folders]
            else:
                lines.append(_line(flag.name, flag.serialize()))
    return "".join(f"{line}\n" for line in lines)


def flagfiles(arguments: Sequence[str]) -> list[str]:
    """Returns the flagfiles named on a command line."""
    found = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = argument.partition("=")
        if name in ("--flagfile", "-flagfile"):
            found.append(value if given else following)
    return [os.path.expanduser(file) for file in found if file]


def _rooted(folder: str) -> str:
    """Returns a folder's path from the root on, ending in nothing that absl would strip off."""
    if not folder or is_remote(folder):
        return folder
    rooted = os.path.join(os.getcwd(), folder)
    if not _is_text(rooted):  # whoever stands in a folder of such a name can still go on from there
        rooted = folder
    return f"{rooted}/" if rooted != rooted.rstrip() else rooted


def _line(name: str, line: str) -> str:
    if "\n" in line or "\r" in line or not _is_text(line):
        return f"# --{name} holds what a flagfile cannot; give it beside this file"
    return line


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8, which names of files need not be."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
