"""What a network that has learnt to see in photographs makes of pictures: features and distances.

The network is EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946; Lite: Google 2020), trained to
name the thing in a photograph among 1,000 kinds. It is run as a TensorFlow graph, from the weights
of `pretrained_weights`, in float32, and never trained here; on the CPU, because a GPU multiplies
with ten bits of mantissa, and because training wants all of its memory.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.evaluation.pretrained_weights import Tensors, load_weights, missing_weights
from bladerunner_ae.geometry import Size

PIXELS = 144 * 256
"""Size, about, at which the network looks at pictures of any size, in their own shape."""

FEATURES = 1280
"""Numbers of a picture in `pooled_features`."""

# Repeats, stride and expansion of each stage (Tan & Le 2019, table 1); the weights have the rest.
_STAGES = ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6))
_COMPARED = (0, 1, 2, 4, 5)  # stages of strides 2, 4, 8, 16 and 32
_GRAIN, _FEWEST_GRAINS = 16, 2  # of which the sides are multiples
_MEAN, _SCALE = 127.0, 128.0  # of grey levels, as in its training
_VARIANCE_FLOOR = 1e-3
_LENGTH_FLOOR = 1e-6
_BATCH = 16
_DEVICE = "CPU:0"

Pictures = NDArray[np.uint8]
Layers = list[tf.Tensor]


def available() -> bool:
    """Whether the extra [perceptual] is installed and sound."""
    return not missing_perceptual()


def missing_perceptual() -> str:
    """Return the reason why nothing can be measured here, for people; empty if it can."""
    reason = missing_weights()
    return reason and f"no perceptual figures: {reason}"


def perceptual_distances(first: Pictures, second: Pictures) -> NDArray[np.float32]:
    """Return the distance of each picture to its partner, float32 [n], 0 (the same) to 4.

    Pictures are uint8 [n >= 1, H, W, 3]. That of Zhang et al. 2018 (LPIPS, arXiv:1801.03924,
    equation 1) with features of this network and without their learnt weights of channels:

        d(x, y) = mean over layers l and places p of |f_lp(x) / |f_lp(x)| - f_lp(y) / |f_lp(y)||^2

    The layers are the last ones of strides 2, 4, 8, 16 and 32 that do not widen for the classifier.
    Not comparable with published LPIPS, nor between films of another number of rows or columns.

    Raises:
        InputError: the weights are missing or damaged.
    """
    return np.concatenate([
        layer_distances(unit_features(one), unit_features(other)).numpy()
        for one, other in zip(_batches(first), _batches(second), strict=True)
    ])  # fmt: skip


def unit_features(images: Pictures) -> Layers:
    """Return what pictures, uint8 [n, H, W, 3], are compared by.

    A float32 tensor [n, rows, columns, channels] for each layer; each place has length 1.
    """
    network = _network(*images.shape[1:3])
    with tf.device(_DEVICE):
        parts = [network.layers(tf.constant(batch)) for batch in _batches(images)]
        return [tf.concat(layer, axis=0) for layer in zip(*parts, strict=True)]


def layer_distances(first: Layers, second: Layers) -> tf.Tensor:
    """Return `perceptual_distances` of pictures with these `unit_features`, float32 [n]."""
    with tf.device(_DEVICE):
        squares = [
            tf.reduce_sum(tf.math.squared_difference(one, other), axis=-1)
            for one, other in zip(first, second, strict=True)
        ]
        return tf.add_n([tf.reduce_mean(places, axis=[1, 2]) for places in squares]) / len(squares)


def pooled_features(images: Pictures) -> NDArray[np.float64]:
    """Return what the classifier is given of pictures, uint8 [n, H, W, 3]: float64 [n, FEATURES].

    Such numbers say what is seen, and little of where and how bright.
    """
    network = _network(*images.shape[1:3])
    with tf.device(_DEVICE):
        found = [network.pooled(tf.constant(batch)).numpy() for batch in _batches(images)]
    return np.concatenate([np.zeros((0, FEATURES)), *found])


def input_size(height: int, width: int) -> Size:
    """Return the size at which the network looks at pictures: their shape, about `PIXELS`."""
    rows, columns = ((PIXELS * ratio) ** 0.5 for ratio in (height / width, width / height))
    grains = [max(round(side / _GRAIN), _FEWEST_GRAINS) for side in (rows, columns)]
    return grains[0] * _GRAIN, grains[1] * _GRAIN


def _batches(images: Pictures) -> Iterator[Pictures]:
    return (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))


class _Network:
    """The network for pictures of one size.

    Attributes:
        layers, pooled: functions of uint8 [n, H, W, 3], of `unit_features` and `pooled_features`.
    """

    def __init__(self, weights: "_Weights", size: Size) -> None:
        self._weights, self._size = weights, input_size(*size)
        signature = [tf.TensorSpec((None, *size, 3), tf.uint8)]
        self.layers = tf.function(self._layers, input_signature=signature)
        self.pooled = tf.function(self._pooled, input_signature=signature)

    def _layers(self, images: tf.Tensor) -> Layers:
        outputs = self._stages(images, _COMPARED[-1] + 1)
        lengths = [tf.norm(outputs[place], axis=-1, keepdims=True) for place in _COMPARED]
        return [
            outputs[place] / (length + _LENGTH_FLOOR)
            for place, length in zip(_COMPARED, lengths, strict=True)
        ]

    def _pooled(self, images: tf.Tensor) -> tf.Tensor:
        x = self._stages(images, len(_STAGES))[-1]
        head = tf.nn.relu6(self._weights.convolve(x, "_conv_head", "_bn1"))
        return tf.reduce_mean(head, axis=[1, 2])

    def _stages(self, images: tf.Tensor, count: int) -> Layers:
        """Return what the first stages give, float32 [n, rows, columns, channels] each."""
        x = tf.cast(images, tf.float32)
        if self._size != tuple(images.shape[1:3]):
            x = tf.image.resize(x, self._size, antialias=True)
        x = (x - _MEAN) / _SCALE
        x = tf.nn.relu6(self._weights.convolve(x, "_conv_stem", "_bn0", 2))
        found, number = [], 0
        for repeats, stride, expansion in _STAGES[:count]:
            for repeat in range(repeats):
                x = self._block(x, f"_blocks.{number}.", 1 if repeat else stride, expansion)
                number += 1
            found.append(x)
        return found

    def _block(self, x: tf.Tensor, name: str, stride: int, expansion: int) -> tf.Tensor:
        """Widen, look around, narrow, and add the input if it has the same shape."""
        weights, y = self._weights, x
        if expansion > 1:
            y = tf.nn.relu6(weights.convolve(y, f"{name}_expand_conv", f"{name}_bn0"))
        y = tf.nn.relu6(weights.look_around(y, f"{name}_depthwise_conv", f"{name}_bn1", stride))
        y = weights.convolve(y, f"{name}_project_conv", f"{name}_bn2")
        return x + y if stride == 1 and x.shape[-1] == y.shape[-1] else y


class _Weights:
    """Convolutions with the file's weights, each with the normalisation behind it in one."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._made: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}

    def convolve(self, x: tf.Tensor, name: str, norm: str, stride: int = 1) -> tf.Tensor:
        kernel, bias = self._kernel(name, norm, (2, 3, 1, 0))
        return tf.nn.conv2d(x, kernel, stride, "SAME") + bias

    def look_around(self, x: tf.Tensor, name: str, norm: str, stride: int) -> tf.Tensor:
        """Convolve each channel by itself."""
        kernel, bias = self._kernel(name, norm, (2, 3, 0, 1))
        return tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME") + bias

    def _kernel(self, name: str, norm: str, axes: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return kernel and bias; `axes` lead from PyTorch's order of them to TensorFlow's."""
        if name not in self._made:
            mean, variance, scale, bias = (
                self._tensors[f"{norm}.{part}"].astype(np.float64)
                for part in ("running_mean", "running_var", "weight", "bias")
            )
            factor = scale / np.sqrt(variance + _VARIANCE_FLOOR)
            kernel = self._tensors[f"{name}.weight"] * factor[:, None, None, None]
            with tf.init_scope(), tf.device(_DEVICE):
                self._made[name] = tuple(
                    tf.constant(values, tf.float32)
                    for values in (kernel.transpose(axes), bias - mean * factor)
                )
        return self._made[name]


@functools.cache
def _weights() -> _Weights:
    return _Weights(load_weights())


@functools.cache
def _network(height: int, width: int) -> _Network:
    return _Network(_weights(), (height, width))
