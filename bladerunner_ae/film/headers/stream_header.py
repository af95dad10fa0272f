"""The header of one stream."""

from dataclasses import dataclass

from bladerunner_ae.film.picture.cropping import NO_MARGINS, Margins

# Profiles of Dolby Vision whose colours are not YCbCr, always or where nothing else is promised.
_ALONE = (5,)
_MAYBE_ALONE = (10, 20)


@dataclass(frozen=True)
class StreamHeader:
    """Header of one stream; `dolby_vision` is its record by ETSI TS 103 572, b"" if it has none."""

    codec: str = ""
    crop: Margins = NO_MARGINS
    dolby_vision: bytes = b""
    encrypted: bool = False

    @property
    def dolby_vision_profile(self) -> int | None:
        """The profile, if only Dolby Vision's own processing gives the colours; else None.

        All others have a picture in SDR, HDR10 or HLG that is right by itself.
        """
        if len(self.dolby_vision) < 5:
            return None
        profile, compatible = self.dolby_vision[2] >> 1, self.dolby_vision[4] >> 4
        alone = profile in _ALONE or (profile in _MAYBE_ALONE and not compatible)
        return profile if alone else None
