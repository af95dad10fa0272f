"""Reading the measurements of the GPU benchmark; no test here needs one."""

import pytest

from benchmarks.gpu.gpu_page import BEFORE, film_minutes, page, windows
from benchmarks.gpu.worker import kind_of
from bladerunner_ae.objectives.dream import Dream


def _line(step: int, rate: float, discriminator: float) -> dict[str, float]:
    return {
        "step": step,
        "speed/frames_per_second": rate,
        "speed/waiting_for_data": 0.01,
        "loss/discriminator": discriminator,
    }


LINES = [
    {"step": 0, "probe/psnr_seen": 8.0},
    _line(10, 20.0, 0.0),
    _line(20, 4000.0, 0.0),
    _line(30, 3000.0, 0.0),
    _line(40, 3800.0, 0.0),
    _line(50, 2000.0, 1.9),
    {"step": 50, "probe/psnr_seen": 26.0},
]


def test_the_window_in_which_all_is_made_counts_in_no_phase() -> None:
    found = windows(LINES)
    assert {phase: [line["step"] for line in lines] for phase, lines in found.items()} == {
        "before": [20, 30, 40],
        "with": [50],
    }


def test_minutes_of_a_film() -> None:
    assert Dream.adversarial_start == BEFORE
    assert film_minutes({"with": 1684.8}, "vae_gan") == (None, pytest.approx(10.0))
    assert film_minutes({"before": 3369.6}, "dream") == (pytest.approx(5.0), None)
    both = film_minutes({"before": 3369.6, "with": 1684.8}, "dream")
    assert both == (pytest.approx(5.0), pytest.approx(0.6 * 5 + 0.4 * 10))


def test_the_table_says_rates_memory_and_losses() -> None:
    fine = {"batch": 64, "first_step": 70.0, "seconds": [0.02, 0.016, 0.04], "peak_gib": 4.8}
    fine["loss"] = [0.6, 0.3, 0.1]
    phase = {"64": fine, "128": {"error": "out of memory"}}
    text = page({
        "machine": {"cores": 16},
        "about": {"card": "a card", "tensorflow": "2.21.0"},
        "step": {"dream, before the adversary, on": phase},
        "loop": {"dream, streamed, on": {"batch": 128, "lines": LINES}},
        "check": {"batch": 64, "losses": [0.61, 0.29, 0.28], "processor": "a processor"},
        "profile": {"vae_gan, on": {"batch": 64, "step": 0.02, "kinds": {"copies": 0.001}}},
    })  # fmt: skip
    for words in (
        "one a card, 16 processor cores",
        "| dream, before the adversary | on | 64 | 20.0 | 3200 | 1600 to 4000 | 70 | 4.8 |",
        "| dream, before the adversary | on | 128 | out of memory |",
        "| dream, streamed | on | 128 | 50 | 3800 | 2000 | 1.0 % | 64 | 8.0 (step 0), 26.0 (step",
        " | 4.4 | 6.0 |",
        "| processor (a processor), float32 | 0.6100 | 0.2900 |",
        "| card, mixed_bfloat16, XLA on | 0.6000 | 0.3000 |",
        "| vae_gan, on | 64 | 20.0 | 1.00 | copies |",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16", "convolutions and matrix products"),
        ("MemcpyH2D", "copies"),
        ("nchwToNhwcKernel", "change of layout"),
        ("loop_multiply_fusion_3", "all else"),
    ],
)
def test_kernels_are_named_by_what_they_do(kernel: str, kind: str) -> None:
    assert kind_of(kernel) == kind
