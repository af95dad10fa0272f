"""ICC profiles of colour spaces that a file describes by primaries and a curve."""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Chromaticities = tuple[float, ...]
"""x and y of white, red, green and blue, as PNG's cHRM has them."""

SRGB: Chromaticities = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)

# By their numbers in ITU-T H.273.
_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB,
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367],
                      [0.0389, -0.0685, 1.0296]])  # fmt: skip
_CURVE_POINTS = 4096
_HEADER_BYTES = 128


def gamma_profile(gamma: float, chromaticities: Chromaticities) -> bytes | None:
    """Profile of a PNG's gAMA (light to values, e.g. 0.45455) and cHRM; None if impossible."""
    if not 0.01 <= gamma <= 10:
        return None
    return _profile(f"gAMA {gamma:g}, cHRM", chromaticities, lambda value: value ** (1 / gamma))


def coded_profile(primaries: int, curve: int) -> bytes | None:
    """Profile of a PNG's cICP, numbers of ITU-T H.273; None unless they are of a display."""
    curves: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        4: lambda value: value**2.2,
        5: lambda value: value**2.8,
        8: lambda value: value,
        13: _srgb_to_light,
    }
    if primaries not in _PRIMARIES or curve not in curves:
        return None
    return _profile(f"cICP {primaries}, {curve}", _PRIMARIES[primaries], curves[curve])


def _srgb_to_light(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _profile(
    name: str,
    chromaticities: Chromaticities,
    to_light: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> bytes | None:
    columns = _colorants(chromaticities)
    if columns is None:
        return None
    points = to_light(np.linspace(0, 1, _CURVE_POINTS))
    curve = struct.pack(">4s4xI", b"curv", _CURVE_POINTS)
    curve += np.rint(points * 65535).astype(">u2").tobytes()
    text = name.encode("ascii") + b"\0"
    description = struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78)
    tags = {b"desc": description, b"wtpt": _xyz(_D50)}
    for number, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = _xyz(columns[:, number])
        tags[letter + b"TRC"] = curve
    table, body = struct.pack(">I", len(tags)), b""
    start = _HEADER_BYTES + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += struct.pack(">4sII", tag, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    # Version 2.4, of a display, RGB in terms of XYZ.
    header = struct.pack(">I4x4s4s4s4s12x4s28x", start + len(body), b"\x02\x40\0\0", b"mntr",
                         b"RGB ", b"XYZ ", b"acsp")  # fmt: skip
    header += b"".join(map(_fixed, _D50))
    return header.ljust(_HEADER_BYTES, b"\0") + table + body


def _colorants(chromaticities: Chromaticities) -> NDArray[np.float64] | None:
    """[3 (XYZ), 3 (RGB)]: red, green and blue adapted to the white of profiles."""
    try:
        white, *colours = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(
            chromaticities[::2], chromaticities[1::2], strict=True
        ))  # fmt: skip
        basis = np.stack(colours, axis=1)
        columns = basis * np.linalg.solve(basis, white)
        scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    except (ZeroDivisionError, ValueError, np.linalg.LinAlgError):
        return None
    adapted = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ columns
    return adapted if np.abs(adapted).max() < 100 else None


def _xyz(values: NDArray[np.float64]) -> bytes:
    return struct.pack(">4s4x", b"XYZ ") + b"".join(map(_fixed, values))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
