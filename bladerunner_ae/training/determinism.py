"""Keeps TensorFlow's graph optimizer from making a training step depend on the threads' race.

Where a tensor has three gradients or more (the dream does: pixels, bands and an adversary each send
one back) TensorFlow adds them with one AddN. Grappler's memory optimizer turns some of those
into a buffer to which each addend is added as soon as it is there. Additions in another order round
otherwise: on a busy machine two in five steps of `preview` differed in the last bit from the same
step taken again, and a run killed and resumed no longer equalled the unbroken one.
"""

import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.eager import context as eager_context


def add_in_order() -> bool:
    """Has all functions that run from now on add gradients in the order of the graph.

    It turns off grappler's memory optimizer and nothing else: a step takes as long and as much
    memory as before. `tf.config.optimizer.set_experimental_options` has no switch for that one, and
    turning all of grappler off, which it can, costs a quarter of the speed. So this sets the
    configuration a context would have been made with.

    Returns:
        False if this TensorFlow offers no place to say so; steps then still agree up to rounding.
    """
    context = eager_context.context()
    if not hasattr(context, "_config"):
        return False
    config = ConfigProto()
    if context._config is not None:
        config.CopyFrom(context._config)
    config.graph_options.rewrite_options.memory_optimization = RewriterConfig.NO_MEM_OPT
    context._config = config
    # Has the options of function calls put together anew; they are kept from call to call.
    tf.config.optimizer.set_experimental_options({})
    return True
