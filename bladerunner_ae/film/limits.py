"""What a film or a picture may ask for at most."""

# 268 million, as 16384x16384. The largest films are 8192x8192 panoramas and 12288x6480 from
# cameras, less than a third of it; one frame of this size takes 800 MB as RGB, and a decoder holds
# several.
MAX_FRAME_PIXELS = 2**28
