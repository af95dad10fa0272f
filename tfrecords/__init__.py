"""Films as sharded TFRecords: one schema, a card, an atomic writer, tf.data readers.

This package imports nothing of `bladerunner_ae`. Writing needs no TensorFlow; `reader` does.
"""
