"""What a run shows while it learns: curves, pictures, checkpoints, one status line."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bladerunner_ae import data, metrics, pixels
from bladerunner_ae.contact_sheet import make_contact_sheet, spread_frames
from bladerunner_ae.log_file import LogFile
from bladerunner_ae.progress import Progress
from bladerunner_ae.run_folder import RunConfig
from tfrecords import storage
from tfrecords.mixture import FilmPart
from tfrecords.storage import Location

_PROBES = 8


class TrainingLog(keras.callbacks.Callback):
    """Writes metrics.jsonl, log.txt, tensorboard/, samples/ and checkpoints/ of a run folder.

    Args:
        config: of the run.
        parts: the films, for the probe frames: as many of each of the first eight.
        run: run folder.
        manager: of the run's checkpoints.
        start: steps done before; what an interrupted run logged beyond is dropped.
    """

    def __init__(
        self,
        config: RunConfig,
        parts: Sequence[FilmPart],
        run: Location,
        manager: tf.train.CheckpointManager,
        start: int,
    ) -> None:
        super().__init__()
        self._config, self._run, self._manager, self._start = config, run, manager, start
        probes, self._names = [], []
        for part in parts[:_PROBES]:
            card = part.card
            frames = spread_frames(card.shots(), card.frames, max(_PROBES // len(parts), 1))
            images = data.read_images(part.directory, card, frames)
            probes.append((images, ~part.kept()[frames]))
            film = f"{card.source['name']}, " if len(parts) > 1 else ""
            self._names += [f"{film}frame {frame}" for frame in frames]
        self._originals, self._held = (
            np.concatenate(values) for values in zip(*probes, strict=True)
        )
        self._open = contextlib.ExitStack()
        storage.make_directories(run / "samples")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step = self._start
        opened = self._open.enter_context
        self._metrics = opened(LogFile(self._run / "metrics.jsonl", self._is_before_start))
        self._text = opened(LogFile(self._run / "log.txt"))
        self._open_summaries()
        self._open.callback(lambda: self._summaries.close())
        train = self._config.train
        self._progress = opened(Progress("train", train.steps, "steps", done=self._start))
        self._window = (time.monotonic(), self._start)
        self._say(f"training from step {self._start} to {train.steps}")
        if self._start == 0:
            self._sample()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        train = self._config.train
        last = self._step == train.steps
        values = {name: float(value) for name, value in (logs or {}).items()}
        self._progress.update(1, f"loss {values.get('loss/decoder', float('nan')):.4g}")
        if self._step % train.log_every == 0 or last:
            self._write_scalars(values)
        if self._step % train.sample_every == 0 or last:
            self._sample()
        if self._step % train.checkpoint_every == 0 or last:
            # First, so that no run goes on from a step that its logs do not know of.
            self._synchronise()
            self._manager.save(checkpoint_number=self._step)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._say(f"finished step {self._step}")
        self.close()

    def close(self) -> None:
        """Closes what is open; at any moment, also of an interruption, and again."""
        self._open.close()

    def _write_scalars(self, values: dict[str, float]) -> None:
        now, (then, step) = time.monotonic(), self._window
        self._window = (now, self._step)
        rate = (self._step - step) * self._config.train.batch_size / max(now - then, 1e-9)
        optimizer = self.model.optimizer_of("decoder")
        values = {
            **values,
            "learning_rate": float(optimizer.learning_rate),
            "frames_per_second": rate,
        }
        self._record(values)

    def _record(self, values: dict[str, float]) -> None:
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self._metrics.write(json.dumps({"step": self._step, **rounded}))
        with self._summaries.as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        if isinstance(self._run, Path):
            self._summaries.flush()

    def _sample(self) -> None:
        """Reconstructs the probe frames: a picture, and their PSNR and SSIM by seen and held."""
        networks = self.model.networks
        mean, _ = networks.encoder(pixels.to_float(self._originals), training=False)
        dreams = pixels.to_pixels(networks.decoder(mean, training=False))
        psnr = metrics.psnr(self._originals, dreams).numpy()
        ssim = metrics.ssim(self._originals, dreams).numpy()
        values: dict[str, float] = {}
        for label, chosen in (("seen", ~self._held), ("held_out", self._held)):
            if chosen.any():
                values[f"probe/psnr_{label}"] = float(psnr[chosen].mean())
                values[f"probe/ssim_{label}"] = float(ssim[chosen].mean())
        self._record(values)
        self._say(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        labels = ["held out" if held else "seen" for held in self._held]
        captions = [f"{name}, {label}" for name, label in zip(self._names, labels, strict=True)]
        sheet = make_contact_sheet(
            list(zip(self._originals, dreams.numpy(), captions, strict=True)), columns=2
        )
        png = io.BytesIO()
        sheet.save(png, "PNG")
        storage.write_bytes(self._run / "samples" / f"step-{self._step:07d}.png", png.getvalue())
        with self._summaries.as_default(step=self._step):
            tf.summary.image("original_and_dream", np.asarray(sheet.convert("RGB"))[None])

    def _say(self, text: str) -> None:
        self._text.write(time.strftime("%Y-%m-%d %H:%M:%S ") + f"step {self._step}: {text}")

    def _open_summaries(self) -> None:
        self._summaries = tf.summary.create_file_writer(str(self._run / "tensorboard"))

    def _synchronise(self) -> None:
        """Brings remote logs up to date; local ones always are."""
        self._metrics.synchronise()
        self._text.synchronise()
        if not isinstance(self._run, Path):
            # An events file that grows would be sent whole at every flush: begin another.
            self._summaries.close()
            self._open_summaries()

    def _is_before_start(self, line: str) -> bool:
        """Whether a line of metrics.jsonl stays: not beyond the start, and not half written."""
        try:
            step = int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            print(f"{self._run / 'metrics.jsonl'}: dropped a half-written line", file=sys.stderr)
            return False
        return self._start > 0 and step <= self._start
