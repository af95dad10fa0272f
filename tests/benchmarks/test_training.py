"""Counts and table of the training benchmark; its timings are not tested."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.runs import Worker, WorkerError
from benchmarks.training.ours import count_operations
from benchmarks.training.training_page import page

MACHINE = {"processor": "a processor", "cores": 2, "native": ["avx2"]}


def test_operations_are_those_of_the_layers_and_their_gradients() -> None:
    kernel = tf.Variable(np.ones((3, 3, 5, 7), np.float32))
    dense = tf.Variable(np.ones((7, 11), np.float32))
    lost = tf.Variable(np.ones((11, 13), np.float32))

    @tf.function
    def step(x: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            y = tf.nn.conv2d(x, kernel, 2, "SAME")
            z = tf.reduce_mean(y, [1, 2]) @ dense
            loss = tf.reduce_sum(tf.square(z))
        _ = z @ lost  # nobody looks at it
        for variable, gradient in zip(
            [kernel, dense], tape.gradient(loss, [kernel, dense]), strict=True
        ):
            variable.assign_sub(gradient)

    images = tf.TensorSpec((2, 8, 10, 5), tf.float32)
    convolution, product = 2 * 4 * 5 * 7 * 3 * 3 * 5, 2 * 7 * 11
    # The picture needs no gradient: one convolution back, but two products.
    expected = 2 * (2 * convolution + 3 * product)
    assert count_operations(step.get_concrete_function(images)) == expected


def test_the_table_says_ratios_and_goals() -> None:
    operations = {"raster": [144, 256], "objective": "vae_gan", "forward": 1e10, "step": 1e11,
                  "parameters": 75_700_000}  # fmt: skip
    variants = {
        "float32, eager": {"rounds": [[30.0, 15.0], [33.0, 11.0], [20.0, 20.0]]},
        "bfloat16, eager": {"rounds": [[30.0, 5.0]], "short": True},
        "float32, compiled": {"error": "no answer in 600 s"},
    }
    about = {"batch": 32, "objective": "vae", "precision": "float32", "tensorflow": "2"}
    parity = {"mean": 1e-6, "picture": 3e-5}
    torch = {**about, "torch": "2.13", "parity": parity, "variants": variants}
    text = page({
        "machine": MACHINE,
        "loop": {"steps": 100, "step_and_loop": [[100.0, 99.0], [110.0, 108.0], [90.0, 89.9]]},
        "torch": {"preview": torch},
        "memory": {"4": 2048.0, "8": "killed"},
        "operations": {"base": operations},
        "profile": {"kinds": {"Conv2D": 3.0, "MatMul": 1.0}, "places": {"Conv2D in a/b": 2.0}},
    })  # fmt: skip
    assert "**0.990** (goal 0.97)" in text
    assert "| float32, eager | 15.00 | 30.00 | 2.00 | 3 |" in text
    assert "| bfloat16, eager | 5.00 | 30.00 | 6.00 | far behind: two steps |" in text
    assert "| float32, compiled | no answer in 600 s |" in text
    assert "**2.00** (goal 1.4)" in text and "is 3.0e-05" in text and "emulated" in text
    assert "| 4 | 2.00 GiB |" in text and "| 8 | killed |" in text
    # 1e11 * 168,480 * 6 operations at a tenth of 989e12 a second.
    assert "| `base`, vae_gan | 101.1 | 17.0 | 8.5 | 5.7 | 4.3 |" in text
    assert "| Conv2D | 75.0 % |" in text
    native = {**MACHINE, "native": ["avx2", "avx512_bf16"]}
    assert "emulated" not in page({"machine": native, "torch": {"preview": torch}})


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(WorkerError, match=r"No module named benchmarks\.no_such_module"):
        Worker(sys.executable, "no_such_module", {}, limit=30)
