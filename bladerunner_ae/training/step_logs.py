"""What steps log: fetched from the device that computed it, and said in a line."""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

_TERMS = 3


def fetched(logs: Mapping[str, Any]) -> dict[str, float]:
    """Fetches scalars of any device, all at once."""
    if not logs:
        return {}
    if all(isinstance(value, float) for value in logs.values()):  # Keras has fetched them
        return dict(logs)
    values = tf.stack([tf.cast(value, tf.float32) for value in logs.values()]).numpy()
    return dict(zip(logs, values.tolist(), strict=True))


def status_line(logs: Mapping[str, float]) -> str:
    """The decoder's loss and the first few terms."""
    terms = [name for name in logs if name.startswith("term/")][:_TERMS]
    shown = {"loss": logs.get("loss/decoder", math.nan), **{n[5:]: logs[n] for n in terms}}
    return ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
