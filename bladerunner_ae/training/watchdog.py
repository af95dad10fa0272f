"""Detection of training that goes wrong, with advice in words.

It gets the step's logs every ten steps and, with each sample, a few facts about the pictures. Its
memory is an array of integers in the checkpoint, so a resumed run comes to the same verdicts at the
same steps.

| problem | evidence | duration |
|---|---|---|
| not finite | NaN or infinity in any log | once |
| dead player | gradient below a millionth of its loss | three looks |
| still player | weights the same as at the last sample | once |
| collapse | unlike frames come back alike | two samples |
| vanished latents | no latent differs between unlike frames; in collapse hardly one | two samples |
| harm | frames are remembered worse than before the first step | half of the run, or its end |
| discriminator won | sure of film and fakes, or nothing left to learn | a tenth of the run |
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOOK_EVERY = 10

_PLAYERS = ("encoder", "decoder", "discriminator")
# Every kind of problem that is reported once, at a fixed place of the state.
_ROWS = {
    **{f"dead_{player}": i for i, player in enumerate(_PLAYERS)},
    **{f"still_{player}": i + 3 for i, player in enumerate(_PLAYERS)},
    "collapse": 6,
    "vanished_latents": 7,
    "discriminator_won": 8,
    "harm": 9,
}
# Of step 0, in millionths of a decibel: seen, held out, and whether they were measured.
_START_ROW = 10
_LABELS = ("seen", "held out")
_NO_FRAMES = -(10**12)
_SPARE_ROWS = 16
_STREAK, _SINCE, _SAID = range(3)

_DEAD_GRADIENT = 1e-6  # of the loss
_NOTHING_TO_LEARN = 1e-4  # a loss so small leaves no gradient; as squared error it is 46 dB
_STILL = 1e-6  # of the weights' length
_SURE = 0.95
_WON_STEPS = 50
_ALIKE = 0.02  # of the film's own variance between frames
_FEW_LATENTS = 0.1  # of all of them
_HARM_DB = 0.1
_LOWEST_SCALE = 1.0 / 64.0


@dataclass(frozen=True)
class Verdict:
    """One problem and its fix in words; `kind` is its name for programs, such as "collapse".

    `lowers`: the adversarial weight should be halved. `late`: the run is at its end, so nothing
    is gained by stopping it.
    """

    kind: str
    problem: str
    fix: str
    lowers: bool = False
    late: bool = False


@dataclass(frozen=True)
class Sample:
    """Facts about the probe frames.

    Attributes:
        film_variance: variance between the frames, mean over pixels, in grey levels squared.
        dream_variance: the same of their reconstructions.
        active_latents: numbers, of all `latents`, whose mean differs between the frames.
        moved: player -> distance its weights have moved since the last sample, over their length.
    """

    film_variance: float
    dream_variance: float
    active_latents: int
    latents: int
    moved: Mapping[str, float]


def new_state() -> NDArray[np.int64]:
    """Return the state of a new watchdog: int64 [rows, 3]."""
    return np.zeros((_SPARE_ROWS, 3), np.int64)


class Watchdog:
    """Judges a run by its logs and samples.

    Args:
        steps: of the run, which decide how long is long; may be set again.
        state: int64 [rows, 3]: how often in a row each problem was seen, from which step on, and
            whether it was reported. Changed in place; `new_state()` for a new run.
        mastered: "term/gan" below which the discriminator has nothing left to learn, though it may
            be less sure than 95 %: hinge loss asks for no more than a margin. 0: none is so low.
        monotonous: the film is one picture; once that has been learnt, no gradient is left and no
            weight moves.
    """

    def __init__(
        self,
        steps: int,
        state: NDArray[np.int64],
        mastered: float = 0.0,
        monotonous: bool = False,
    ) -> None:
        self.steps, self._mastered, self._monotonous = steps, mastered, monotonous
        self.state = state

    def look(self, step: int, logs: Mapping[str, float], scale: float = 1.0) -> list[Verdict]:
        """Return problems in one step's logs, each once; call it every `LOOK_EVERY` steps.

        `logs` are the trainer's "loss/...", "term/...", "gradient_norm/..."; `scale` multiplies the
        adversarial weight now.
        """
        found = [self._dead_player(step, name, logs) for name in _players(logs)]
        found.append(self._discriminator_won(step, logs, scale))
        return [verdict for verdict in found if verdict is not None]

    def look_at_sample(self, step: int, sample: Sample, logs: Mapping[str, float]) -> list[Verdict]:
        """Return problems seen in a sample after step `step`; not to be called before the first."""
        found = [
            self._still_player(step, name, moved, logs) for name, moved in sample.moved.items()
        ]
        # Similar frames may have similar dreams.
        unlike = sample.film_variance >= 1.0
        alike = unlike and sample.dream_variance < _ALIKE * sample.film_variance
        if self._lasts("collapse", step, alike, looks=2):
            found.append(
                Verdict(
                    "collapse",
                    "frames that are unlike come back as the same picture",
                    "if this does not pass soon, start over with a lower --kl_weight or "
                    "--learning_rate, or another --seed",
                )
            )
        # A film may need few latents; too few are those that do not even tell frames apart.
        few = sample.active_latents < _FEW_LATENTS * sample.latents
        vanished = unlike and (sample.active_latents == 0 or (alike and few))
        if self._lasts("vanished_latents", step, vanished, looks=2):
            found.append(_vanished(logs))
        return [verdict for verdict in found if verdict is not None]

    def look_at_psnr(
        self, step: int, psnr: Mapping[str, float], allowed_fall: float, last: bool
    ) -> list[Verdict]:
        """Return whether training harms: some frames have been worse than at step 0 for long.

        Args:
            psnr: dB, of "seen" and "held out" frames, as far as there are any.
            allowed_fall: dB that the objective may cost.
            last: the run is at its end.
        """
        start = self.state[_START_ROW]
        if step == 0:
            start[:2] = [round(1e6 * psnr[n]) if n in psnr else _NO_FRAMES for n in _LABELS]
            start[2] = 1
            return []
        if not start[2] or self._monotonous:
            return []
        before = {n: value / 1e6 for n, value in zip(_LABELS, start, strict=False)}
        worse = [n for n in psnr if psnr[n] < before[n] - allowed_fall - _HARM_DB]
        lasts = self._lasts("harm", step, bool(worse), looks=3, steps=self.steps // 2)
        row = self.state[_ROWS["harm"]]
        if not worse or not (lasts or (last and not row[_SAID])):
            return []
        row[_SAID] = 1
        found = " and ".join(f"{n} frames {before[n]:.2f} -> {psnr[n]:.2f} dB" for n in worse)
        return [
            Verdict(
                "harm",
                f"training harms: after {step} steps frames are remembered worse than before the "
                f"first ({found})",
                "start over with a lower --learning_rate, with --augment=0 or another --objective; "
                "--keep=best, the default, keeps the best weights until then",
                late=last,
            )
        ]

    def _may_be_dead(self, loss: float) -> bool:
        return loss > _NOTHING_TO_LEARN and not self._monotonous

    def _dead_player(self, step: int, player: str, logs: Mapping[str, float]) -> Verdict | None:
        loss = abs(logs[f"loss/{player}"])
        dead = self._may_be_dead(loss) and logs[f"gradient_norm/{player}"] < _DEAD_GRADIENT * loss
        if not self._lasts(f"dead_{player}", step, dead, looks=3):
            return None
        return Verdict(
            f"dead_{player}",
            f"the {player} has almost no gradient any more (its loss is {loss:.3g}), so it learns "
            "nothing: its activations are saturated",
            "start over with a lower --learning_rate or --clip_norm=1",
        )

    def _still_player(
        self, step: int, player: str, moved: float, logs: Mapping[str, float]
    ) -> Verdict | None:
        loss = abs(logs.get(f"loss/{player}", 0.0))
        still = self._may_be_dead(loss) and moved < _STILL
        if not self._lasts(f"still_{player}", step, still, looks=1):
            return None
        return Verdict(
            f"still_{player}",
            f"the {player}'s weights have not moved since the last sample though its loss is "
            f"{loss:.3g}: its learning rate is too small",
            "start over with a higher --learning_rate"
            + (" or --discriminator_learning_rate" if player == "discriminator" else ""),
        )

    def _discriminator_won(
        self, step: int, logs: Mapping[str, float], scale: float
    ) -> Verdict | None:
        fakes = [logs[name] for name in ("term/p_reconstruction", "term/p_prior") if name in logs]
        if "term/p_real" not in logs or not fakes:
            return None
        real, fake = logs["term/p_real"], max(fakes)
        won = real > _SURE and fake < 1.0 - _SURE
        # An adversary that has not come in yet logs zeros everywhere.
        won |= real > 0.5 > fake and logs.get("term/gan", math.inf) < self._mastered
        patience = max(_WON_STEPS, self.steps // 10)
        if not self._lasts("discriminator_won", step, won, looks=2, steps=patience):
            return None
        lowered = f", though its weight was lowered to {scale:g} of what was asked"
        return Verdict(
            "discriminator_won",
            f"the discriminator has told every dream from the film for {patience} steps, so its "
            f"verdict teaches nothing any more{lowered if scale < 1.0 else ''}",
            "lower --adversarial_weight or --discriminator_learning_rate, or let --watchdog=act "
            "lower the weight while it trains",
            lowers=scale > _LOWEST_SCALE,
        )

    def acted(self, kind: str, step: int) -> None:
        """Start waiting again, after something was done about a problem of this kind."""
        self.state[_ROWS[kind]] = (0, step, 0)

    def _lasts(self, kind: str, step: int, seen: bool, *, looks: int, steps: int = 0) -> bool:
        """Return whether a problem has been seen long enough and was not reported before."""
        row = self.state[_ROWS[kind]]
        if not seen:
            row[_STREAK] = 0
            return False
        if row[_STREAK] == 0:
            row[_SINCE] = step
        row[_STREAK] += 1
        if row[_SAID] or row[_STREAK] < looks or step - row[_SINCE] < steps:
            return False
        row[_SAID] = 1
        return True


def _vanished(logs: Mapping[str, float]) -> Verdict:
    rest = sum(logs.get(f"term/{name}", 0.0) for name in ("pixel", "features"))
    outweighed = logs.get("loss/encoder", math.inf) > 2.0 * rest
    why = "the KL term outweighs the rest" if outweighed else "the encoder has hardly learnt yet"
    return Verdict(
        "vanished_latents",
        "the latents say nothing about the frame (hardly a number of them differs between unlike "
        f"frames): {why}",
        f"start over with a {'lower --kl_weight' if outweighed else 'higher --learning_rate'}",
    )


def not_finite(history: Iterable[tuple[int, Mapping[str, float]]]) -> Verdict | None:
    """Return a verdict on the first log that is NaN or infinite; None: all are finite."""
    for step, logs in history:
        wrong = [name for name in _in_order_of_computing(logs) if not math.isfinite(logs[name])]
        if wrong:
            others = f", with it {', '.join(wrong[1:4])}" if len(wrong) > 1 else ""
            rates = "--learning_rate"
            if "loss/discriminator" in logs:
                rates = "--learning_rate or --discriminator_learning_rate"
            return Verdict(
                "not_finite",
                f"{wrong[0]} is {logs[wrong[0]]:g} in step {step}{others}: training has blown up",
                f"start over with --overwrite and a lower {rates}, --clip_norm=1 or "
                "--precision=float32",
            )
    return None


def _in_order_of_computing(logs: Mapping[str, float]) -> list[str]:
    """Return names of logs, causes before effects: latents, terms, losses, gradients."""
    kinds = ("latent", "term", "loss", "gradient_norm")

    def place(name: str) -> tuple[int, int]:
        kind, _, player = name.partition("/")
        return (
            kinds.index(kind) if kind in kinds else len(kinds),
            _PLAYERS.index(player) if player in _PLAYERS else len(_PLAYERS),
        )

    return sorted(logs, key=place)


def _players(logs: Mapping[str, float]) -> list[str]:
    names = [
        name.removeprefix("gradient_norm/") for name in logs if name.startswith("gradient_norm/")
    ]
    return [name for name in names if f"loss/{name}" in logs and f"dead_{name}" in _ROWS]
