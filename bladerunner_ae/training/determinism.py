"""A step that does not depend on the order in which threads finish.

Where a tensor has three gradients or more (the dream does: from pixels, bands and an adversary)
TensorFlow adds them with one AddN. Grappler's memory optimizer turns some of those into a buffer to
which each addend is added as soon as it is there. Sums in another order round differently: on a
busy machine two in five steps of `preview` differed in the last bit when repeated, and a run killed
and resumed no longer equalled the unbroken one.
"""

import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.eager import context as eager_context


def add_in_order() -> bool:
    """Have all functions that run from now on add gradients in the order of the graph.

    Turns off grappler's memory optimizer alone, at no cost in time or memory; all of grappler is
    worth a quarter of the speed. `tf.config.optimizer.set_experimental_options` (TensorFlow 2.16 to
    2.21 at least) has no switch for it, so this sets the context's private `_config`. False if this
    TensorFlow has no such attribute; steps then agree up to rounding.
    """
    context = eager_context.context()
    if not hasattr(context, "_config"):
        return False
    config = ConfigProto()
    if context._config is not None:
        config.CopyFrom(context._config)
    config.graph_options.rewrite_options.memory_optimization = RewriterConfig.NO_MEM_OPT
    context._config = config
    # Rebuilds the options of function calls, which are cached.
    tf.config.optimizer.set_experimental_options({})
    return True
