"""Conversion of high dynamic range and wide colours to the light of an ordinary display.

The arithmetic is that of ffmpeg's
`zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709`,
which PyAV's libav cannot run (it has no zscale): the coded values become light (SMPTE ST 2084 or
ITU-R BT.2100 HLG), light of the film's primaries becomes that of BT.709 (as in ITU-R BT.2087),
Hable's curve brings its peak down to white, and the display's gamma (ITU-R BT.1886) codes the
result. Every coded value is looked up in a table.
"""

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.film.info import PictureFormat
from bladerunner_ae.film.picture.colour import is_converted

Light = NDArray[np.float32]

# Light is counted in units of this: the white of an ordinary display.
_WHITE_NITS = 100.0
_PQ_NITS = 10000.0
_HLG_NITS = 1000.0
_DISPLAY_GAMMA = 2.4
_LUMA_HLG_GAMMA = 1.2

_STEPS_IN = 2**16
# The square root of light is nearly even to the eye; 4096 steps of it are finer than 8 bits.
_STEPS_OUT = 4096

# Pictures are mapped in parts of this many pixels, which stay in the processor's cache.
_PART = 2**14

# CIE 1931 x, y of red, green, blue and white (ITU-R BT.709, BT.2020, SMPTE EG 432 and RP 431).
_D65 = (0.3127, 0.3290)
_CHROMATICITIES = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    "dci-p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
}
# Bradford's cone responses, in which one white is adapted to another.
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


class ToneMap:
    """Mapping of coded RGB of 16 bits to RGB of 8 bits for an ordinary display.

    Args:
        transfer: "pq" or "hlg"; any other counts as the gamma of an ordinary display.
        primaries: of the film: "bt2020", "p3", "dci-p3" or "bt709".
        peak_nits: the brightest light of a film in "pq" or "hlg"; it becomes white.
    """

    def __init__(self, transfer: str, primaries: str, peak_nits: float | None) -> None:
        self._to_light = _light_table(transfer)
        self._matrix = primaries_matrix(primaries).astype(np.float32)
        high = transfer in ("pq", "hlg") and peak_nits is not None
        self._peak = peak_nits / _WHITE_NITS if high and peak_nits is not None else None
        root = np.linspace(0, 1, _STEPS_OUT)
        self._to_display = np.round(255 * root ** (2 / _DISPLAY_GAMMA)).astype(np.uint8)

    def apply(self, red: NDArray, green: NDArray, blue: NDArray) -> NDArray[np.uint8]:
        """Map uint16 planes [height, width] in full range to uint8 [height, width, 3], BT.709."""
        height, width = red.shape
        result = np.empty((height, width, 3), np.uint8)
        rows = max(_PART // max(width, 1), 1)
        for top in range(0, height, rows):
            part = slice(top, top + rows)
            light = [self._to_light.take(plane[part]) for plane in (red, green, blue)]
            light = [self._mix(row, *light) for row in self._matrix]
            if self._peak is not None:
                _hable(light, self._peak)
            for channel, plane in enumerate(light):
                np.clip(plane, 0, 1, out=plane)
                np.sqrt(plane, out=plane)
                plane *= _STEPS_OUT - 1
                plane += np.float32(0.5)
                result[part, :, channel] = self._to_display.take(plane.astype(np.intp))
        return result

    @staticmethod
    def _mix(row: Light, red: Light, green: Light, blue: Light) -> Light:
        mixed = row[0] * red
        mixed += row[1] * green
        mixed += row[2] * blue
        return mixed


def tone_map_for(picture: PictureFormat) -> ToneMap | None:
    """The tone map that a film's colours need, or None if they are those of BT.709 anyhow."""
    tags = picture.tags
    if not is_converted(tags):
        return None
    primaries = tags.primaries if tags.primaries in _CHROMATICITIES else "bt2020"
    return ToneMap(tags.transfer, primaries, picture.peak_nits)


def primaries_matrix(primaries: str) -> NDArray[np.float64]:
    """[3, 3]: linear RGB of some primaries to linear RGB of BT.709; white stays white."""
    source, white = _to_xyz(primaries)
    target, d65 = _to_xyz("bt709")
    scale = np.diag((_BRADFORD @ d65) / (_BRADFORD @ white))
    adapted = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD
    return np.asarray(np.linalg.inv(target) @ adapted @ source)


def _to_xyz(primaries: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    colours, white = columns[:, :3], columns[:, 3]
    return colours * np.linalg.solve(colours, white), white


def _light_table(transfer: str) -> Light:
    """Light of each coded value of 16 bits, 1 for the white of an ordinary display."""
    coded = np.linspace(0, 1, _STEPS_IN)
    if transfer == "pq":
        light = _pq(coded) * (_PQ_NITS / _WHITE_NITS)
    elif transfer == "hlg":
        # As zscale does, the display's gamma is applied to each channel by itself.
        light = _hlg(coded) ** _LUMA_HLG_GAMMA * (_HLG_NITS / _WHITE_NITS)
    else:
        light = coded**_DISPLAY_GAMMA
    return light.astype(np.float32)


def _pq(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """EOTF of SMPTE ST 2084: 0..1 to 0..1, where 1 is 10,000 nits."""
    m1, m2 = 2610 / 16384, 2523 / 32
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    power = coded ** (1 / m2)
    return np.asarray((np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def _hlg(coded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse OETF of ITU-R BT.2100 HLG: 0..1 to light of the scene, 0..1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)


def _hable(light: list[Light], peak: float) -> None:
    """John Hable's filmic curve, in place; a pixel's brightest channel decides for all three."""
    brightest = np.maximum(np.maximum(light[0], light[1]), light[2])
    np.maximum(brightest, np.float32(1e-6), out=brightest)
    gain = _curve(brightest)
    gain /= brightest * np.float32(_curve(np.float64(peak)))
    for plane in light:
        plane *= gain


def _curve(light):  # type: ignore[no-untyped-def]
    shoulder = light * 0.15
    return (light * (shoulder + 0.05) + 0.004) / (light * (shoulder + 0.5) + 0.06) - 0.02 / 0.30
