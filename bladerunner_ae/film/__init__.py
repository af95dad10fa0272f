"""Films in and out: probing, decoding, black bars, shots; writing and verifying.

Import the modules themselves; this package imports none of them, so that each command loads
only what it needs.
"""
