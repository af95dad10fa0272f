"""Times of frames: made sound where the file's are not, and judged exactly."""

from fractions import Fraction

import pytest

from bladerunner_ae.film.reading.clock import Clock, constant_rate, mean_rate

NTSC = Fraction(24000, 1001)


def rounded(rate: Fraction, base: Fraction, frames: int, first: int = 0) -> list[int]:
    """Times as a muxer with this time base writes them."""
    return [first + round(n / rate / base) for n in range(frames)]


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(25), NTSC, Fraction(30000, 1001)])
@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1, 12800)])
def test_rounded_times_have_their_exact_rate(rate: Fraction, base: Fraction) -> None:
    assert constant_rate(rounded(rate, base, 5000, 77), base, ()) == rate


def test_the_films_own_claim_goes_first() -> None:
    odd = Fraction(17)
    assert constant_rate(rounded(odd, Fraction(1, 1000), 500), Fraction(1, 1000), (odd,)) == odd
    # Twelve frames cannot tell 24 from 24000/1001 in milliseconds.
    few = rounded(NTSC, Fraction(1, 1000), 12)
    assert constant_rate(few, Fraction(1, 1000), (NTSC, Fraction(24))) == NTSC
    assert constant_rate(few, Fraction(1, 1000), (Fraction(24), NTSC)) == 24


@pytest.mark.parametrize("rate", [Fraction(120000, 1001), Fraction(240000, 1001)])
def test_what_libav_makes_of_a_fast_rate_of_television(rate: Fraction) -> None:
    times = [round(n * 1000 / rate) for n in range(150)]
    claim = Fraction(29011, 242) * rate / Fraction(120000, 1001)
    claim = claim.limit_denominator(300)
    assert constant_rate(times, Fraction(1, 1000), [claim]) == rate


def test_exact_claim_precedes_approximate_one() -> None:
    claims = [Fraction(120), Fraction(120000, 1001)]
    assert constant_rate(range(150), Fraction(1001, 120000), claims) == Fraction(120000, 1001)
    claims = [Fraction(30000, 1001), Fraction(2997, 100)]
    assert constant_rate(range(150), Fraction(100, 2997), claims) == Fraction(2997, 100)


@pytest.mark.parametrize("base", [Fraction(1, 24), Fraction(1, 48), Fraction(1, 1000)])
def test_one_missing_frame_is_no_constant_rate(base: Fraction) -> None:
    times = rounded(Fraction(24), base, 100)
    del times[50]
    assert constant_rate(times, base, (Fraction(24),)) is None
    assert mean_rate(times, base) is not None


def test_an_average() -> None:
    assert mean_rate([0, 1, 2, 4, 5, 6, 8], Fraction(1, 24)) == 18
    assert mean_rate([5], Fraction(1, 24)) is None


def clock(first: int = 0, by_packets: bool = False) -> Clock:
    return Clock(Fraction(512), first, 12288, by_packets)


def test_sound_times_are_left_alone() -> None:
    one = clock()
    assert [one.frame(pts) for pts in (7, 519, 600, 9999)] == [7, 519, 600, 9999]
    assert one.repaired == 0


def test_no_times_at_all_are_counted_without_adding_up_errors() -> None:
    one = Clock(Fraction(1001, 24), 100, 1000)
    assert [one.frame(None) for _ in range(25)][-1] == 100 + 1001


def test_a_slip_moves_one_frame_and_a_restart_all_that_follow() -> None:
    one = clock()
    assert [one.frame(pts) for pts in (0, 512, 512, 1536)] == [0, 512, 513, 1536]
    assert one.repaired == 1
    # A broadcast starts over from 0: the rest goes on after what came before.
    two = clock()
    times = [two.frame(pts) for pts in (100_000, 100_512, 0, 512, 1024)]
    assert times == [100_000, 100_512, 101_024, 101_536, 102_048]
    assert two.repaired == 1


def test_decoding_order_gives_times_in_display_order() -> None:
    one = clock(by_packets=True)
    times = []
    for packet in (0, 3, 1, 2):  # I P B B
        one.packet(packet)
    for wrong in (0, 3, 1, 2):
        times.append(one.frame(wrong))
    assert times == [0, 1, 2, 3]
    one.packet(4)
    one.drop(4)  # it could not be decoded
    one.packet(5)
    assert one.frame(None) == 5
