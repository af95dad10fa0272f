"""Let a neural network watch a film and dream it back.

Importing this package is cheap: TensorFlow, Keras and the film libraries are imported by the
modules that need them, never here.
"""

__version__ = "0.1.0"
