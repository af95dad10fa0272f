"""Notes: findings of reading or writing a film, as values, and the sentences for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from string import Formatter
from typing import Any

from tfrecords.wording import counted

_PLURALS = {"is": "are", "leans": "lean"}


class NoteKind(Enum):
    """Kinds of notes; the value is the sentence, whose fields are the note's facts.

    A word as format counts: {frames:frame} is "1 frame" or "2 frames", {frames:is} "is" or "are".
    The format of several values stands between them, " and " by default.
    """

    # Colours and picture
    TONE_MAPPED = (
        "{light} tone-mapped to SDR (Hable's curve, peak {peak_nits:g} nits), {primaries} colours "
        "brought to BT.709"
    )
    WIDE_COLOURS = "{primaries} colours brought to BT.709"
    CONSTANT_LUMINANCE = "BT.2020 of constant luminance is taken for the usual, which is near it"
    UNKNOWN_MATRIX = "colour matrix number {number} is not known; {used} is used"
    DEINTERLACED = "the film is interlaced; one whole frame is made of each pair of fields"
    FIELDS_KEPT = "the film is interlaced; its fields are left as they are"
    SLANTED = (
        "the film asks to be shown at a slant; its picture is turned by {degrees} degrees only"
    )
    ALPHA = "the film can be transparent; its colours are kept as if it were opaque"
    SEVERAL_PICTURES = "the file has {count} pictures; stream {taken} is taken, not {others}"
    SEVERAL_PROGRAMMES = (
        "the file has several programmes; that of stream {taken} is taken; streams of others are "
        "left out: {others:, }"
    )

    # Folders of images
    NUMBERS_MISSING = "{count:number} {count:is} missing among the images"
    IMAGE_ORDER = "the images are in the order of {choice}"
    IMAGE_STEPS = "the numbers of the images rise in steps of {step}"
    FILES_LEFT_OUT = "left out of the folder: {names}"
    SEVERAL_FORMATS = "the images are of several formats ({formats:, })"
    ALL_IMAGES = "the images {remark}"
    SOME_IMAGES = "{count} of the {total} images {remark}"
    # Remarks on some images or all
    FIRST_OF_SEVERAL = "hold several pictures, of which the first is taken"
    ON_BLACK = "can be transparent; what is transparent is black"
    SIXTEEN_BITS = "of 16 bits a channel are read as 8"
    ORIENTED = "are turned upright, as their EXIF orientation says"
    UNKNOWN_COLOURS = "have colours of a kind that is not known; they are taken as sRGB"
    BAD_PROFILE = "have a colour profile that is damaged; their colours are taken as sRGB"
    UNFIT_PROFILE = (
        "have a colour profile that does not fit their colours; their colours are taken as sRGB"
    )
    PLAIN_CMYK = "are CMYK without a colour profile; their colours are about right only"
    PLAIN_LAB = "are converted from CIELAB to sRGB"
    PROFILE = 'are converted to sRGB from their colour profile "{name}"'

    # Damage
    DAMAGED = "{frames:frame} {frames:is} damaged and left out"
    PATCHED = "{frames:frame} {frames:is} damaged in parts"
    MOSTLY_DAMAGED = "only {whole} of {frames} frames are whole"
    HIDDEN_DAMAGE = "the data of its picture is damaged, but its decoder does not say where"
    HEADLESS = "up to {frames:frame} at its beginning {frames:leans} on others before it"
    BROKEN_OFF = "reading broke off ({reason})"
    FRAMES_MISSING = "the film is cut off: {found} of {promised} frames are there"
    SECONDS_MISSING = "the film is cut off: it ends at {end:.1f} of {promised:.1f} seconds"
    BYTES_MISSING = "the film is cut off: {found} of {promised} bytes are there"
    CUT_IN_FRAME = "the film is cut off in the middle of a frame"
    OTHER_RECORDING = (
        "its picture ends after {percent} % of the file; what follows, perhaps a recording whose "
        "streams are numbered differently, is left out"
    )

    # Times
    GAPS = "its times have {gaps:gap} of {frames:frame}, the first at {seconds:.1f} s"
    ENDS_EARLY = "it ends {frames:frame} before its promised end"
    FRAMES_LOST = "{signs}: its rate varies, or frames were lost"
    LATE_PICTURE = "its picture begins {seconds:.2f} s after its sound"
    JUMP = "its times jump once at {seconds:.1f} s; the frames follow each other without a gap"
    JUMPS = (
        "its times jump {count} times, the first at {seconds:.1f} s; the frames follow each other "
        "without a gap"
    )
    UNTIMED = "{frames:frame} had no usable time of their own"
    SINGLE_PASS = "read in a single pass: {reason}"

    # Changes within a film
    FRAMES_DEINTERLACED = (
        "{frames:frame} {frames:is} interlaced, the first at {seconds:.1f} s; one whole frame is "
        "made of each pair of fields"
    )
    FRAMES_OF_FIELDS = (
        "{frames:frame} {frames:is} interlaced, the first at {seconds:.1f} s; their fields are "
        "left as they are"
    )
    SIZE_CHANGES = "its size changes on the way ({change}): {fit}"
    SHAPE_CHANGES = "its pixels change their shape on the way ({change}): {fit}"
    DIRECTION_CHANGES = "its direction changes on the way ({change}): all is turned as the first"
    COLOURS_CHANGE = "its colours change on the way ({change}): each part is read by its own"
    LIGHT_CHANGES = "its light changes on the way ({change}): all is shown as the first"
    CHANGE = "at {seconds:.1f} s, {before} to {after}"
    FIRST_CHANGE = "{count} times, first at {seconds:.1f} s, {before} to {after}"
    FIT = "brought to the first"
    FIT_IN_SHAPE = "brought to the first, in shape, with black margins"
    BARS_CHANGE = "black bars come and go: {bars}; the largest picture is kept"
    BARS = "{percent:.0f} % of the frames have bars of {width:.0f} % {where}"

    # Streams that are left out of a film, and why sound is encoded again
    STREAM_LEFT_OUT = "{stream}, {reason}"
    SOUND_EMPTY = "stream {index} (audio, {codec}), which is empty"
    SOUND_UNDECODABLE = "stream {index} (audio, {codec}), which cannot be decoded"
    NOT_HELD = "{suffix} does not hold {codec}"
    COPY_DIFFERS = "a copy in {suffix} would not be what it was"
    SOUND_CHANGES = "its channels or rate change midway"
    COPY_FAILED = "copied, it {problem}"

    SEVERAL = "{notes:; }"

    @property
    def opening(self) -> str:
        """The sentence up to its first fact, by which it is known among the notes of a card."""
        return str(self.value).partition("{")[0]

    def note(self, **facts: Any) -> "Note":
        return Note(self, tuple(facts.items()))


@dataclass(frozen=True)
class Note:
    """One thing that a person should know of a film; as text, its sentence."""

    kind: NoteKind
    facts: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return word(self.kind.value, dict(self.facts))


def joined(notes: Iterable[Note]) -> Note | None:
    """One note that combines several; None if there are none."""
    several = tuple(notes)
    if len(several) < 2:
        return next(iter(several), None)
    return NoteKind.SEVERAL.note(notes=several)


class _Words(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, tuple):
            return (format_spec or " and ").join(map(str, value))
        if isinstance(value, int) and format_spec in _PLURALS:
            return format_spec if value == 1 else _PLURALS[format_spec]
        if isinstance(value, int) and len(format_spec) > 1 and format_spec.isalpha():
            return counted(value, format_spec)
        return str(super().format_field(value, format_spec))


def word(sentence: str, facts: dict[str, Any]) -> str:
    return _Words().vformat(sentence, (), facts)
