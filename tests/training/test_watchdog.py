"""The watchdog's judgement, on logs made by hand; `tests/training/test_watchdog_in_training.py`
has real ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bladerunner_ae.training.watchdog import (
    LOOK_EVERY,
    Sample,
    Verdict,
    Watchdog,
    new_state,
    not_finite,
)

HEALTHY = {
    "loss/encoder": 0.1, "loss/decoder": 0.2, "loss/discriminator": 1.5,
    "term/p_real": 0.7, "term/p_reconstruction": 0.3, "term/p_prior": 0.2,
    "gradient_norm/encoder": 0.1, "gradient_norm/decoder": 0.2, "gradient_norm/discriminator": 0.5,
}  # fmt: skip
WON = {"term/p_real": 0.99, "term/p_reconstruction": 0.01, "term/p_prior": 0.02}


def looks(
    dog: Watchdog, logs: Mapping[str, float], steps: range, scale: float = 1.0
) -> list[tuple[int, str]]:
    """Return (step, kind) of every verdict on the same logs at each step."""
    return [(step, verdict.kind) for step in steps for verdict in dog.look(step, logs, scale)]


def sample(**changes: object) -> Sample:
    values = {
        "film_variance": 3000.0, "dream_variance": 2500.0, "active_latents": 190,
        "latents": 200,
        "moved": {"encoder": 0.02, "decoder": 0.03},
    }  # fmt: skip
    return Sample(**{**values, **changes})  # type: ignore[arg-type]


def test_healthy_run_raises_no_alarm() -> None:
    dog = Watchdog(500, new_state())
    assert looks(dog, HEALTHY, range(10, 510, LOOK_EVERY)) == []
    assert not any(dog.look_at_sample(step, sample(), HEALTHY) for step in range(100, 600, 100))


def test_a_dead_player_is_named_at_the_third_look_and_once() -> None:
    dog = Watchdog(500, new_state())
    logs = {**HEALTHY, "gradient_norm/encoder": 1e-8}
    assert looks(dog, logs, range(10, 110, 10)) == [(30, "dead_encoder")]
    # One look in between at which all is well, and the count begins anew.
    dog = Watchdog(500, new_state())
    assert looks(dog, logs, range(10, 30, 10)) == []
    assert looks(dog, HEALTHY, range(30, 40, 10)) == []
    assert looks(dog, logs, range(40, 60, 10)) == []


def test_no_player_of_a_film_of_one_picture_is_dead() -> None:
    """Its one picture is learnt to the last grey level, and then no gradient is left."""
    logs = {**HEALTHY, "gradient_norm/decoder": 0.0, "gradient_norm/discriminator": 0.0}
    assert looks(Watchdog(500, new_state(), monotonous=True), logs, range(10, 110, 10)) == []
    assert len(looks(Watchdog(500, new_state()), logs, range(10, 110, 10))) == 2


def test_a_player_with_nothing_left_to_learn_is_not_dead() -> None:
    logs = {**HEALTHY, "loss/decoder": 5e-5, "gradient_norm/decoder": 0.0}
    dog = Watchdog(500, new_state())
    assert looks(dog, logs, range(10, 110, 10)) == []
    still = sample(moved={"decoder": 0.0})
    assert dog.look_at_sample(100, still, logs) == []


@pytest.mark.parametrize(("steps", "patience"), [(100, 50), (500, 50), (2000, 200)])
def test_a_discriminator_has_won_after_a_tenth_of_the_run(steps: int, patience: int) -> None:
    dog = Watchdog(steps, new_state())
    found = looks(dog, {**HEALTHY, **WON}, range(10, steps, 10))
    assert found == [(10 + patience, "discriminator_won")]


def test_a_discriminator_that_is_fooled_by_one_kind_has_not_won() -> None:
    for name, value in (("p_real", 0.9), ("p_reconstruction", 0.1), ("p_prior", 0.1)):
        logs = {**HEALTHY, **WON, f"term/{name}": value}
        assert looks(Watchdog(500, new_state()), logs, range(10, 510, 10)) == []


def test_hinge_discriminator_has_won_when_its_loss_is_gone() -> None:
    """Beyond its margin, 73 % and 27 %, nothing makes it any surer."""
    logs = {**HEALTHY, "term/p_real": 0.9, "term/p_reconstruction": 0.25, "term/gan": 0.05}
    del logs["term/p_prior"]
    steps = range(10, 510, 10)
    assert looks(Watchdog(500, new_state(), mastered=0.1), logs, steps) == [
        (60, "discriminator_won")
    ]
    assert looks(Watchdog(500, new_state()), logs, steps) == []
    waiting = {"term/p_real": 0.0, "term/p_reconstruction": 0.0, "term/gan": 0.0}
    for healthy in ({"term/gan": 0.2}, waiting):
        dog = Watchdog(500, new_state(), mastered=0.1)
        assert looks(dog, {**logs, **healthy}, steps) == []


def test_acting_begins_to_wait_anew_and_ends_somewhere() -> None:
    dog, scale, found = Watchdog(500, new_state()), 1.0, []
    for step in range(10, 1010, 10):
        for verdict in dog.look(step, {**HEALTHY, **WON}, scale):
            found.append((step, verdict.lowers))
            if verdict.lowers:
                scale *= 0.5
                dog.acted(verdict.kind, step)
    # Seen from step 10 on, and from the first look after each act.
    assert found == [(60 * n, True) for n in range(1, 7)] + [(420, False)]
    assert scale == 1 / 64


def test_collapse_and_vanished_latents_take_two_samples() -> None:
    dog = Watchdog(500, new_state())
    bad = sample(dream_variance=59.0, active_latents=0)
    assert dog.look_at_sample(100, bad, HEALTHY) == []
    kinds = [verdict.kind for verdict in dog.look_at_sample(200, bad, HEALTHY)]
    assert kinds == ["collapse", "vanished_latents"]
    assert dog.look_at_sample(300, bad, HEALTHY) == []
    dog = Watchdog(500, new_state())
    near = sample(dream_variance=61.0, active_latents=1)
    assert not any(dog.look_at_sample(step, near, HEALTHY) for step in range(100, 600, 100))


@pytest.mark.parametrize(
    ("active", "kinds"), [(19, ["collapse", "vanished_latents"]), (20, ["collapse"])]
)
def test_few_latents_count_as_none_where_frames_come_back_alike(
    active: int, kinds: list[str]
) -> None:
    dog, bad = Watchdog(500, new_state()), sample(dream_variance=59.0, active_latents=active)
    found = [verdict for step in (10, 20) for verdict in dog.look_at_sample(step, bad, HEALTHY)]
    assert [verdict.kind for verdict in found] == kinds
    few = sample(active_latents=active)  # all that the film needs
    assert not any(Watchdog(500, new_state()).look_at_sample(s, few, HEALTHY) for s in (10, 20))


@pytest.mark.parametrize(
    ("kl_part", "cure"), [(0.0, "a higher --learning_rate"), (0.5, "a lower --kl_weight")]
)
def test_latents_vanish_for_two_reasons(kl_part: float, cure: str) -> None:
    """Under a KL term of weight, or because nothing has been learnt yet."""
    dog, bad = Watchdog(500, new_state()), sample(active_latents=0)
    logs = {**HEALTHY, "term/pixel": 0.1, "term/features": 0.2, "loss/encoder": 0.3 + kl_part}
    found = [verdict for step in (10, 20) for verdict in dog.look_at_sample(step, bad, logs)]
    assert [verdict.fix for verdict in found] == [f"start over with {cure}"]


def test_a_film_of_equal_frames_may_come_back_as_equal_frames() -> None:
    dog = Watchdog(500, new_state())
    black = sample(film_variance=0.0, dream_variance=0.0, active_latents=0)
    assert not any(dog.look_at_sample(step, black, HEALTHY) for step in range(100, 600, 100))


def test_a_player_that_does_not_move_is_named() -> None:
    dog = Watchdog(500, new_state())
    moved = {"encoder": 0.01, "decoder": 5e-7, "discriminator": 2e-6}
    (verdict,) = dog.look_at_sample(100, sample(moved=moved), HEALTHY)
    assert verdict.kind == "still_decoder" and "decoder's weights have not moved" in verdict.problem


def test_the_first_log_that_is_not_finite_is_named_causes_first() -> None:
    nan, infinity = float("nan"), float("inf")
    fine = {"loss/decoder": 1.0, "term/kl": 2.0, "gradient_norm/decoder": 3.0}
    assert not_finite([(1, fine), (2, fine)]) is None
    broken = {"loss/decoder": nan, "term/kl": infinity, "gradient_norm/decoder": nan}
    verdict = not_finite([(1, fine), (2, broken), (3, {**fine, "loss/decoder": nan})])
    assert isinstance(verdict, Verdict)
    assert verdict.problem.startswith(
        "term/kl is inf in step 2, with it loss/decoder, gradient_norm/decoder: training"
    )
    verdict = not_finite([(7, {**fine, "gradient_norm/decoder": nan})])
    assert verdict is not None and verdict.problem.startswith(
        "gradient_norm/decoder is nan in step 7"
    )


@pytest.mark.parametrize(("log", "also"), [("loss/discriminator", True), ("loss/encoder", False)])
def test_other_rate_is_named_where_there_is_one(log: str, also: bool) -> None:
    verdict = not_finite([(3, {log: float("inf")})])
    assert verdict is not None and "a lower --learning_rate" in verdict.fix
    assert ("--discriminator_learning_rate" in verdict.fix) == also


def test_what_it_remembers_fits_into_a_checkpoint() -> None:
    """Cut off at any look, it comes to the same verdicts at the same steps."""
    logs = {**HEALTHY, **WON, "gradient_norm/encoder": 0.0}
    unbroken = looks(Watchdog(500, new_state()), logs, range(10, 210, 10))
    assert unbroken == [(30, "dead_encoder"), (60, "discriminator_won")]
    for cut in range(10, 210, 10):
        first = Watchdog(500, new_state())
        found = looks(first, logs, range(10, cut, 10))
        second = Watchdog(500, first.state.copy())
        assert found + looks(second, logs, range(cut, 210, 10)) == unbroken


def psnr_looks(
    watchdog: Watchdog, figures: dict[int, dict[str, float]], fall: float = 0.0, last: int = 1000
) -> list[tuple[int, str]]:
    """Return (step, problem) of what is said of these measurements."""
    return [
        (step, verdict.problem)
        for step, psnr in figures.items()
        for verdict in watchdog.look_at_psnr(step, psnr, fall, step == last)
    ]


def test_harm_is_said_once_when_it_lasts_or_at_the_end() -> None:
    start = {0: {"seen": 40.0, "held out": 30.0}}
    worse = {"seen": 39.8, "held out": 31.0}
    lasting = {step: worse for step in range(100, 1001, 100)}
    said = psnr_looks(Watchdog(1000, new_state()), {**start, **lasting})
    assert said == [(600, "training harms: after 600 steps frames are remembered worse than before "
                          "the first (seen frames 40.00 -> 39.80 dB)")]  # fmt: skip
    passing = {**start, 100: worse, 200: worse, 300: {"seen": 41.0, "held out": 30.0}}
    assert psnr_looks(Watchdog(1000, new_state()), passing) == []
    ending = {**passing, 1000: {"seen": 41.0, "held out": 29.0}}
    assert psnr_looks(Watchdog(1000, new_state()), ending) == [
        (1000, "training harms: after 1000 steps frames are remembered worse than before the "
               "first (held out frames 30.00 -> 29.00 dB)")]  # fmt: skip
    assert psnr_looks(Watchdog(1000, new_state()), ending, fall=1.0) == []
    assert psnr_looks(Watchdog(1000, new_state(), monotonous=True), ending) == []
    nearly = {**start, 1000: {"seen": 39.95, "held out": 30.0}}
    assert psnr_looks(Watchdog(1000, new_state()), nearly) == []


def test_the_start_is_remembered_over_a_resume() -> None:
    first = Watchdog(1000, new_state())
    psnr_looks(first, {0: {"seen": 40.0}, 500: {"seen": 39.0}})
    resumed = Watchdog(1000, first.state.copy())
    verdicts = resumed.look_at_psnr(1000, {"seen": 39.0}, 0.0, True)
    assert [(v.kind, v.late) for v in verdicts] == [("harm", True)]
    # A run of an earlier version, whose start was never measured.
    assert psnr_looks(Watchdog(1000, new_state()), {1000: {"seen": 1.0}}) == []
