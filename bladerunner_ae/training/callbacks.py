"""Keras callbacks of a run: count steps, watch, show, measure, save, stop.

In the order of `RunWatch.callbacks` a step is counted and judged, then shown, then saved, and only
then does the run answer a signal. A caller may replace or add callbacks there.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from bladerunner_ae.errors import OutputError
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.files import checkpoint_steps, settle
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.best_weights import (
    BestWeights,
    best_step,
    networks_to_show,
    score_of,
)
from bladerunner_ae.training.logs import FINISHED, RunLog, fetched
from bladerunner_ae.training.monitoring import run_pages
from bladerunner_ae.training.monitoring.evaluation import (
    RunEvaluation,
    describe_values,
    latent_sheets,
)
from bladerunner_ae.training.monitoring.input_wait import WaitingClock
from bladerunner_ae.training.monitoring.latents import judged, show_latents
from bladerunner_ae.training.monitoring.probes import Movement, Probes
from bladerunner_ae.training.monitoring.profile import Profile
from bladerunner_ae.training.monitoring.projector import write_projector
from bladerunner_ae.training.monitoring.score_frames import ScoreFrames
from bladerunner_ae.training.run_length import most_steps
from bladerunner_ae.training.stopping import Preemption
from bladerunner_ae.training.time_limit import LearningClock, Pace, steps_now
from bladerunner_ae.training.trainer import Trainer
from bladerunner_ae.training.watchdog import LOOK_EVERY, Verdict, Watchdog, not_finite
from tfrecords.mixture import FilmPart

_STATUS_SECONDS = 1.0
_TERMS = 3

History = Sequence[tuple[int, Mapping[str, float]]]


@dataclass
class Watched:
    """State shared by the callbacks of a run; the log's step is the one just taken.

    Step logs stay where they were computed until needed, so that a GPU does not wait after every
    step.

    Attributes:
        learning: the time that is spent on learning.
        keep_config: called with the configuration when the run's length has changed.
        agree: returns the chief's number, on every worker at the same step.
        best: keeps the best weights; None: somebody else does, or the last ones are wanted.
        pace_is_known: whether steps of this start were timed before.
        checks: called with all logs that are fetched, (step, logs) in order.
        ends: why the run is to be stopped; None: it is not.
    """

    config: RunConfig
    parts: Sequence[FilmPart]
    trainer: Trainer
    log: RunLog
    preemption: Preemption
    clock: WaitingClock
    save: Callable[[int], object]
    probes: Probes
    learning: LearningClock
    keep_config: Callable[[RunConfig], object] = lambda config: None
    agree: Callable[[int], int] = lambda number: number
    best: BestWeights | None = None
    pace_is_known: bool = False
    checks: list[Callable[[History], None]] = field(default_factory=list)
    ends: Verdict | None = None
    _before: int = 0
    _unread: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    _values: dict[str, float] = field(default_factory=dict)
    _read_at: float = 0.0

    def count(self, logs: Mapping[str, Any]) -> None:
        """Note that Keras has taken the next steps, with these logs."""
        train, self._before = self.config.train, self.log.step
        # The last execution may have fewer steps to do.
        step = min(self._before + train.steps_per_execution, self.trainer.length.steps)
        self._unread.append((step, logs))
        self.log.advance(step, _status_line(self._values))
        if time.monotonic() - self._read_at > _STATUS_SECONDS:
            self.values()

    def due(self, every: int) -> bool:
        """Return whether a multiple of `every`, or the last step, has just been reached."""
        step = self.log.step
        return step // every > self._before // every or step == self.trainer.length.steps

    def shown(self) -> Networks:
        """Return the networks that stand for the run at its end: with the weights that are kept."""
        return networks_to_show(self.trainer, self.log.run, self.config.train.keep)[0]

    def values(self) -> dict[str, float]:
        """Return the logs of the newest step, once all that were not fetched yet are checked."""
        if self._unread:
            read = [(step, fetched(logs)) for step, logs in self._unread]
            self._unread, self._read_at = [], time.monotonic()
            for check in self.checks:
                check(read)
            self._values = read[-1][1]
        return self._values


def _status_line(logs: Mapping[str, float]) -> str:
    """Return the decoder's loss and the first few terms as text; empty without logs."""
    if not logs:
        return ""
    terms = [name for name in logs if name.startswith("term/")][:_TERMS]
    shown = {"loss": logs.get("loss/decoder", math.nan), **{n[5:]: logs[n] for n in terms}}
    return ", ".join(f"{name} {value:.4g}" for name, value in shown.items())


class RunWatch:
    """The callbacks of a run, and what comes before its first and after its last step."""

    def __init__(self, run: Watched) -> None:
        self._run = run
        alarms = Alarms(run)
        self._curves, self._samples = Curves(run), Samples(run, alarms)
        self._scores = Scores(run, alarms)
        self._evaluations, self.checkpoints = Evaluations(run), Checkpoints(run, alarms)
        self.callbacks: list[keras.callbacks.Callback] = [
            Steps(run),
            Timing(run, alarms),
            Profile(run.log, run.config.train.profiled()),
            alarms,
            self._curves,
            self._samples,
            self._scores,
            self._evaluations,
            self.checkpoints,
            Stop(run),
        ]

    def begin(self) -> None:
        """Introduce the run, and show its start or what a signal has kept from being shown."""
        run, log, train = self._run, self._run.log, self._run.config.train
        run_pages.introduce(log.summaries, run.config, run.trainer.networks, log.start)
        steps = run.trainer.length.steps
        log.say(f"training from step {log.start} to {steps}")
        if monotony := run.probes.monotony():
            log.announce(monotony)
        ended = log.start == steps
        if log.start == 0 or (ended and not log.has_shown("probe/")):
            self._samples.take({})
        if log.start == 0 and not ended:
            self._scores.take()
        before, every = max(log.start - train.steps_per_execution, 0), train.evaluate_every
        missed = every and log.start // every > before // every and not log.has_shown("evaluate/")
        if ended or missed:
            self._evaluations.take()
        self._curves.restart()

    def finish(self) -> None:
        """Show what the run came to, if it has come to its end, and wait for its pictures."""
        run, log = self._run, self._run.log
        if log.step == run.trainer.length.steps:
            self._scores.say_kept()
            write_projector(log.run, run.shown().encoder, run.parts)
            run_pages.finish(log.summaries, log.step)
        log.pictures.wait()
        run.learning.write()
        log.say(f"all of step {log.step} is shown")
        log.write({FINISHED: True})  # last: `resume.finished_steps` looks for it


class RunCallback(keras.callbacks.Callback):
    """A callback that acts after every step, or after several taken at once."""

    def __init__(self, run: Watched) -> None:
        super().__init__()
        self._run = run

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.after_step(logs or {})

    def after_step(self, logs: Mapping[str, Any]) -> None:
        """Act; for logs with all steps checked see `Watched.values`."""
        raise NotImplementedError


class Steps(RunCallback):
    """Counts steps. From the end of the first one, signals wait for `Stop`."""

    def after_step(self, logs: Mapping[str, Any]) -> None:
        self._run.preemption.begin()
        self._run.count(logs)


class Timing(RunCallback):
    """Keeps the time that was spent on learning, and a run of so many minutes within them."""

    def __init__(self, run: Watched, alarms: "Alarms") -> None:
        super().__init__(run)
        self._alarms, minutes = alarms, run.config.train.minutes
        self._limit = None if minutes is None else minutes * 60.0
        self._most = most_steps(run.config)
        self._pace = Pace(run.trainer.length.steps, run.log.start, run.pace_is_known)

    def after_step(self, logs: Mapping[str, Any]) -> None:
        run = self._run
        run.learning.write(always=False)
        if self._limit is None:
            return
        step, length = run.log.step, run.trainer.length
        if self._pace.is_due(step) and step < length.steps:
            run.values()  # waits for the device
            pace = self._pace.note(step, run.learning.seconds)
            if pace is not None:
                self._keep_in_time(step, pace, self._limit)
        if step >= length.steps:
            self.model.stop_training = True

    def _keep_in_time(self, step: int, pace: float, limit: float) -> None:
        run, length = self._run, self._run.trainer.length
        at_once, before = run.config.train.steps_per_execution, length.steps
        left = limit - run.learning.seconds
        steps = steps_now(step, before, left, pace, limit, at_once)
        if self._most is not None:
            steps = min(steps, max(self._most, before))
        steps = run.agree(steps)
        if steps == before:
            return
        length.change(step, steps)
        run.config = dataclasses.replace(run.config, train=length.config)
        run.keep_config(run.config)
        self._alarms.watchdog.steps = steps
        run.log.expect(steps)
        run.log.record({"length/steps": float(steps), "length/seconds_a_step": pace})
        run.log.announce(
            f"a step takes {pace:.3g} s: the run is to be {steps} steps long instead of {before}, "
            f"to end after {limit / 60:g} minutes of learning"
        )


class Alarms(RunCallback):
    """Reports what the watchdog has found, and does what `--watchdog` asks for."""

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._mode = run.config.train.watchdog
        self.watchdog = Watchdog(
            run.trainer.length.steps,
            run.trainer.state.watchdog.numpy().copy(),
            run.trainer.objective.mastered,
            monotonous=bool(run.probes.monotony()),
        )
        if self._mode != "off":
            run.checks.append(self._check_finite)

    def after_step(self, logs: Mapping[str, Any]) -> None:
        if self._run.due(LOOK_EVERY):
            scale = float(self._run.trainer.state.adversarial_scale.numpy())
            self.judge(self.watchdog.look(self._run.log.step, self._run.values(), scale))

    def judge(self, verdicts: Sequence[Verdict]) -> None:
        log = self._run.log
        for verdict in verdicts if self._mode != "off" else ():
            fix = verdict.fix
            if self._mode == "act" and verdict.lowers:
                scale = self._run.trainer.state.adversarial_scale
                scale.assign(scale * 0.5)
                fix = f"its weight is halved, to {float(scale.numpy()):g} of what was asked"
                self.watchdog.acted(verdict.kind, log.step)
            log.write({"watchdog": verdict.kind, "wrong": verdict.problem, "cure": fix})
            log.announce(f"watchdog: {verdict.problem}; {fix}")
            if self._mode == "stop" and not verdict.late:
                self._run.ends = self._run.ends or verdict

    def _check_finite(self, history: History) -> None:
        if verdict := not_finite(history):
            self.judge([verdict])
            log = self._run.log
            kept = "no checkpoint was written yet"
            if log.saved:
                kept = f"the checkpoint of step {log.saved} is whole"
            raise OutputError(f"{log.run}: {verdict.problem} ({kept}); {verdict.fix}")


class Curves(RunCallback):
    """Writes the step's logs, speed, learning rates and weights every `log_every` steps."""

    def restart(self) -> None:
        """Measure speed and waiting from here on."""
        self._window = (time.monotonic(), self._run.log.step)
        self._run.clock.share()

    def after_step(self, logs: Mapping[str, Any]) -> None:
        run, trainer, train = self._run, self._run.trainer, self._run.config.train
        if not run.due(train.log_every):
            return
        now, (then, before), step = time.monotonic(), self._window, run.log.step
        self._window = (now, step)
        rate = (step - before) * train.batch_size / max(now - then, 1e-9)
        values = {**run.values(), "speed/frames_per_second": rate}
        if (waiting := run.clock.share()) is not None:
            values["speed/waiting_for_data"] = waiting
        for player in trainer.networks.players():
            name = "learning_rate" + "/discriminator" * (player == "discriminator")
            values[name] = float(trainer.optimizer_of(player).learning_rate)
        scale = float(trainer.state.adversarial_scale.numpy())
        if "learning_rate/discriminator" in values:
            values["adversarial_scale"] = scale
        done = trainer.length.done(step)
        run.log.record({**values, **trainer.objective.weights_now(done, scale)})


class Samples(RunCallback):
    """Reconstructs the probe frames: a picture, PSNR and SSIM, facts for the watchdog."""

    def __init__(self, run: Watched, alarms: Alarms) -> None:
        super().__init__(run)
        self._alarms, self._movement = alarms, Movement(run.trainer.networks.players())

    def after_step(self, logs: Mapping[str, Any]) -> None:
        # Whole, even if a signal comes: the watchdog has seen it.
        if self._run.due(self._run.config.train.sample_every):
            self.take(self._run.values())

    def take(self, logs: Mapping[str, float]) -> None:
        log, probes, networks = self._run.log, self._run.probes, self._run.trainer.dreaming
        dream = probes.dream(networks)
        values = probes.scores(dream)
        log.record({**values, **judged(self._run.trainer.networks, probes, dream)})
        log.say(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        file = log.run / "samples" / f"step-{log.step:07d}.png"
        draw = functools.partial(probes.sheet, dream)
        log.pictures.add("original_and_dream", draw, log.step, file)
        show_latents(log.summaries, log.pictures, networks, probes, dream, log.step)
        if log.step > log.start:
            facts = probes.facts(dream, self._movement.distances())
            self._alarms.judge(self._alarms.watchdog.look_at_sample(log.step, facts, logs))


class Scores(RunCallback):
    """Measures a few frames about ten times, by which the best weights are kept.

    Also whenever there is an evaluation. Step 0 is measured too.
    """

    def __init__(self, run: Watched, alarms: Alarms) -> None:
        super().__init__(run)
        self._alarms, self._evaluate_every = alarms, run.config.train.evaluate_every
        self._frames = ScoreFrames(run.parts)

    def after_step(self, logs: Mapping[str, Any]) -> None:
        run = self._run
        steps, batch = run.trainer.length.steps, run.config.train.batch_size
        due = run.due(self._frames.interval(steps, batch))
        if due or (self._evaluate_every and run.due(self._evaluate_every)):
            run.values()  # no weights that have blown up
            self.take()

    def take(self) -> None:
        """Measure the weights of this step, and keep them if they are the best so far."""
        run, log, objective = self._run, self._run.log, self._run.trainer.objective
        # Workers that round otherwise must come to the same verdicts.
        psnr = {
            label: run.agree(round(1e6 * value)) / 1e6
            for label, value in self._frames.psnr(run.trainer.dreaming).items()
        }
        score = objective.score(psnr)
        values = {f"score/psnr_{name.replace(' ', '_')}": value for name, value in psnr.items()}
        values["score/all"] = score
        if run.best is not None:
            run.best.offer(log.step, score, run.trainer.dreaming)
            values["score/weights_of_step"] = float(best_step(log.run, "best", log.step))
        log.record(values)
        ends = log.step == run.trainer.length.steps
        self._alarms.judge(
            self._alarms.watchdog.look_at_psnr(log.step, psnr, objective.allowed_fall, ends)
        )

    def say_kept(self) -> None:
        """Say which step the weights are of, if it is not the last."""
        run, log = self._run, self._run.log
        if run.best is None:
            return
        step = best_step(log.run, run.config.train.keep, log.step)
        if step != log.step:
            log.announce(
                f"the weights of step {step} are the best that were measured "
                f"({score_of(log.run, step):.2f} dB) and are the ones exported; "
                "--keep=last exports those of the last step"
            )


class Evaluations(RunCallback):
    """Measures the run every `evaluate_every` steps; at its end also shows its latent space."""

    def __init__(self, run: Watched) -> None:
        super().__init__(run)
        self._every = run.config.train.evaluate_every
        self._figures = RunEvaluation(run.parts) if self._every else None

    def after_step(self, logs: Mapping[str, Any]) -> None:
        if self._run.due(self._every or self._run.trainer.length.steps):
            with self._run.preemption.at_once():
                self.take()

    def take(self) -> None:
        log, networks = self._run.log, self._run.trainer.dreaming
        if self._figures is not None and not log.has_shown("evaluate/"):
            values = self._figures.measure(networks)
            log.record(values)
            log.say(describe_values(values))
        if log.step == self._run.trainer.length.steps:
            networks = self._run.shown()
        for name, draw in latent_sheets(networks, self._run.probes, self._figures).items():
            log.pictures.add(name.removesuffix(".png"), draw, log.step, log.run / name)


class Checkpoints(RunCallback):
    """Writes checkpoints, each after the pictures before it."""

    def __init__(self, run: Watched, alarms: Alarms) -> None:
        super().__init__(run)
        self._alarms = alarms

    def after_step(self, logs: Mapping[str, Any]) -> None:
        if self._run.due(self._run.config.train.checkpoint_every) or self._run.ends:
            self.write()

    def write(self) -> None:
        """Write a checkpoint of this step, if there is none yet; never of weights blown up."""
        log, trainer = self._run.log, self._run.trainer
        log.step = step = trainer.steps_done
        if step == log.saved:
            return
        self._run.values()
        try:
            log.pictures.wait()
        finally:  # a picture that cannot be written is no reason to lose the weights
            log.synchronise()  # or a run would resume from a step that its logs do not have
            trainer.state.watchdog.assign(self._alarms.watchdog.state)
            self._run.save(step)
            log.saved = step
            self._run.learning.write()
            if self._run.best is not None:
                self._run.best.tidy(checkpoint_steps(log.run))
            settle(log.run)  # an earlier run that waited for this one's first checkpoint
            if log.after_checkpoint is not None:
                log.after_checkpoint()


class Stop(RunCallback):
    """Ends the run when the watchdog was told to, or a signal came."""

    def after_step(self, logs: Mapping[str, Any]) -> None:
        if ends := self._run.ends:
            raise OutputError(
                f"{self._run.log.run}: stopped at step {self._run.log.step} because "
                f"{ends.problem}; {ends.fix}; the same command trains on regardless"
            )
        self._run.preemption.check()
