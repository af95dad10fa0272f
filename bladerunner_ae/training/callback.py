"""What a run shows while it learns: curves, pictures, checkpoints, one status line, alarms."""

import contextlib
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.errors import OutputError
from bladerunner_ae.objectives import mastered
from bladerunner_ae.runs.files import settle
from bladerunner_ae.runs.folder import RunConfig
from bladerunner_ae.training import watchdog
from bladerunner_ae.training.logs import LogFile, fetched, status_line
from bladerunner_ae.training.monitoring import run_pages
from bladerunner_ae.training.monitoring.evaluation import (
    RunEvaluation,
    describe_values,
    latent_sheets,
)
from bladerunner_ae.training.monitoring.event_files import Summaries
from bladerunner_ae.training.monitoring.input_wait import WaitingClock
from bladerunner_ae.training.monitoring.latents import judged, show_latents
from bladerunner_ae.training.monitoring.loss_weights import weights_now
from bladerunner_ae.training.monitoring.picture_queue import Gallery
from bladerunner_ae.training.monitoring.probes import Movement, Probes
from bladerunner_ae.training.monitoring.profile import Profile
from bladerunner_ae.training.monitoring.projector import write_projector
from bladerunner_ae.training.resume import FINISHED
from bladerunner_ae.training.stopping import Preemption
from bladerunner_ae.training.watchdog import LOOK_EVERY, Verdict, Watchdog
from tfrecords import storage
from tfrecords.mixture import FilmPart
from tfrecords.storage import Location

_STATUS_SECONDS = 1.0


class TrainingLog(keras.callbacks.Callback):
    """Writes metrics.jsonl, log.txt, tensorboard/, samples/ and checkpoints/ of a run folder.

    The step's logs stay where they were computed until somebody looks, so that a GPU is not made
    to wait after every step.

    Args:
        config: of the run.
        parts: the films, for the probe frames.
        run: run folder.
        manager: of the run's checkpoints.
        start: steps done before; what an interrupted run logged beyond is dropped.
        preemption: is asked after every step whether the run shall stop.
        clock: knows how long steps wait for data.
        after_checkpoint: is called each time there is a new checkpoint, to send the folder.
    """

    def __init__(
        self,
        config: RunConfig,
        parts: Sequence[FilmPart],
        run: Location,
        manager: tf.train.CheckpointManager,
        start: int,
        preemption: Preemption | None = None,
        clock: WaitingClock | None = None,
        after_checkpoint: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._config, self._run, self._manager, self._start = config, run, manager, start
        self._preemption, self._clock = preemption or Preemption(), clock or WaitingClock()
        self._after_checkpoint = after_checkpoint
        self._parts, self._probes = parts, Probes(parts)
        self._evaluation = RunEvaluation(parts) if config.train.evaluate_every else None
        self._step = self._saved = start
        self._shown: set[str] = set()
        self._unread: list[tuple[int, Mapping[str, Any]]] = []
        self._read_at, self._note = 0.0, ""
        self._ends: Verdict | None = None
        self._open = contextlib.ExitStack()
        storage.make_directories(run / "samples")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        opened = self._open.enter_context
        self._metrics = opened(LogFile(self._run / "metrics.jsonl", self._is_before_start))
        self._text = opened(LogFile(self._run / "log.txt"))
        train, networks = self._config.train, self.model.networks
        self._summaries = opened(
            contextlib.closing(
                Summaries(self._run, self._start, self._after_checkpoint is not None)
            )
        )
        self._gallery = opened(contextlib.closing(Gallery(self._summaries)))
        run_pages.introduce(self._summaries, self._config, networks, self._start)
        self._profile = opened(contextlib.closing(Profile(self._run, train.profiled())))
        self._progress = opened(Progress("train", train.steps, "steps", done=self._start))
        monotony = self._probes.monotony()
        self._watchdog = Watchdog(
            train.steps,
            self.model.state.watchdog.numpy().copy(),
            mastered(self._config.objective),
            monotonous=bool(monotony),
        )
        self._movement = Movement(networks.players())
        self._say(f"training from step {self._start} to {train.steps}")
        if monotony:
            self._announce(monotony)
        self._make_up()
        self._window = (time.monotonic(), self._start)
        self._clock.share()  # from here on

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._profile.before_step(self._step)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._preemption.begin()
        train, before = self._config.train, self._step
        # The last execution may have fewer steps to do.
        self._step = min(before + train.steps_per_execution, train.steps)
        self._unread.append((self._step, logs or {}))
        self._progress.update(self._step - before, self._note)
        self._profile.after_step(self._step)

        def due(every: int) -> bool:
            return self._step // every > before // every or self._step == train.steps

        evaluates = self._evaluation is not None and due(train.evaluate_every)
        looks = due(LOOK_EVERY)
        writes, samples, saves = map(
            due, (train.log_every, train.sample_every, train.checkpoint_every)
        )
        hurries = time.monotonic() - self._read_at > _STATUS_SECONDS
        if looks or writes or samples or saves or hurries:
            values = self._read()
        if looks:
            scale = float(self.model.state.adversarial_scale.numpy())
            self._judge(self._watchdog.look(self._step, values, scale))
        if writes:
            self._write_scalars(values)
        if samples:  # to its end, whatever comes: the watchdog counts what it has seen
            self._sample(values)
        if evaluates or self._step == train.steps:
            with self._preemption.at_once():
                self._evaluate()
        if saves or self._ends:
            self.save()
        if self._ends:
            raise OutputError(
                f"{self._run}: stopped at step {self._step} because {self._ends.wrong}; "
                f"{self._ends.cure}; the same command trains on regardless"
            )
        self._preemption.check()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._step == self._config.train.steps:
            write_projector(self._run, self.model.dreaming.encoder, self._parts)
            run_pages.finish(self._summaries, self._step)
        self._gallery.wait()
        self._say(f"{FINISHED}{self._step}")  # last: `has_finished` looks for it
        self.close()

    def save(self) -> int:
        """Writes a checkpoint of the step reached, if there is none yet.

        Returns:
            The step.

        Raises:
            OutputError: the weights have blown up; the last good checkpoint stays the newest.
        """
        self._step = self.model.steps_done
        if self._step != self._saved:
            if self._unread:
                self._read()
            try:
                self._gallery.wait()
            finally:  # a picture that cannot be written is no reason to lose the weights
                self._synchronise()  # or a run would go on from a step that its logs do not know
                self.model.state.watchdog.assign(self._watchdog.state)
                self._manager.save(checkpoint_number=self._step)
                self._saved = self._step
                settle(self._run)  # an earlier run that waited for this one's first checkpoint
                if self._after_checkpoint is not None:
                    self._after_checkpoint()
        return self._step

    def close(self) -> None:
        """Closes what is open; at any moment, also of an interruption, and again."""
        self._open.close()

    def _read(self) -> dict[str, float]:
        """Fetches the logs that nobody has looked at yet; returns those of the newest step."""
        read = [(step, fetched(logs)) for step, logs in self._unread]
        self._unread, self._read_at = [], time.monotonic()
        if self._config.train.watchdog != "off" and (verdict := watchdog.not_finite(read)):
            self._judge([verdict])
            kept = f"the checkpoint of step {self._saved} is whole" if self._saved else (
                "no checkpoint was written yet")  # fmt: skip
            raise OutputError(f"{self._run}: {verdict.wrong} ({kept}); {verdict.cure}")
        self._note = status_line(read[-1][1])
        return read[-1][1]

    def _judge(self, verdicts: Sequence[Verdict]) -> None:
        """Says what the watchdog has found, and does what `--watchdog` asks for."""
        mode = self._config.train.watchdog
        if mode == "off":
            return
        for verdict in verdicts:
            cure = verdict.cure
            if mode == "act" and verdict.lowers:
                scale = self.model.state.adversarial_scale
                scale.assign(scale * 0.5)
                cure = f"its weight is halved, to {float(scale.numpy()):g} of what was asked"
                self._watchdog.acted(verdict.kind, self._step)
            line = {"step": self._step, "watchdog": verdict.kind, "wrong": verdict.wrong}
            self._metrics.write(json.dumps({**line, "cure": cure}))
            self._announce(f"watchdog: {verdict.wrong}; {cure}")
            if mode == "stop":
                self._ends = self._ends or verdict

    def _write_scalars(self, values: dict[str, float]) -> None:
        now, (then, step) = time.monotonic(), self._window
        self._window = (now, self._step)
        rate = (self._step - step) * self._config.train.batch_size / max(now - then, 1e-9)
        values = {**values, "speed/frames_per_second": rate}
        if (waiting := self._clock.share()) is not None:
            values["speed/waiting_for_data"] = waiting
        for player in self.model.networks.players():
            name = "learning_rate" + "/discriminator" * (player == "discriminator")
            values[name] = float(self.model.optimizer_of(player).learning_rate)
        scale = float(self.model.state.adversarial_scale.numpy())
        if "learning_rate/discriminator" in values:
            values["adversarial_scale"] = scale
        progress = self._step / self._config.train.steps
        self._record({**values, **weights_now(self._config.weights, progress, scale)})

    def _record(self, values: dict[str, float]) -> None:
        rounded = {
            name: float(f"{value:.6g}") if math.isfinite(value) else None  # JSON knows no NaN
            for name, value in values.items()
        }
        self._metrics.write(json.dumps({"step": self._step, **rounded}))
        self._summaries.scalars(values, self._step)

    def _sample(self, logs: Mapping[str, float]) -> None:
        """Reconstructs the probe frames: a picture, PSNR and SSIM, the watchdog's look."""
        networks = self.model.dreaming
        dream = self._probes.dream(networks)
        values = self._probes.scores(dream)
        self._record({**values, **judged(self.model.networks, self._probes, dream)})
        self._say(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        draw = functools.partial(self._probes.sheet, dream)
        file = self._run / "samples" / f"step-{self._step:07d}.png"
        self._gallery.add("original_and_dream", draw, self._step, file)
        show_latents(self._summaries, self._gallery, networks, self._probes, dream, self._step)
        if self._step > self._start:
            facts = self._probes.facts(dream, self._movement.distances())
            self._judge(self._watchdog.look_at_sample(self._step, facts, logs))

    def _make_up(self) -> None:
        """Shows what there is of the start, or what a signal has kept from being shown there."""
        train, start, every = self._config.train, self._start, self._config.train.evaluate_every
        ended, before = start == train.steps, max(start - train.steps_per_execution, 0)
        if start == 0 or (ended and not self._is_shown("probe/")):
            self._sample({})
        missed = every and start // every > before // every and not self._is_shown("evaluate/")
        if ended or missed:
            self._evaluate()

    def _is_shown(self, prefix: str) -> bool:
        """Whether this is the step gone on from, and metrics.jsonl had such figures of it."""
        return self._step == self._start and any(name.startswith(prefix) for name in self._shown)

    def _evaluate(self) -> None:
        """Measures the run, if it was asked for, and shows what its latent space holds."""
        networks = self.model.dreaming
        if self._evaluation is not None and not self._is_shown("evaluate/"):
            values = self._evaluation.measure(networks)
            self._record(values)
            self._say(describe_values(values))
        for name, draw in latent_sheets(networks, self._probes, self._evaluation).items():
            self._gallery.add(name.removesuffix(".png"), draw, self._step, self._run / name)

    def _announce(self, text: str) -> None:
        """Says something that a person must not miss."""
        self._say(text)
        tqdm.write(f"step {self._step}: {text}", file=sys.stderr)

    def _say(self, text: str) -> None:
        self._text.write(time.strftime("%Y-%m-%d %H:%M:%S ") + f"step {self._step}: {text}")

    def _synchronise(self) -> None:
        """Brings remote logs up to date; local ones always are."""
        self._metrics.synchronise()
        self._text.synchronise()
        self._summaries.synchronise()

    def _is_before_start(self, line: str) -> bool:
        """Whether a line of metrics.jsonl stays: not beyond the start, and not half written."""
        try:
            names = json.loads(line)
            step = int(names["step"])
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
            print(f"{self._run / 'metrics.jsonl'}: dropped a half-written line", file=sys.stderr)
            return False
        if step == self._start:
            self._shown |= set(names)
        return self._start > 0 and step <= self._start
