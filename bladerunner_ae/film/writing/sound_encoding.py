"""Re-encoding of sound: decoded, placed to the sample, and encoded for another file."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from numpy.typing import NDArray

# What sound is made of, the first that works: what players know first, then what holds any number
# of channels.
_CODECS = {
    "mp4": ("aac", "libopus"),
    "ipod": ("aac", "alac"),
    "mov": ("aac", "pcm_s16le"),
    "matroska": ("aac", "pcm_s16le"),
}
# Plain PCM stays plain PCM where players expect it, to the sample of up to 24 bits: by what its
# decoder gives.
_PCM = {"u8": "pcm_s16le", "s16": "pcm_s16le", "s32": "pcm_s24le", "flt": "pcm_f32le"}
_PCM_FILMS = ("mov", "matroska")
_IS_PCM = ("pcm_", "s302m")
_BITS_PER_CHANNEL = 96_000

# Sound of fewer samples is encoded at one of these: the lower the rate, the longer an encoder takes
# to begin (AAC at 8 kHz an eighth of a second).
_USUAL_RATES = (44_100, 48_000)

# Encoders know these layouts; sound that only says how many channels it has gets the usual one.
_USUAL_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "6.1", "7.1")

# Sound continues without a break where a frame's time is this near to the end of the frame before:
# the clocks of films are coarse, and libav makes up times between the pages of Ogg. Beyond it the
# time counts: silence is filled in, or sound cut off.
_LOOSE_SECONDS = Fraction(1, 40)
# Broadcasts time each packet well, and parts of them are joined at any place.
_TIGHT_SECONDS = Fraction(1, 500)
_SILENCE_SECONDS = 1


@dataclass(frozen=True)
class SoundEncoding:
    codec: str
    rate: int
    layout: str
    channels: int
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The codec's own name, e.g. "opus"."""
        return str(av.Codec(self.codec, "w").canonical_name)

    def add_to(self, film: Any) -> Any:
        stream = film.add_stream(
            self.codec, rate=self.rate, layout=self.layout, options=dict(self.options)
        )
        if not self.codec.startswith("pcm_"):
            stream.bit_rate = _BITS_PER_CHANNEL * self.channels
        return stream


def choose_encoding(context: Any, container: str) -> SoundEncoding | None:
    """Best encoding of a track for a container of `sound.CONTAINERS`, or None if nothing fits."""
    channels = context.channels
    layouts = [context.layout.name]
    if channels <= len(_USUAL_LAYOUTS):
        layouts.append(_USUAL_LAYOUTS[channels - 1])
    codecs = list(_CODECS[container])
    if container in _PCM_FILMS and context.codec.canonical_name.startswith(_IS_PCM):
        codecs.insert(0, _PCM.get(context.format.packed.name, "pcm_f32le"))
    for codec in codecs:
        rate = _nearest_rate(context.rate, av.Codec(codec, "w").audio_rates)
        # Discrete channels, without a meaning for each.
        options = {"mapping_family": "255"} if codec == "libopus" and channels > 8 else {}
        for layout in layouts:
            encoding = SoundEncoding(codec, rate, layout, channels, options)
            if _works(encoding, container):
                return encoding
    return None


def _nearest_rate(rate: int, rates: Any) -> int:
    """The lowest rate that loses nothing, else the highest; `rates` is None if all are allowed."""
    if not rates:
        return rate
    usual = [one for one in _USUAL_RATES if one in rates]
    # Twice as many samples, or four times, lose nothing at all.
    exact = [one for one in usual if one % rate == 0]
    enough = [one for one in rates if one >= max(rate, *usual[:1])]
    return min(exact or enough, default=max(rates))


def _works(encoding: SoundEncoding, container: str) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format=container) as film:
            stream = encoding.add_to(film)
            silence = np.zeros((encoding.channels, encoding.rate // 4), np.float32)
            for packet in (*stream.encode(_frame(silence, encoding, 0)), *stream.encode(None)):
                film.mux_one(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


class SoundEncoder:
    """Decoder and encoder of a track, each sample at its time; `origin` (seconds) becomes 0.

    Undecodable parts become silence of the same length; sound before the origin is cut off.
    """

    def __init__(
        self,
        stream: AudioStream,
        target: Any,
        encoding: SoundEncoding,
        origin: Fraction,
        exact: bool,
    ) -> None:
        self._decoder, self._target = stream.codec_context, target
        self._encoding, self._origin = encoding, origin
        loose = max(
            _TIGHT_SECONDS if exact else _LOOSE_SECONDS, 2 * (stream.time_base or Fraction(0))
        )
        self._loose = round(loose * encoding.rate)
        self._resampler: AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        # The first sample that has not been written yet, counted from the origin.
        self._next: int | None = None

    def packets(self, packet: Packet | None) -> Iterator[Packet]:
        """The packets to write for one of the film."""
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            return
        for frame in frames:
            start = self._next
            if frame.pts is not None and frame.time_base:
                start = round((frame.pts * frame.time_base - self._origin) * self._encoding.rate)
            for samples in self._resampled(frame):
                yield from self._placed(samples, start or 0)
                start = self._next

    def rest(self) -> Iterator[Packet]:
        yield from self.packets(None)
        if self._resampler is not None and self._next is not None:
            for last in self._resampler.resample(None):
                yield from self._placed(self._samples(last), self._next)
        yield from self._target.encode(None)

    def _resampled(self, frame: AudioFrame) -> Iterator[NDArray[np.float32]]:
        """A frame's samples, float32 [channels, samples], at the rate that is written."""
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if kind != self._kind:  # a broadcast changes from stereo to surround
            self._kind = kind
            self._resampler = AudioResampler("flt", self._encoding.layout, self._encoding.rate)
        assert self._resampler is not None
        frame.pts = None  # times are kept here
        for out in self._resampler.resample(frame):
            yield self._samples(out)

    def _samples(self, frame: AudioFrame) -> NDArray[np.float32]:
        packed = np.asarray(frame.to_ndarray(), np.float32)
        return packed.reshape(-1, self._encoding.channels).T

    def _placed(self, samples: NDArray[np.float32], start: int) -> Iterator[Packet]:
        """Encode samples that begin at `start`, counted in samples from the origin."""
        if self._next is None:
            self._next = max(start, 0)
        elif abs(start - self._next) <= self._loose:
            start = self._next
        while start > self._next:
            length = min(start - self._next, _SILENCE_SECONDS * self._encoding.rate)
            yield from self._encoded(np.zeros((len(samples), length), np.float32))
        yield from self._encoded(samples[:, self._next - start :])

    def _encoded(self, samples: NDArray[np.float32]) -> Iterator[Packet]:
        assert self._next is not None
        if samples.shape[1]:
            frame = _frame(samples, self._encoding, self._next)
            self._next += samples.shape[1]
            yield from self._target.encode(frame)


def _frame(samples: NDArray[np.float32], encoding: SoundEncoding, place: int) -> AudioFrame:
    # Not planar: PyAV loses planes beyond the eighth.
    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = AudioFrame.from_ndarray(packed, "flt", encoding.layout)
    frame.sample_rate, frame.time_base = encoding.rate, Fraction(1, encoding.rate)
    frame.pts = place
    return frame
