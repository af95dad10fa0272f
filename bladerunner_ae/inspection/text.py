"""What an inspection found, in lines for people."""

from collections.abc import Iterator
from typing import Any

from bladerunner_ae.inspection.folder import (
    Inspection,
    clock,
    film_seconds,
    film_start,
    frame_seconds,
    median_shot,
    shot_lengths,
)
from tfrecords.card import FilmCard

_LABEL_WIDTH = 14


def describe(found: Inspection) -> list[str]:
    """The card in words, the table of shards, and what is wrong.

    Args:
        found: from `inspect_film`, verified or not.
    """
    lines = [found.directory]
    if found.card is not None:
        lines += [f"  {label:<{_LABEL_WIDTH}}{text}" for label, text in _card(found.card)]
    lines += ["", *_table(found)]
    lines += [f"note: {remark}" for remark in found.remarks]
    lines += [f"damaged: {damage}" for damage in found.damages]
    if found.verified is not None and not found.damages:
        every = "all " if found.verified > 1 else ""
        lines.append(f"verified: {every}{_records(found.verified)} whole")
    elif found.verified is not None:
        lines.append(f"verified: {_records(found.verified)} whole")
    return lines


def _records(number: int) -> str:
    return "1 record is" if number == 1 else f"{number:,} records are"


def _card(card: FilmCard) -> Iterator[tuple[str, str]]:
    size = sum(shard.bytes for shard in card.shards)
    source = card.source
    yield "film", str(source.get("name", "?"))
    yield "source", _source(source)
    yield "frames", f"{card.frames:,}"
    yield "duration", clock(film_seconds(card)) + _excerpt(card)
    yield "rate", _rate(card)
    yield (
        "records",
        (
            f"{card.height}x{card.width} (height x width), {_encoding(card.encoding)}, "
            f"{_size(size)}, {size / max(card.frames, 1) / 1024:.1f} KiB a frame"
        ),
    )
    yield from _picture(card)
    yield "colour", _colour(card.colour)
    yield "shots", _shots(card)
    for number, stream in enumerate(card.streams):
        yield "streams" if number == 0 else "", _stream(stream)
    yield "options", _options(card.options)
    yield "written by", f"bladerunner_ae {card.tool_version}, schema {card.schema_version}"
    for note in card.notes:
        yield "note", note


def _source(source: dict[str, Any]) -> str:
    kind = "folder of images" if source.get("kind") == "images" else "film"
    size = source.get("bytes")
    parts = [kind, _size(size) if isinstance(size, int) else "size unknown"]
    return f"{', '.join(parts)}, SHA-256 {source.get('sha256', '?')}"


def _excerpt(card: FilmCard) -> str:
    start = film_start(card)
    if not start and not card.options.get("duration"):
        return ""
    return f" (an excerpt that begins at {clock(start)} of the film)"


def _rate(card: FilmCard) -> str:
    rate = card.frame_rate
    exact = "" if rate.denominator == 1 else f" ({rate})"
    number = f"{float(rate):.3f}".rstrip("0").rstrip(".")
    if card.variable_rate:
        return f"variable, {number}{exact} frames a second on average"
    return f"{number}{exact} frames a second, constant"


def _encoding(encoding: dict[str, Any]) -> str:
    quality = encoding.get("quality")
    parts = [str(encoding.get("format", "?"))]
    parts += [] if quality is None else [f"quality {quality}"]
    parts += [str(encoding["subsampling"])] if "subsampling" in encoding else []
    return " ".join(parts)


def _picture(card: FilmCard) -> Iterator[tuple[str, str]]:
    """Size, shape, rotation and bars of the film's own picture, as far as the card has them."""
    geometry = card.geometry
    stored, display = geometry.get("stored"), geometry.get("display")
    if not stored:
        return
    shown = f", shown as {display[0]}x{display[1]}" if display and display != stored else ""
    yield "picture", f"{stored[0]}x{stored[1]} (upright){shown}"
    yield "pixel aspect", str(geometry.get("sample_aspect", "?"))
    yield "rotation", _rotation(card)
    yield "bars cut", _bars(geometry)
    inside = geometry.get("picture") or {}
    if inside and (inside.get("height"), inside.get("width")) != (card.height, card.width):
        yield (
            "margins",
            (
                f"the picture is {inside['height']}x{inside['width']} at row {inside['top']}, "
                f"column {inside['left']} of the record; the rest is black"
            ),
        )


def _rotation(card: FilmCard) -> str:
    for stream in card.streams:
        if "rotation" in stream:
            mirrored = "upside down as in a mirror, then " if stream.get("mirrored") else ""
            turned = stream["rotation"]
            if not turned and not mirrored:
                return "none"
            return f"{mirrored}{turned} degrees clockwise, applied"
    return "none" if card.source.get("kind") == "images" else "not on the card"


def _bars(geometry: dict[str, Any]) -> str:
    stored, crop = geometry["stored"], geometry.get("crop") or {}
    if not crop:
        return "?"
    sides = {
        "top": crop["top"],
        "bottom": stored[0] - crop["top"] - crop["height"],
        "left": crop["left"],
        "right": stored[1] - crop["left"] - crop["width"],
    }
    found = ", ".join(f"{pixels} at the {side}" for side, pixels in sides.items() if pixels)
    return f"{found} (pixels)" if found else "none"


def _colour(colour: dict[str, Any]) -> str:
    parts = [str(colour.get("matrix", "?"))]
    if "full_range" in colour:
        parts.append("full range" if colour["full_range"] else "limited range")
    if "transfer" in colour:
        parts.append(f"transfer {colour['transfer']}")
    if "pixel_format" in colour:
        parts.append(str(colour["pixel_format"]))
    known = {"matrix", "full_range", "transfer", "pixel_format"}
    parts += [f"{name} {value}" for name, value in colour.items() if name not in known and value]
    return ", ".join(parts)


def _shots(card: FilmCard) -> str:
    lengths = shot_lengths(card)
    if len(lengths) == 1:
        return "1"
    longest = max(lengths)
    start = card.shot_starts[lengths.index(longest)]
    time = frame_seconds(card, start)
    where = f"frame {start}" + ("" if time is None else f", {clock(time)}")
    seconds = float(1 / card.frame_rate)
    median = median_shot(card)
    return (
        f"{len(lengths):,}; median {median:g} frame{_s(median)} ({median * seconds:.2f} s), "
        f"longest {longest:,} frame{_s(longest)} ({longest * seconds:.2f} s, from {where})"
    )


def _s(number: float) -> str:
    return "" if number == 1 else "s"


def _stream(stream: dict[str, Any]) -> str:
    kind = str(stream.get("type", "?"))
    parts = [str(stream.get("codec") or "unknown codec")]
    if kind == "video":
        parts.append(f"{stream.get('height', '?')}x{stream.get('width', '?')}")
        rate = stream.get("rate")
        parts += [f"{rate} fps"] if rate not in (None, "None") else []
        parts += ["cover art"] if stream.get("cover_art") else []
    elif kind == "audio":
        parts += [f"{stream['sample_rate']} Hz"] if stream.get("sample_rate") else []
        parts += [f"{stream['channels']} channels"] if stream.get("channels") else []
        kind = "sound"
    language = (stream.get("metadata") or {}).get("language")
    parts += [str(language)] if language not in (None, "und") else []
    return f"{stream.get('index', '?')} {kind}: {', '.join(parts)}"


def _options(options: dict[str, Any]) -> str:
    given = [f"{name} {_plain(value)}" for name, value in options.items() if value is not None]
    return ", ".join(given) or "none"


def _plain(value: Any) -> str:
    return ":".join(map(str, value)) if isinstance(value, list) else str(value)


def _size(size: int) -> str:
    value, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{size} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def _table(found: Inspection) -> list[str]:
    head = ("shard", "frames", "first frame", "from", "to", "bytes", "bytes/frame")
    rows = [
        (
            row.shard.name,
            f"{row.shard.frames:,}",
            f"{row.shard.first_frame:,}",
            clock(row.begin),
            clock(row.end),
            f"{row.shard.bytes:,}" if row.there else "missing",
            f"{row.shard.bytes / max(row.shard.frames, 1):,.0f}",
        )
        for row in found.rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if number == 0 else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
