"""An inspection as lines of text."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from bladerunner_ae.inspection.inspect_folder import (
    Inspection,
    clock,
    film_seconds,
    film_start,
    frame_seconds,
)
from tfrecords.card import FilmCard
from tfrecords.wording import counted

_LABEL_WIDTH = 14


def describe(found: Inspection) -> list[str]:
    """Return the card in words, the table of shards, and the damage."""
    lines = [found.directory]
    if found.card is not None:
        lines += [f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in _card(found.card)]
    lines += ["", *_table(found)]
    lines += [f"note: {remark}" for remark in found.remarks]
    lines += [f"damaged: {damage}" for damage in found.damages]
    if found.verified is not None:
        count = "1 record is" if found.verified == 1 else f"{found.verified:,} records are"
        every = "all " if found.verified > 1 and not found.damages else ""
        lines.append(f"verified: {every}{count} whole")
    return lines


def _card(card: FilmCard) -> Iterator[tuple[str, str]]:
    source, encoding = card.source, card.encoding
    kind = "folder of images" if source.get("kind") == "images" else "film"
    size = source.get("bytes")
    yield "film", str(source.get("name", "?"))
    known = _size(size) if isinstance(size, int) else "size unknown"
    yield "source", f"{kind}, {known}, SHA-256 {source.get('sha256', '?')}"
    yield "frames", f"{card.frames:,}"
    excerpt = ""
    if (start := film_start(card)) or card.options.get("duration"):
        excerpt = f" (an excerpt that begins at {clock(start)} of the film)"
    yield "duration", clock(film_seconds(card)) + excerpt
    yield "rate", _rate(card)
    quality = f"quality {encoding['quality']}" if encoding.get("quality") else ""
    kind = _joined(" ", encoding.get("format", "?"), quality, encoding.get("subsampling"))
    total = sum(shard.bytes for shard in card.shards)
    yield (
        "records",
        f"{card.height}x{card.width} (height x width), {kind}, {_size(total)}, "
        f"{total / card.frames / 1024:.1f} KiB a frame",
    )
    yield from _picture(card)
    yield "colour", _colour(card.colour)
    yield "shots", _shots(card)
    for number, stream in enumerate(card.streams):
        yield "streams" if number == 0 else "", _stream(stream)
    options = {name: value for name, value in card.options.items() if value is not None}
    given = [f"{name} {_plain(value)}" for name, value in options.items()]
    yield "options", ", ".join(given) or "none"
    yield "written by", f"bladerunner_ae {card.tool_version}, schema {card.schema_version}"
    for note in card.notes:
        yield "note", note


def _joined(separator: str, *parts: object) -> str:
    return separator.join(str(part) for part in parts if part)


def _rate(card: FilmCard) -> str:
    rate = card.frame_rate
    exact = "" if rate.denominator == 1 else f" ({rate})"
    number = f"{float(rate):.3f}".rstrip("0").rstrip(".")
    if card.variable_rate:
        return f"variable, {number}{exact} frames a second on average"
    return f"{number}{exact} frames a second, constant"


def _picture(card: FilmCard) -> Iterator[tuple[str, str]]:
    """Yield size, shape, rotation and bars of the film's own picture, if the card has them."""
    geometry = card.geometry
    stored, display, crop = geometry.get("stored"), geometry.get("display"), geometry.get("crop")
    if not stored:
        return
    shown = f", shown as {display[0]}x{display[1]}" if display and display != stored else ""
    yield "picture", f"{stored[0]}x{stored[1]} (upright){shown}"
    yield "pixel aspect", str(geometry.get("sample_aspect", "?"))
    yield "rotation", _rotation(card)
    if crop:
        sides = {
            "top": crop["top"],
            "bottom": stored[0] - crop["top"] - crop["height"],
            "left": crop["left"],
            "right": stored[1] - crop["left"] - crop["width"],
        }
        found = ", ".join(f"{pixels} at the {side}" for side, pixels in sides.items() if pixels)
        yield "bars cut", f"{found} (pixels)" if found else "none"
    inside = geometry.get("picture")
    if inside and (inside["height"], inside["width"]) != (card.height, card.width):
        yield (
            "margins",
            f"the picture is {inside['height']}x{inside['width']} at row {inside['top']}, column "
            f"{inside['left']} of the record; the rest is black",
        )


def _rotation(card: FilmCard) -> str:
    for stream in card.streams:
        if "rotation" in stream:
            mirrored = "upside down as in a mirror, then " if stream.get("mirrored") else ""
            turned = stream["rotation"]
            if turned or mirrored:
                return f"{mirrored}{turned} degrees clockwise, applied"
            return "none"
    return "none" if card.source.get("kind") == "images" else "not on the card"


def _colour(colour: dict[str, Any]) -> str:
    ranges = {True: "full range", False: "limited range", None: ""}
    transfer = f"transfer {colour['transfer']}" if "transfer" in colour else ""
    known = {"matrix", "full_range", "transfer", "pixel_format"}
    others = [f"{name} {value}" for name, value in colour.items() if name not in known and value]
    return _joined(
        ", ", colour.get("matrix", "?"), ranges[colour.get("full_range")], transfer,
        colour.get("pixel_format"), *others,
    )  # fmt: skip


def _shots(card: FilmCard) -> str:
    lengths = [end - start for start, end in card.shots()]
    if len(lengths) == 1:
        return "1"
    usual, longest, seconds = median(lengths), max(lengths), float(1 / card.frame_rate)
    start = card.shot_starts[lengths.index(longest)]
    time = frame_seconds(card, start)
    where = f"frame {start}" + ("" if time is None else f", {clock(time)}")
    return (
        f"{len(lengths):,}; median {usual:g} frame{'' if usual == 1 else 's'} "
        f"({usual * seconds:.2f} s), longest {counted(longest, 'frame')} "
        f"({longest * seconds:.2f} s, from {where})"
    )


def _stream(stream: dict[str, Any]) -> str:
    kind, facts = str(stream.get("type", "?")), list[str]()
    if kind == "video":
        rate = stream.get("rate")
        facts = [
            f"{stream.get('height', '?')}x{stream.get('width', '?')}",
            f"{rate} fps" if rate not in (None, "None") else "",
            "cover art" if stream.get("cover_art") else "",
        ]
    elif kind == "audio":
        kind = "sound"
        rate, channels = stream.get("sample_rate"), stream.get("channels")
        facts = [f"{rate} Hz" if rate else "", f"{channels} channels" if channels else ""]
    language = (stream.get("metadata") or {}).get("language")
    facts.append("" if language in (None, "und") else str(language))
    codec = stream.get("codec") or "unknown codec"
    return f"{stream.get('index', '?')} {kind}: {_joined(', ', codec, *facts)}"


def _plain(value: Any) -> str:
    return ":".join(map(str, value)) if isinstance(value, list) else str(value)


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    value, units = size / 1024, ["TiB", "GiB", "MiB", "KiB"]
    while value >= 1000 and len(units) > 1:
        value /= 1024
        units.pop()
    return f"{value:.1f} {units[-1]}"


def _table(found: Inspection) -> list[str]:
    rows = [("shard", "frames", "first frame", "from", "to", "bytes", "bytes/frame")]
    for row in found.rows:
        shard = row.shard
        rows.append(
            (
                shard.name,
                f"{shard.frames:,}",
                f"{shard.first_frame:,}",
                clock(row.begin),
                clock(row.end),
                f"{shard.bytes:,}" if row.there else "missing",
                f"{shard.bytes / max(shard.frames, 1):,.0f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
