"""Every operation of fastmlp in plain numpy: the definition of what the kernels compute.

``fastmlp.kernels`` has the same functions, compiled. The functions here are what the kernels, the
gradients and whole training runs are tested against, what ``model.backend = "numpy"`` runs, and the
baseline of the benchmarks. The code is as plain as possible, and makes no pass or copy that numpy
can avoid.

Conventions, for every function
-------------------------------
* Arrays are float32 or float64, C-contiguous and of one dtype; results have that dtype. Nothing is
  checked here: ``fastmlp._checks`` guards the models, ``fastmlp.kernels`` guards itself.
* Shapes use these letters: N rows of a batch, I inputs, O outputs, C classes; ``...`` is any shape.
  Images are (N, H, W, C) with C channels, filters (kh, kw, C, F).
* ``out`` is written and returned; without it the result is a new array. ``out`` may be the first
  argument of an elementwise function and of every ``*_backward`` function, but never an operand
  of a matrix product, a convolution or a pooling operation.
* ``*_backward`` functions take ``dy``, the gradient of the loss with respect to the output, and
  return the gradient with respect to the input. They take the output ``y`` as well if the
  derivative is simple in it, otherwise the input ``x``.
* NaN and infinity propagate, and nothing warns.

``fastmlp.reference.loops`` defines convolution and pooling once more, as loops over pixels, under
names that end in ``_loops``.
"""

from __future__ import annotations

from fastmlp.reference.activations import (
    elu,
    elu_backward,
    exp,
    gelu,
    gelu_backward,
    leaky_relu,
    leaky_relu_backward,
    log,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)
from fastmlp.reference.convolution import (
    conv2d,
    conv2d_backward_input,
    conv2d_backward_weights,
)
from fastmlp.reference.dense import (
    add_bias,
    dense,
    matmul,
    sum_batch,
)
from fastmlp.reference.dropout import (
    dropout,
    dropout_backward,
    gaussian_noise,
)
from fastmlp.reference.embedding import (
    embedding,
    embedding_backward,
)
from fastmlp.reference.loops import (
    avg_pool2d_backward_loops,
    avg_pool2d_loops,
    conv2d_backward_input_loops,
    conv2d_backward_weights_loops,
    conv2d_loops,
    global_avg_pool2d_backward_loops,
    global_avg_pool2d_loops,
    max_pool2d_backward_loops,
    max_pool2d_loops,
)
from fastmlp.reference.losses import (
    binary_cross_entropy,
    count_correct,
    hinge,
    huber,
    mae,
    mse,
    softmax_cross_entropy,
)
from fastmlp.reference.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    layer_norm,
    layer_norm_backward,
)
from fastmlp.reference.pooling import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from fastmlp.reference.updates import (
    adagrad_update,
    adam_update,
    clip_by_norm,
    clip_by_value,
    rmsprop_update,
    sgd_update,
    weight_penalty,
    weight_penalty_backward,
)

# These modules call np.add.reduce and np.maximum.reduce, which are np.sum and np.max without the
# Python code around them.

__all__ = [
    "adagrad_update",
    "adam_update",
    "add_bias",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool2d_backward_loops",
    "avg_pool2d_loops",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "binary_cross_entropy",
    "clip_by_norm",
    "clip_by_value",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_input_loops",
    "conv2d_backward_weights",
    "conv2d_backward_weights_loops",
    "conv2d_loops",
    "count_correct",
    "dense",
    "dropout",
    "dropout_backward",
    "elu",
    "elu_backward",
    "embedding",
    "embedding_backward",
    "exp",
    "gaussian_noise",
    "gelu",
    "gelu_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "global_avg_pool2d_backward_loops",
    "global_avg_pool2d_loops",
    "hinge",
    "huber",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log",
    "log_softmax",
    "log_softmax_backward",
    "mae",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_backward_loops",
    "max_pool2d_loops",
    "mse",
    "relu",
    "relu_backward",
    "rmsprop_update",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softplus",
    "softplus_backward",
    "sum_batch",
    "tanh",
    "tanh_backward",
    "weight_penalty",
    "weight_penalty_backward",
]
