"""What is wrong with a film's shards in relation to each other, told by what each held itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bladerunner_ae.inspection.folder import Damage, clock, film_time
from tfrecords.card import CARD_NAME, FilmCard, Shard
from tfrecords.schema import Frame


@dataclass
class ShardReport:
    """What was found in one shard; times in seconds, pts in the film's time base."""

    shard: Shard
    damages: list[Damage] = field(default_factory=list)
    whole: int = 0
    sha256: str = ""
    first: Frame | None = None
    last: Frame | None = None


def between_shards(reports: list[ShardReport], card: FilmCard | None) -> Iterable[Damage]:
    """What is wrong with the times from one shard to the next, and at both ends of the film."""
    previous: Frame | None = None
    for report in reports:
        first = report.first
        if (
            previous is not None
            and first is not None
            # Of records in the wrong place that was said; their times say nothing more.
            and first.index > previous.index
            and first.pts <= previous.pts
        ):
            yield Damage(
                report.shard.name,
                f"its first frame's time {first.pts} is not later than {previous.pts}, "
                "at which the shard before ends",
            )
        previous = report.last or previous
    if card is None or not card.shards:
        return
    ends = (
        ("first_pts", card.first_pts, reports[0].first if reports else None, 0),
        ("last_pts", card.last_pts, reports[-1].last if reports else None, card.frames - 1),
    )
    for name, wanted, frame, number in ends:
        if frame is not None and frame.index == number and frame.pts != wanted:
            yield Damage(
                CARD_NAME,
                f"'{name}' is {wanted} but the record of frame {number} says {frame.pts} "
                f"({clock(film_time(card, frame.pts))})",
            )


def other_content(reports: list[ShardReport], card: FilmCard | None) -> Iterable[Damage]:
    """Names the shards that hold, byte for byte, what another one should."""
    owners = {} if card is None else {shard.sha256: shard.name for shard in card.shards}
    for report in reports:
        owner = owners.get(report.sha256, report.shard.name)
        if owner != report.shard.name:
            yield Damage(report.shard.name, f"is the file that should be called {owner}")
